//! A disk that cannot be written: conversations go on, what fits into memory is not lost, and the rest is told.

use super::rig::{Service, adopt, id, plain, raw, say, texts, turn};
use std::sync::atomic::Ordering;

fn set_full(service: &Service, full: bool) {
    service.disk.full.store(full, Ordering::Relaxed);
}

#[test]
fn what_the_disk_does_not_take_is_read_from_memory_and_written_later() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    say(&journal, id(1), "1");
    journal.flush();
    assert_eq!(journal.problem(), None);
    set_full(&service, true);
    for number in 2..=5 {
        say(&journal, id(1), &number.to_string());
        journal.flush();
    }
    let problem = journal.problem().unwrap();
    assert!(problem.contains("cannot be written") && problem.contains("nothing is lost"), "{problem}");
    assert_eq!(texts(&journal, id(1), 0), (None, ["1", "2", "3", "4", "5"].map(String::from).to_vec()));
    set_full(&service, false);
    say(&journal, id(1), "6");
    let _ = journal.tick();
    // Told until it has surely been heard.
    assert!(journal.problem().is_some());
    let _ = journal.tick();
    assert_eq!(journal.problem(), None);
    drop(journal);
    let next = service.start();
    let fetched = super::rig::fetch(&next, id(1));
    assert_eq!(fetched.damage(), None);
    next.adopt(fetched).unwrap();
    assert_eq!(texts(&next, id(1), 0).1.len(), 6);
}

#[test]
fn what_is_too_much_is_given_up_and_told_and_the_session_goes_on() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), Some(&raw("params")));
    journal.begin(id(2), None);
    turn(&journal, id(1), "m1", &["1"]);
    journal.save_state(id(1), Some(&raw("state")));
    journal.flush();
    set_full(&service, true);
    // Begun, answered and asked while nothing can be written.
    journal.begin(id(3), Some(&raw("also")));
    turn(&journal, id(1), "m2", &["2"]);
    journal.message(id(1), &raw("m3"), None);
    journal.turn_begins(id(1), false);
    say(&journal, id(1), "3");
    for number in 0..40 {
        say(&journal, id(2), &format!("{number:0400}"));
        journal.flush();
    }
    let problem = journal.problem().unwrap();
    assert!(problem.contains("cannot be replayed"), "{problem}");
    let stale = journal.missed(id(1), 0);
    assert_eq!(stale.gap, Some((1, 3)));
    say(&journal, id(1), "4");
    assert_eq!(texts(&journal, id(1), 2), (Some((3, 3)), vec!["4".into()]));
    set_full(&service, false);
    for _ in 0..2 {
        journal.flush();
        let _ = journal.tick();
    }
    assert_eq!(journal.problem(), None);
    let check = |journal: &crate::Journal| {
        let restored = journal.restore(id(1)).unwrap();
        assert_eq!(restored.params.map(|params| plain(&params)).as_deref(), Some("params"));
        let running = restored.running.unwrap();
        assert_eq!((plain(&running.message.content).as_str(), running.said), ("m3", true));
        let history: Vec<_> = journal.history(id(1)).iter().map(|(message, _)| plain(message)).collect();
        assert_eq!(history, ["m1", "m2"]);
        assert_eq!(journal.state(id(1)).map(|state| plain(&state)).as_deref(), Some("state"));
        assert_eq!(texts(journal, id(1), 0), (Some((1, 3)), vec!["4".into()]));
        assert_eq!(journal.last_seq(id(2)), 40);
        let also = journal.restore(id(3)).unwrap();
        assert_eq!(also.params.map(|params| plain(&params)).as_deref(), Some("also"));
    };
    check(&journal);
    drop(journal);
    let next = service.start();
    for number in 1..=3 {
        adopt(&next, id(number));
    }
    check(&next);
}

#[test]
fn a_segment_that_never_got_a_byte_leaves_nothing() {
    let service = Service::tiny();
    set_full(&service, true);
    let journal = service.start();
    journal.begin(id(1), None);
    for number in 0..100 {
        say(&journal, id(1), &format!("{number:0400}"));
        journal.flush();
    }
    set_full(&service, false);
    say(&journal, id(1), "at last");
    journal.flush();
    let files = service.segments(&journal);
    assert!(files.len() <= 2 && !files[0].ends_with("00000001.log"), "{files:?}");
    let (gap, events) = texts(&journal, id(1), 0);
    assert_eq!(gap.map(|(first, _)| first), Some(1));
    assert_eq!(events.last().map(String::as_str), Some("at last"));
    assert!(journal.restore(id(1)).is_some());
}

#[test]
fn a_link_that_cannot_be_made_is_made_later() {
    let service = Service::tiny();
    let journal = service.start();
    let owners = service.folder().join("owners");
    // A folder in its place: neither made nor replaced.
    std::fs::create_dir_all(owners.join(id(1).to_string()).join("x")).unwrap();
    journal.begin(id(1), None);
    journal.flush();
    let _ = journal.tick();
    std::fs::remove_dir_all(owners.join(id(1).to_string())).unwrap();
    let _ = journal.tick();
    assert!(owners.join(id(1).to_string()).is_symlink());
    // The same for one that cannot be removed: it leads to a log that says that the session is over.
    drop(journal);
    let next = service.start();
    adopt(&next, id(1));
}
