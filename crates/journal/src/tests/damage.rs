//! Logs that are torn, changed or hostile: what is whole is read, nothing panics, and it is told.

use super::rig::{Service, adopt, fetch, id, plain, raw, say, texts, tiny, turn};
use crate::limits::Limits;
use crate::reader::Files;
use crate::record::{Checkpoint, HEADER, Header, Kind, Open, segment_header};
use crate::{FetchError, Journal, Position};
use std::fs;
use std::os::unix::fs::FileExt as _;

/// A start with a session in it, and the file of its only segment.
fn dead(service: &Service, fill: impl Fn(&Journal)) -> std::path::PathBuf {
    let journal = service.start();
    journal.begin(id(1), None);
    journal.begin(id(2), None);
    fill(&journal);
    journal.flush();
    service.segments(&journal).remove(0)
}

fn say_one(journal: &Journal) {
    say(journal, id(1), "1");
}

fn flip(file: &std::path::Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

#[test]
fn a_torn_tail_costs_the_torn_record() {
    let whole = {
        let service = Service::tiny();
        let file = dead(&service, say_one);
        fs::read(file).unwrap()
    };
    let last = whole.len() - HEADER - 1;
    for length in [whole.len() - 1, last + HEADER, last + 1, last] {
        let service = Service::tiny();
        let file = dead(&service, say_one);
        fs::write(&file, &whole[..length]).unwrap();
        let journal = service.start();
        let fetched = fetch(&journal, id(1));
        assert_eq!(fetched.damage().is_some(), length != last, "{length}");
        journal.adopt(fetched).unwrap();
        assert_eq!((journal.last_seq(id(1)), texts(&journal, id(1), 0)), (0, (None, vec![])));
        adopt(&journal, id(2));
    }
}

#[test]
fn a_changed_event_is_a_gap_and_the_rest_is_read() {
    let service = Service::tiny();
    let file = dead(&service, |journal| {
        turn(journal, id(1), "m", &["11", "22", "33", "44"]);
        turn(journal, id(2), "m", &["a", "b"]);
    });
    let bytes = fs::read(&file).unwrap();
    let at = bytes.windows(2).position(|window| window == b"22").unwrap();
    flip(&file, at as u64);
    let journal = service.start();
    let fetched = fetch(&journal, id(1));
    assert!(fetched.damage().unwrap().contains(&format!("{} bytes", HEADER + 2)), "{:?}", fetched.damage());
    journal.adopt(fetched).unwrap();
    assert_eq!(texts(&journal, id(1), 0), (Some((1, 2)), vec!["33".into(), "44".into()]));
    assert_eq!(journal.history(id(1)).len(), 1);
    adopt(&journal, id(2));
    assert_eq!(texts(&journal, id(2), 0).1, ["a", "b"]);
}

#[test]
fn a_changed_checkpoint_forgets_which_messages_are_open() {
    let service = Service::tiny();
    let file = dead(&service, |journal| {
        turn(journal, id(1), "m1", &["1"]);
        journal.message(id(1), &raw("m2"), None);
        journal.turn_begins(id(1), false);
        say(journal, id(1), "2");
    });
    // The one of `turn_begins`, before the last event.
    let bytes = fs::read(&file).unwrap();
    flip(&file, (bytes.len() - HEADER - 1 - 5) as u64);
    let journal = service.start();
    adopt(&journal, id(1));
    let restored = journal.restore(id(1)).unwrap();
    assert!(restored.running.is_none() && restored.waiting.is_empty());
    assert_eq!((restored.last_seq, journal.history(id(1)).len()), (2, 1));
    assert_eq!(texts(&journal, id(1), 1), (None, vec!["2".into()]));
}

#[test]
fn without_its_beginning_a_session_is_lost() {
    let service = Service::tiny();
    let file = dead(&service, say_one);
    // The first record: the parameters of the first session.
    flip(&file, 16 + 8);
    let journal = service.start();
    let lost = super::rig::estate(&journal, id(1)).fetch();
    assert!(matches!(lost, Err(FetchError::Lost { .. })), "{lost:?}");
    adopt(&journal, id(2));
    // A segment that is not ours, or of another version, has nothing.
    let service = Service::tiny();
    let file = dead(&service, |_| {});
    flip(&file, 9);
    let journal = service.start();
    assert!(super::rig::estate(&journal, id(2)).fetch().is_err());
}

#[test]
fn a_living_log_that_was_changed_is_a_gap_too() {
    // What was written last is read from memory, where nobody can change it.
    let service = Service::new(Limits { recent: 0, ..tiny() });
    let journal = service.start();
    journal.begin(id(1), None);
    journal.save_state(id(1), Some(&raw("state")));
    turn(&journal, id(1), "m", &["11", "22", "33"]);
    journal.flush();
    let file = service.segments(&journal).remove(0);
    let before = journal.missed(id(1), 0).events;
    let bytes = fs::read(&file).unwrap();
    flip(&file, bytes.windows(2).position(|window| window == b"22").unwrap() as u64);
    assert!(!journal.read(id(1), before[1], &mut Vec::new()));
    assert_eq!(texts(&journal, id(1), 0), (Some((1, 2)), vec!["33".into()]));
    flip(&file, bytes.windows(5).position(|window| window == b"state").unwrap() as u64);
    assert!(journal.state(id(1)).is_none());
    // The newest checkpoint: the session is only numbered from here on.
    flip(&file, bytes.len() as u64 - 5);
    assert!(journal.restore(id(1)).is_none() && journal.history(id(1)).is_empty());
    turn(&journal, id(1), "m", &["44"]);
    assert_eq!(texts(&journal, id(1), 3), (None, vec!["44".into()]));
    assert_eq!(journal.history(id(1)).len(), 1);
}

#[test]
fn positions_that_lie_lead_nowhere() {
    let (one, two) = (id(1).as_u128(), id(2).as_u128());
    let mut bytes = segment_header(1).to_vec();
    let mut put = |kind, session, seq, prev, base, payload: &[u8]| {
        let at = Position::new(1, bytes.len() as u64);
        Header { kind, flags: 0, session, seq, prev, base }.write(&mut bytes, &[payload]);
        at
    };
    let meta = put(Kind::Meta, one, 1, Position::NONE, Position::NONE, b"");
    let foreign = put(Kind::Message, two, 0, Position::NONE, Position::NONE, b"\"x\"");
    let later = Position::new(1, 5000);
    let open = |at| Open { at, redelivered: false, said: false };
    let point = Checkpoint {
        epoch: 1,
        turn_first: 1,
        meta,
        history: later,
        state: meta,
        running: Some(open(foreign)),
        waiting: vec![open(Position::new(7, 16)), open(Position::new(1, 3)), open(meta)],
    };
    let base = put(Kind::Checkpoint, one, 0, meta, Position::NONE, &point.encode());
    // An event before which there is a later one, and itself.
    let event = put(Kind::Event, one, 1, later, base, b"1");
    put(Kind::Event, one, 2, event, base, b"2");
    put(Kind::Event, one, u64::MAX >> 1, later, base, b"3");
    put(Kind::Event, one, u64::MAX, later, base, b"4");
    let service = Service::tiny();
    let file = dead(&service, |_| {});
    fs::write(&file, &bytes).unwrap();
    let journal = service.start();
    adopt(&journal, id(1));
    let restored = journal.restore(id(1)).unwrap();
    assert!(restored.running.is_none() && restored.waiting.is_empty());
    assert!(journal.state(id(1)).is_none() && journal.history(id(1)).is_empty());
    assert_eq!(texts(&journal, id(1), (u64::MAX >> 1) - 1).1, ["3"]);
    assert_eq!(journal.missed(id(1), 0).gap, Some((1, (u64::MAX >> 1) - 1)));
}

#[test]
fn looking_for_whole_records_is_bounded() {
    // Every byte could begin a record of a megabyte.
    let service = Service::tiny();
    let file = dead(&service, |journal| turn(journal, id(1), "m", &["1"]));
    let mut bytes = fs::read(&file).unwrap();
    let hostile = [0, 0, 16, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1].repeat(2 << 16);
    bytes.extend_from_slice(&hostile);
    fs::write(&file, &bytes).unwrap();
    let journal = service.start();
    let fetched = fetch(&journal, id(1));
    assert!(fetched.damage().is_some());
    journal.adopt(fetched).unwrap();
    assert_eq!(texts(&journal, id(1), 0).1, ["1"]);
}

#[test]
fn a_move_that_was_cut_short_leaves_what_was_there() {
    // The records of a fresh chain, without the checkpoint that makes them count, and another session's behind them.
    let service = Service::tiny();
    let file = dead(&service, |journal| turn(journal, id(1), "m", &["1"]));
    let mut bytes = fs::read(&file).unwrap();
    let header = |kind, session: u128, seq| Header {
        kind,
        flags: 0,
        session,
        seq,
        prev: Position::NONE,
        base: Position::NONE,
    };
    header(Kind::Meta, id(1).as_u128(), 1).write(&mut bytes, &[b"\"new\""]);
    header(Kind::Event, id(1).as_u128(), 7).write(&mut bytes, &[b"7"]);
    let found = crate::scan::scan(&Files::new(file.parent().unwrap().to_owned()), &[(1, 1 << 30)]).unwrap();
    let old = found.sessions[&id(1).as_u128()];
    fs::write(&file, &bytes).unwrap();
    let found = crate::scan::scan(&Files::new(file.parent().unwrap().to_owned()), &[(1, 1 << 30)]).unwrap();
    assert_eq!((found.sessions[&id(1).as_u128()], found.damaged), (old, 0));
    let journal = service.start();
    adopt(&journal, id(1));
    assert_eq!(texts(&journal, id(1), 0).1, ["1"]);
    assert_eq!(journal.restore(id(1)).unwrap().params.map(|params| plain(&params)), None);
}
