//! A log that is full: what is old goes, what lives moves, and what does not fit is told.

use super::rig::{Service, adopt, id, raw, say, texts, tiny, turn};
use crate::limits::Limits;

#[test]
fn a_session_that_is_idle_survives_what_others_say() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), Some(&raw("params")));
    turn(&journal, id(1), "m1", &["e1", "e2"]);
    journal.save_state(id(1), Some(&raw("state")));
    journal.message(id(1), &raw("m2"), None);
    journal.begin(id(2), None);
    let before = journal.missed(id(1), 0).events;
    for number in 0..2000 {
        turn(&journal, id(2), "m", &[&format!("{number:0100}")]);
        journal.flush();
        assert!(journal.disk_bytes() <= service.limits.max, "{} bytes", journal.disk_bytes());
    }
    // Its records have moved: old positions lead nowhere, and asking again helps.
    assert!(!journal.read(id(1), before[0], &mut Vec::new()));
    let check = |journal: &crate::Journal| {
        assert_eq!(texts(journal, id(1), 0), (None, vec!["e1".into(), "e2".into()]));
        assert_eq!((journal.history(id(1)).len(), journal.state(id(1)).is_some()), (1, true));
        let restored = journal.restore(id(1)).unwrap();
        assert!(restored.params.is_some() && restored.waiting.len() == 1);
        assert_eq!(texts(journal, id(2), 0).1.len(), 8);
    };
    check(&journal);
    let first = service.segments(&journal).remove(0);
    assert!(!first.ends_with("00000001.log"), "{}", first.display());
    drop(journal);
    let next = service.start();
    adopt(&next, id(1));
    adopt(&next, id(2));
    check(&next);
}

#[test]
fn without_room_for_all_less_is_kept_of_each() {
    let limits = tiny();
    let service = Service::new(limits);
    let journal = service.start();
    // Together about as much as the whole log, if all that is kept of one session were kept of all.
    for number in 0..20 {
        journal.begin(id(number), Some(&raw("params")));
        for round in 0..4 {
            turn(&journal, id(number), "question", &[&format!("{round}{}", "x".repeat(120))]);
        }
        journal.save_state(id(number), Some(&raw("state")));
        journal.flush();
    }
    for round in 0..1000 {
        say(&journal, id(round % 20), &format!("{round:0100}"));
        journal.flush();
        assert!(journal.disk_bytes() <= limits.max + limits.segment, "{} bytes", journal.disk_bytes());
    }
    for number in 0..20 {
        let restored = journal.restore(id(number));
        assert!(restored.is_some_and(|restored| restored.params.is_some()), "session {number}");
        assert!(journal.state(id(number)).is_some());
        let (gap, events) = texts(&journal, id(number), 0);
        let last = journal.last_seq(id(number));
        assert!(!events.is_empty());
        assert_eq!(gap, Some((1, last - events.len() as u64)));
    }
}

#[test]
fn a_log_that_is_full_all_the_same_loses_its_oldest() {
    let limits = Limits { max: 8192, segment: 1024, ..tiny() };
    let service = Service::new(limits);
    let journal = service.start();
    let state = raw(&"s".repeat(1000));
    for number in 0..40 {
        journal.begin(id(number), None);
        say(&journal, id(number), "1");
        journal.save_state(id(number), Some(&state));
        journal.flush();
        assert!(journal.disk_bytes() <= limits.max + 2 * limits.segment, "{} bytes", journal.disk_bytes());
    }
    let alive: Vec<_> = (0..40).filter(|number| journal.restore(id(*number)).is_some()).collect();
    assert!(!alive.is_empty() && alive.len() < 10, "{alive:?}");
    // Whoever is lost still counts, and can go on talking.
    let lost = (0..40).find(|number| !alive.contains(number)).unwrap();
    assert_eq!(texts(&journal, id(lost), 0), (Some((1, 1)), vec![]));
    assert_eq!(say(&journal, id(lost), "2"), 2);
    assert_eq!(texts(&journal, id(lost), 1), (None, vec!["2".into()]));
    assert_eq!(journal.sessions(), 40);
}

#[test]
fn what_is_small_outlives_a_flood() {
    let limits = Limits { segment: 8192, ..tiny() };
    let service = Service::new(limits);
    let journal = service.start();
    for number in 0..5 {
        journal.begin(id(number), Some(&raw("params")));
        turn(&journal, id(number), "question", &["answer"]);
        journal.save_state(id(number), Some(&raw("state")));
        journal.message(id(number), &raw("waits"), None);
    }
    // More than cleaning could keep up with.
    while journal.disk_bytes() <= limits.max + 2000 {
        say(&journal, id(0), &"x".repeat(100));
        let _ = journal.inner.borrow_mut().flush_log();
    }
    say(&journal, id(0), "newest");
    journal.flush();
    assert!(journal.disk_bytes() <= limits.max);
    for number in 0..5 {
        let restored = journal.restore(id(number)).unwrap();
        assert_eq!((restored.params.is_some(), restored.waiting.len()), (true, 1), "session {number}");
        assert!(journal.state(id(number)).is_some() && journal.history(id(number)).len() == 1);
    }
    assert_eq!(texts(&journal, id(1), 0), (Some((1, 1)), vec![]));
    assert_eq!(texts(&journal, id(0), 0).1.last().map(String::as_str), Some("newest"));
    assert!(texts(&journal, id(0), 0).1.len() >= 8);
}

#[test]
fn cleaning_is_done_in_portions() {
    let limits = Limits { portion: 512, ..tiny() };
    let service = Service::new(limits);
    let journal = service.start();
    for number in 0..60 {
        journal.begin(id(number), None);
        turn(&journal, id(number), "m", &[&"x".repeat(60)]);
    }
    journal.flush();
    let mut largest = 0;
    for round in 0..2000 {
        let before = journal.inner.borrow().log.moved();
        say(&journal, id(100 + round % 2), "");
        if round < 2 {
            journal.begin(id(100 + round), None);
        }
        say(&journal, id(100 + round % 2), &"y".repeat(40));
        journal.flush();
        largest = largest.max(journal.inner.borrow().log.moved().saturating_sub(before));
    }
    assert!(largest > 0 && largest < 4096, "{largest} bytes moved in one call");
    assert!((0..60).all(|number| journal.restore(id(number)).is_some()));
}

#[test]
fn a_tick_cleans_where_nobody_writes() {
    let service = Service::tiny();
    let journal = service.start();
    journal.begin(id(1), None);
    while journal.disk_bytes() <= service.limits.max / 4 * 3 {
        say(&journal, id(1), &"x".repeat(100));
        let _ = journal.inner.borrow_mut().flush_log();
    }
    let _ = journal.tick();
    assert!(journal.disk_bytes() <= service.limits.max / 4 * 3);
    assert_eq!(texts(&journal, id(1), 0).1.len(), 8);
}
