//! A conversation and its memory, in one start.

use super::rig::{Service, id, plain, raw, say, texts, turn};
use crate::limits::Limits;
use crate::{Journal, Missed, Ticked};
use serde_json::value::RawValue;
use std::time::Duration;
use uuid::Uuid;

fn waiting(journal: &Journal, number: u128) -> Vec<(String, bool)> {
    let restored = journal.restore(id(number)).unwrap();
    restored.waiting.iter().map(|message| (plain(&message.content), message.redelivered)).collect()
}

fn running(journal: &Journal, number: u128) -> Option<(String, bool, bool)> {
    let restored = journal.restore(id(number)).unwrap();
    restored
        .running
        .map(|running| (plain(&running.message.content), running.said, running.message.redelivered))
}

#[test]
fn what_was_said_is_read_from_the_log() {
    let service = Service::tiny();
    let journal = service.start();
    let params = RawValue::from_string("{\"a\": 1}".to_owned()).unwrap();
    journal.begin(id(1), Some(&params));
    journal.begin(id(2), None);
    for number in 1..=3 {
        say(&journal, id(1), &format!("one {number}"));
        say(&journal, id(2), &format!("two {number}"));
    }
    // Before it is written, and after.
    for _ in 0..2 {
        assert_eq!(texts(&journal, id(1), 0), (None, vec!["one 1".into(), "one 2".into(), "one 3".into()]));
        assert_eq!(texts(&journal, id(2), 2), (None, vec!["two 3".into()]));
        assert_eq!(journal.missed(id(1), 3), Missed::default());
        assert_eq!(journal.missed(id(1), 99), Missed::default());
        journal.flush();
    }
    assert_eq!((journal.last_seq(id(1)), journal.last_seq(id(3))), (3, 0));
    let restored = journal.restore(id(1)).unwrap();
    assert_eq!((restored.last_seq, restored.params.unwrap().get()), (3, "{\"a\": 1}"));
    assert!(journal.restore(id(2)).unwrap().params.is_none());
    assert_eq!(journal.sessions(), 2);
    // An event of one session is none of another's.
    let position = journal.missed(id(1), 0).events[0];
    assert!(!journal.read(id(2), position, &mut Vec::new()));
}

#[test]
fn messages_wait_run_come_back_and_become_history() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    for text in ["a", "b", "c"] {
        journal.message(id(1), &raw(text), None);
    }
    assert_eq!(waiting(&journal, 1), [("a".into(), false), ("b".into(), false), ("c".into(), false)]);
    journal.turn_begins(id(1), false);
    assert_eq!(running(&journal, 1), Some(("a".into(), false, false)));
    journal.event(id(1), 1, b"thinking", false);
    assert_eq!(running(&journal, 1), Some(("a".into(), false, false)));
    journal.event(id(1), 2, b"answer", true);
    journal.message(id(1), &raw("d"), None);
    assert_eq!(running(&journal, 1), Some(("a".into(), true, false)));
    journal.turn_again(id(1), true);
    assert_eq!(running(&journal, 1), None);
    assert_eq!(waiting(&journal, 1)[..2], [("a".into(), true), ("b".into(), false)]);
    journal.turn_begins(id(1), true);
    assert_eq!(running(&journal, 1), Some(("a".into(), false, true)));
    journal.turn_ends(id(1), Some(&raw("answer of a")));
    journal.withdrawn(id(1));
    journal.turn_begins(id(1), false);
    journal.turn_ends(id(1), None);
    assert_eq!(waiting(&journal, 1), [("d".into(), false)]);
    journal.turn_begins(id(1), false);
    journal.turn_ends(id(1), Some(&raw("answer of d")));
    let history: Vec<_> = journal.history(id(1)).iter().map(|(a, b)| (plain(a), plain(b))).collect();
    assert_eq!(history, [("a".into(), "answer of a".into()), ("d".into(), "answer of d".into())]);
    // Nothing runs, nothing waits: these do nothing.
    journal.withdrawn(id(1));
    journal.turn_again(id(1), true);
    journal.turn_begins(id(1), false);
    journal.turn_ends(id(1), Some(&raw("nobody asked")));
    // What stands beside a message is kept with it; put back before anybody began with it, it is as it was.
    journal.message(id(1), &raw("e"), Some(&raw("beside e")));
    journal.turn_begins(id(1), false);
    journal.turn_again(id(1), false);
    assert_eq!(waiting(&journal, 1), [("e".into(), false)]);
    let kept = journal.restore(id(1)).unwrap().waiting.remove(0);
    assert_eq!(kept.metadata.map(|beside| plain(&beside)).as_deref(), Some("beside e"));
    journal.withdrawn(id(1));
    assert_eq!(journal.history(id(1)).len(), 2);
}

#[test]
fn states_replace_each_other() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    assert!(journal.state(id(1)).is_none());
    journal.save_state(id(1), Some(&raw("one")));
    journal.save_state(id(1), Some(&raw("two")));
    turn(&journal, id(1), "m", &["a"]);
    assert_eq!(journal.state(id(1)).map(|state| plain(&state)).as_deref(), Some("two"));
    journal.save_state(id(1), None);
    assert!(journal.state(id(1)).is_none());
}

#[test]
fn kept_are_the_newest_turn_and_the_newest_events() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    for number in 1..=20 {
        say(&journal, id(1), &format!("{number:03}"));
    }
    // Eight events without a turn.
    assert_eq!(texts(&journal, id(1), 0).0, Some((1, 12)));
    assert_eq!(texts(&journal, id(1), 12).0, None);
    journal.message(id(1), &raw("m"), None);
    journal.turn_begins(id(1), false);
    for number in 21..=40 {
        say(&journal, id(1), &format!("{number:03}"));
    }
    // The whole turn, whether it runs or has just ended.
    assert_eq!(texts(&journal, id(1), 15).0, Some((16, 20)));
    journal.turn_ends(id(1), Some(&raw("x")));
    assert_eq!(texts(&journal, id(1), 20), (None, (21..=40).map(|number| format!("{number:03}")).collect()));
    turn(&journal, id(1), "m", &["041", "042"]);
    assert_eq!(texts(&journal, id(1), 0).0, Some((1, 34)));
    // Up to a thousand bytes here, and the newest event always.
    turn(&journal, id(1), "m", &["x".repeat(400).as_str(); 5]);
    assert_eq!(texts(&journal, id(1), 0).0, Some((1, 45)));
    say(&journal, id(1), &"y".repeat(1100));
    assert_eq!(texts(&journal, id(1), 46), (Some((47, 47)), vec!["y".repeat(1100)]));
}

#[test]
fn the_history_is_bounded_as_the_host_bounds_it() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    for number in 0..9 {
        turn(&journal, id(1), &format!("m{number}"), &["a"]);
    }
    let messages: Vec<_> = journal.history(id(1)).iter().map(|(message, _)| plain(message)).collect();
    assert_eq!(messages, ["m5", "m6", "m7", "m8"]);
    turn(&journal, id(1), "long", &["x".repeat(590).as_str()]);
    assert_eq!(journal.history(id(1)).len(), 1);
    let real = Limits::new(256 * 1024 * 1024);
    assert_eq!((real.full.turns, real.full.history, real.full.events), (100, 1 << 20, 1000));
    assert_eq!((real.segment, real.full.event_bytes), (8 << 20, 4 << 20));
}

#[test]
fn what_is_too_large_is_a_gap() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    say(&journal, id(1), "1");
    say(&journal, id(1), &"x".repeat(5000));
    assert_eq!(texts(&journal, id(1), 0), (Some((1, 2)), vec![]));
    say(&journal, id(1), "3");
    assert_eq!(texts(&journal, id(1), 0), (Some((1, 2)), vec!["3".into()]));
    assert_eq!(texts(&journal, id(1), 2), (None, vec!["3".into()]));
}

#[test]
fn a_session_that_is_over_is_not_there() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    say(&journal, id(1), "1");
    let link = service.folder().join("owners").join(id(1).to_string());
    assert!(link.is_symlink());
    journal.end(id(1));
    assert!(!link.is_symlink());
    assert!(!journal.contains(id(1)) && journal.restore(id(1)).is_none());
    assert_eq!((journal.sessions(), journal.missed(id(1), 0)), (0, Missed::default()));
    // Nothing of a session that is not there does anything.
    journal.end(id(1));
    journal.event(id(1), 1, b"x", true);
    journal.message(id(1), &raw("m"), None);
    journal.turn_begins(id(1), false);
    journal.turn_ends(id(1), Some(&raw("a")));
    journal.save_state(id(1), None);
    journal.set_idle(id(1), true);
    assert!(journal.history(id(1)).is_empty() && journal.state(id(1)).is_none());
}

#[test]
fn who_is_idle_for_too_long_is_over() {
    let service = Service::tiny();
    let journal = service.start();
    for number in 1..=3 {
        journal.begin(id(number), None);
    }
    journal.set_idle(id(1), true);
    journal.set_idle(id(2), true);
    let minutes = |count: u64| {
        let mut expired = Vec::new();
        for _ in 0..count * 6 {
            service.pass(Duration::from_secs(10));
            expired.extend(journal.tick().expired);
        }
        expired
    };
    assert_eq!(minutes(9), Vec::<Uuid>::new());
    journal.set_idle(id(2), false);
    journal.set_idle(id(2), true);
    // It is idle since it became idle first.
    journal.set_idle(id(1), true);
    assert_eq!(minutes(2), [id(1)]);
    assert!(!journal.contains(id(1)) && journal.contains(id(2)) && journal.contains(id(3)));
    // A leap of the clock, or a machine that slept, is not idleness; nor does a clock that is set back count.
    service.pass(Duration::from_hours(24));
    assert_eq!(journal.tick(), Ticked::default());
    assert_eq!(minutes(9), [id(2)]);
    assert_eq!(journal.sessions(), 1);
}

#[test]
fn a_journal_that_is_off_counts_and_writes_nothing() {
    let service = Service::tiny();
    let config = crate::Config { max_bytes: 0, ..service.config() };
    let journal = Journal::open(config).unwrap();
    journal.begin(id(1), None);
    say(&journal, id(1), "1");
    turn(&journal, id(1), "m", &["2", "3"]);
    journal.save_state(id(1), Some(&raw("s")));
    journal.flush();
    assert_eq!((journal.last_seq(id(1)), journal.contains(id(1)), journal.sessions()), (3, true, 1));
    assert_eq!(journal.missed(id(1), 1), Missed { gap: Some((2, 3)), events: vec![] });
    assert!(journal.restore(id(1)).is_none() && journal.state(id(1)).is_none());
    assert_eq!((journal.disk_bytes(), journal.problem()), (0, None));
    journal.set_idle(id(1), true);
    for _ in 0..100 {
        service.pass(Duration::from_secs(10));
        let _ = journal.tick();
    }
    assert_eq!(journal.sessions(), 0);
    assert!(!service.folder().exists());
}
