//! Sessions that a living owner lets go of: whose they are at each moment, and what comes along.

use super::rig::{Service, adopt, estate, fetch, id, name, plain, raw, say, texts, turn};
use crate::{Config, FetchError, Journal, Owner, ReleaseError, clean_up};
use myagent_core::{Clock as _, StartId};
use std::fs;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// An id for a release.
fn fresh(number: u128) -> StartId {
    StartId(Uuid::from_u128(0xf7e5 << 64 | number))
}

fn starts(service: &Service) -> usize {
    let entries = fs::read_dir(service.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_str().is_some_and(|name| name.parse::<StartId>().is_ok())).count()
}

fn link(service: &Service, number: u128) -> String {
    let link = fs::read_link(service.folder().join("owners").join(id(number).to_string())).unwrap();
    link.to_str().unwrap().to_owned()
}

#[test]
fn everything_comes_along_while_both_live() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    first.begin(id(1), Some(&raw("params")));
    first.begin(id(2), None);
    turn(&first, id(1), "m1", &["e1", "e2"]);
    first.save_state(id(1), Some(&raw("state")));
    first.message(id(1), &raw("m2"), None);
    say(&first, id(2), "other");
    first.flush();
    assert_eq!(name(&second.locate(id(1))), "weather-1 /run/1.t");

    first.release(id(1), fresh(1)).unwrap();
    assert!(!first.contains(id(1)) && first.contains(id(2)));
    assert_eq!(link(&service, 1), format!("{}.2", fresh(1)));
    // It is as if its owner had died, for everybody, also for the one that let go of it.
    assert_eq!((name(&first.locate(id(1))), name(&second.locate(id(1)))), ("dead".into(), "dead".into()));
    // Nothing is changed by what comes too late.
    first.event(id(1), 3, b"late", true);
    first.message(id(1), &raw("late"), None);
    first.end(id(1));
    first.flush();

    let mut fetched = fetch(&second, id(1));
    assert_eq!((fetched.from(), fetched.damage()), (fresh(1), None));
    let spent = fetched.take_spent().unwrap();
    second.adopt(fetched).unwrap();
    assert_eq!(starts(&service), 3);
    spent.remove();
    assert_eq!(starts(&service), 2);
    assert_eq!(link(&service, 1), format!("{}.3", second.config.start_id));
    assert!(name(&first.locate(id(1))).starts_with("weather-2"));
    let restored = second.restore(id(1)).unwrap();
    assert_eq!(restored.params.map(|params| plain(&params)).as_deref(), Some("params"));
    assert_eq!((restored.last_seq, restored.running.is_none()), (2, true));
    assert_eq!(restored.waiting.iter().map(|m| plain(&m.content)).collect::<Vec<_>>(), ["m2"]);
    assert_eq!(second.history(id(1)).len(), 1);
    assert_eq!(second.state(id(1)).map(|state| plain(&state)).as_deref(), Some("state"));
    assert_eq!(texts(&second, id(1), 0), (None, vec!["e1".into(), "e2".into()]));
    assert_eq!(say(&second, id(1), "e3"), 3);
    second.flush();

    // And back, and once more: the first one has it twice in its log, and the newer one counts.
    second.release(id(1), fresh(2)).unwrap();
    adopt(&first, id(1));
    assert_eq!(say(&first, id(1), "e4"), 4);
    first.flush();
    drop(first);
    let third = service.start();
    adopt(&third, id(1));
    adopt(&third, id(2));
    assert_eq!(texts(&third, id(1), 0).1, ["e1", "e2", "e3", "e4"]);
    assert_eq!(texts(&third, id(2), 0).1, ["other"]);
}

#[test]
fn who_lets_go_and_dies_has_let_go() {
    let service = Service::tiny();
    let first = service.start();
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.release(id(1), fresh(1)).unwrap();
    drop(first);
    let second = service.start();
    // What its own log has of the session is of another time.
    adopt(&second, id(1));
    assert_eq!(texts(&second, id(1), 0), (None, vec!["1".into()]));
    // A folder without a link, as of one that died before it had replaced that, is nobody's, and goes.
    second.release(id(1), fresh(2)).unwrap();
    let owners = service.folder().join("owners");
    fs::remove_file(owners.join(id(1).to_string())).unwrap();
    std::os::unix::fs::symlink(format!("{}.3", second.config.start_id), owners.join(id(1).to_string()))
        .unwrap();
    let third = service.start();
    drop(second);
    adopt(&third, id(1));
    assert_eq!(texts(&third, id(1), 0).1, ["1"]);
    clean_up(&service.folder(), super::rig::KEEP, 100_000, service.clock.now());
    assert_eq!(starts(&service), 1);
}

#[test]
fn while_it_is_released_it_is_not_cleaned_up_and_afterwards_it_is_kept_like_any_other() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    let clean = |journal: &Journal| {
        let done = clean_up(&service.folder(), super::rig::KEEP, 100_000, service.clock.now());
        (done.logs, done.links, name(&journal.locate(id(1))))
    };
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.release(id(1), fresh(1)).unwrap();
    assert_eq!(clean(&second), (0, 0, "dead".into()));
    service.pass(super::rig::KEEP / 2);
    assert_eq!(clean(&second), (0, 0, "dead".into()));
    service.pass(super::rig::KEEP);
    assert_eq!(clean(&second), (1, 1, "unknown".into()));
}

#[test]
fn a_release_that_fails_changes_nothing() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.flush();
    let before = link(&service, 1);
    let refused = first.release(id(2), fresh(1)).unwrap_err();
    assert!(matches!(refused, ReleaseError::NotHere { .. }));
    // With something to write, and with nothing: then it is the new log that cannot be.
    for text in [Some("2"), None] {
        if let Some(text) = text {
            say(&first, id(1), text);
        }
        service.disk.full.store(true, Ordering::Relaxed);
        let refused = first.release(id(1), fresh(1)).unwrap_err();
        assert!(matches!(refused, ReleaseError::Write { .. }), "{refused}");
        service.disk.full.store(false, Ordering::Relaxed);
        first.flush();
    }
    // An id that was used, and a session that somebody else holds.
    let refused = first.release(id(1), second.config.start_id).unwrap_err();
    assert!(matches!(refused, ReleaseError::Write { .. }), "{refused}");
    let held = first.place.as_ref().unwrap().try_lock(id(1)).unwrap();
    let refused = first.release(id(1), fresh(1)).unwrap_err();
    assert!(matches!(refused, ReleaseError::Busy { .. }), "{refused}");
    drop(held);
    assert_eq!((link(&service, 1), starts(&service)), (before, 2));
    assert!(name(&second.locate(id(1))).starts_with("weather-1"));
    assert_eq!(say(&first, id(1), "3"), 3);
    assert_eq!(texts(&first, id(1), 0).1, ["1", "2", "3"]);
    first.release(id(1), fresh(1)).unwrap();
    adopt(&second, id(1));
    assert_eq!(texts(&second, id(1), 0).1, ["1", "2", "3"]);

    let off = Journal::open(Config { max_bytes: 0, ..service.config() }).unwrap();
    off.begin(id(9), None);
    assert!(matches!(off.release(id(9), fresh(2)).unwrap_err(), ReleaseError::Off { .. }));
    assert!(off.contains(id(9)) && off.siblings().is_empty());
}

#[test]
fn of_the_releaser_and_another_one_gets_it() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.release(id(1), fresh(1)).unwrap();
    let wanted = estate(&second, id(1));
    adopt(&first, id(1));
    assert!(matches!(wanted.fetch(), Err(FetchError::Moved { .. })));
    assert!(name(&second.locate(id(1))).starts_with("weather-1"));
}

#[test]
fn a_release_is_a_start_of_nobody() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    let dead = service.start();
    drop(dead);
    first.begin(id(1), None);
    first.release(id(1), fresh(1)).unwrap();
    let names = |journal: &Journal| {
        journal.siblings().into_iter().map(|sibling| sibling.instance).collect::<Vec<_>>()
    };
    assert_eq!((names(&first), names(&second)), (vec!["weather-2".into()], vec!["weather-1".into()]));
    // While it is being made its lock is taken: it is no instance more.
    let header = first.header();
    fs::create_dir(service.folder().join(fresh(2).to_string())).unwrap();
    let held = first.place.as_ref().unwrap().claim_start(fresh(2), &header).unwrap();
    assert_eq!((names(&first), names(&second)), (vec!["weather-2".into()], vec!["weather-1".into()]));
    drop(held);
    let Owner::Dead(_) = second.locate(id(1)) else { panic!() };
    let sibling = second.siblings().remove(0);
    assert_eq!((sibling.start_id, sibling.takeover), (first.config.start_id, "/run/1.t".into()));
}
