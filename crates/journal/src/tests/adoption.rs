//! Sessions of starts that have ended: who may take them, and what comes along.

use super::rig::{Service, adopt, estate, fetch, id, name, plain, raw, say, texts, turn};
use crate::limits::Limits;
use crate::{AdoptError, Config, Estate, FetchError, Journal, OpenError, Owner, clean_up};
use myagent_core::Clock as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::Barrier;
use std::time::Duration;

/// A start that has ended, with one session that has said something.
fn one_dead(service: &Service) {
    let first = service.start();
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.flush();
}

#[test]
fn everything_comes_along() {
    let service = Service::tiny();
    let first = service.start();
    first.begin(id(1), Some(&raw("params")));
    first.begin(id(2), None);
    turn(&first, id(1), "m1", &["e1", "e2"]);
    first.save_state(id(1), Some(&raw("state")));
    first.message(id(1), &raw("m2"), None);
    first.message(id(1), &raw("m3"), None);
    first.turn_begins(id(1), false);
    say(&first, id(1), "e3");
    say(&first, id(2), "other");
    first.flush();
    drop(first);

    let mut journal = service.start();
    for epoch in 2..5 {
        assert_eq!(name(&journal.locate(id(1))), "dead");
        adopt(&journal, id(1));
        assert_eq!(name(&journal.locate(id(1))), "here");
        let restored = journal.restore(id(1)).unwrap();
        assert_eq!(restored.params.map(|params| plain(&params)).as_deref(), Some("params"));
        assert_eq!(restored.last_seq, 3);
        let running = restored.running.unwrap();
        assert_eq!(
            (plain(&running.message.content).as_str(), running.said, running.message.redelivered),
            ("m2", true, false)
        );
        assert_eq!(
            restored.waiting.iter().map(|m| (plain(&m.content), m.redelivered)).collect::<Vec<_>>(),
            [("m3".into(), false)]
        );
        assert_eq!(journal.history(id(1)).len(), 1);
        assert_eq!(journal.state(id(1)).map(|state| plain(&state)).as_deref(), Some("state"));
        assert_eq!(texts(&journal, id(1), 0), (None, vec!["e1".into(), "e2".into(), "e3".into()]));
        let target = fs::read_link(service.folder().join("owners").join(id(1).to_string())).unwrap();
        assert_eq!(target.to_str().unwrap(), format!("{}.{epoch}", journal.config.start_id));
        let next = service.start();
        assert_eq!(
            name(&next.locate(id(1))),
            format!("{} {}", journal.config.instance, journal.config.takeover.display())
        );
        journal = next;
    }
    adopt(&journal, id(2));
    assert_eq!(texts(&journal, id(2), 0), (None, vec!["other".into()]));
    assert_eq!(say(&journal, id(2), "more"), 2);
    assert_eq!(texts(&journal, id(2), 0).1, ["other", "more"]);
}

#[test]
fn what_was_not_flushed_never_was() {
    let service = Service::tiny();
    let first = service.start();
    first.begin(id(1), None);
    say(&first, id(1), "1");
    first.flush();
    say(&first, id(1), "lost with its process");
    first.begin(id(2), None);
    drop(first);
    let journal = service.start();
    adopt(&journal, id(1));
    assert_eq!(texts(&journal, id(1), 0), (None, vec!["1".into()]));
    let lost = estate(&journal, id(2)).fetch();
    assert!(matches!(lost, Err(FetchError::Lost { .. })), "{lost:?}");
}

#[test]
fn nobody_takes_from_the_living() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    first.begin(id(1), None);
    first.flush();
    assert_eq!(name(&second.locate(id(1))), "weather-1 /run/1.t");
    assert_eq!(name(&second.locate(id(2))), "unknown");
    let Owner::Live { pid, start_id, .. } = second.locate(id(1)) else { panic!() };
    assert_eq!((pid, start_id), (std::process::id(), first.config.start_id));
    // Even if somebody thought that it was dead.
    let place = second.place.clone().unwrap();
    let thought = Estate::new(id(1), first.link(1), place, second.dead.clone());
    assert!(matches!(thought.fetch(), Err(FetchError::Alive { .. })));
    let dead = service.start();
    dead.begin(id(3), None);
    dead.flush();
    drop(dead);
    let estate = estate(&second, id(3));
    let link = service.folder().join("owners").join(id(3).to_string());
    fs::remove_file(&link).unwrap();
    symlink(format!("{}.1", first.config.start_id), &link).unwrap();
    assert!(matches!(estate.fetch(), Err(FetchError::Moved { .. })));
}

#[test]
fn what_cannot_be_seen_is_not_said_to_be_over() {
    let service = Service::tiny();
    let (first, second) = (service.start(), service.start());
    first.begin(id(1), None);
    first.flush();
    let owner = service.folder().join(first.config.start_id.to_string()).join("owner");
    let text = fs::read(&owner).unwrap();
    fs::write(&owner, "not what it was").unwrap();
    assert_eq!(name(&second.locate(id(1))), "unclear");
    fs::write(&owner, text).unwrap();
    assert_eq!(name(&second.locate(id(1))), "weather-1 /run/1.t");
    // Nobody writes to this pipe, and nobody waits for that.
    fs::remove_file(&owner).unwrap();
    let private = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &owner, rustix::fs::FileType::Fifo, private, 0).unwrap();
    assert_eq!(name(&second.locate(id(1))), "dead");
}

#[test]
fn of_two_who_want_it_one_gets_it() {
    let service = Service::tiny();
    let first = service.start();
    for number in 0..50 {
        first.begin(id(number), None);
        say(&first, id(number), "1");
    }
    first.flush();
    drop(first);
    let barrier = Barrier::new(4);
    let taken: usize = std::thread::scope(|scope| {
        let adopters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let journal = service.start();
                    let mut taken = 0;
                    barrier.wait();
                    for number in 0..50 {
                        let Owner::Dead(estate) = journal.locate(id(number)) else { continue };
                        match estate.fetch() {
                            Ok(fetched) => {
                                journal.adopt(fetched).unwrap();
                                assert_eq!(texts(&journal, id(number), 0).1, ["1"]);
                                taken += 1;
                            }
                            Err(FetchError::Moved { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    // The others must find it alive.
                    barrier.wait();
                    assert_eq!(journal.sessions(), taken);
                    taken
                })
            })
            .collect();
        adopters.into_iter().map(|adopter| adopter.join().unwrap()).sum()
    });
    assert_eq!(taken, 50);
    let owners: Vec<_> = fs::read_dir(service.folder().join("owners")).unwrap().collect();
    assert_eq!(owners.len(), 50, "no locks, no drafts: {owners:?}");
}

#[test]
fn whoever_waits_finds_that_it_has_moved() {
    let service = Service::tiny();
    one_dead(&service);
    let (second, third) = (service.start(), service.start());
    let fetched = fetch(&second, id(1));
    let waits = estate(&third, id(1));
    let waiting = std::thread::spawn(move || waits.fetch());
    second.adopt(fetched).unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(FetchError::Moved { .. })));
    assert!(name(&third.locate(id(1))).starts_with("weather-2"));
}

#[test]
fn who_fetches_and_does_nothing_keeps_nobody_away_for_ever() {
    let service = Service::tiny();
    one_dead(&service);
    let (second, third) = (service.start(), service.start());
    let fetched = fetch(&second, id(1));
    assert!(matches!(estate(&third, id(1)).fetch(), Err(FetchError::Busy { .. })));
    drop(fetched);
    adopt(&third, id(1));
    // A lock that was left by a process that died with it is nobody's.
    let fourth = service.start();
    drop(third);
    fs::write(service.folder().join("owners").join(format!(".adopt-{}", id(1))), "").unwrap();
    adopt(&fourth, id(1));
}

#[test]
fn an_adoption_that_fails_changes_nothing() {
    let service = Service::tiny();
    one_dead(&service);
    let second = service.start();
    second.begin(id(9), None);
    service.disk.full.store(true, std::sync::atomic::Ordering::Relaxed);
    let failed = second.adopt(fetch(&second, id(1)));
    assert!(matches!(failed, Err(AdoptError::Write { .. })), "{failed:?}");
    service.disk.full.store(false, std::sync::atomic::Ordering::Relaxed);
    second.flush();
    service.disk.full.store(true, std::sync::atomic::Ordering::Relaxed);
    let failed = second.adopt(fetch(&second, id(1)));
    assert!(matches!(failed, Err(AdoptError::Write { .. })), "{failed:?}");
    assert!(!second.contains(id(1)) && second.contains(id(9)));
    service.disk.full.store(false, std::sync::atomic::Ordering::Relaxed);
    second.flush();
    // The copy that it left is not the session.
    let owner = fs::read_link(service.folder().join("owners").join(id(1).to_string())).unwrap();
    assert!(owner.to_str().unwrap().ends_with(".1"));
    let off = Journal::open(Config { max_bytes: 0, ..service.config() }).unwrap();
    assert!(matches!(off.adopt(fetch(&second, id(1))), Err(AdoptError::Off { .. })));
    assert_eq!(name(&off.locate(id(1))), "unknown");
    drop(second);
    let third = service.start();
    adopt(&third, id(1));
    let again = fetch_again(&service, &third);
    assert!(matches!(third.adopt(again), Err(AdoptError::Here { .. })));
}

/// A session that is already here, as another start left it.
fn fetch_again(service: &Service, journal: &Journal) -> crate::Fetched {
    let other = service.start();
    other.begin(id(1), None);
    other.flush();
    drop(other);
    let looking = service.start();
    assert!(journal.contains(id(1)));
    fetch(&looking, id(1))
}

#[test]
fn a_copy_that_was_never_claimed_is_ignored() {
    let service = Service::tiny();
    one_dead(&service);
    let second = service.start();
    adopt(&second, id(1));
    say(&second, id(1), "2");
    second.flush();
    drop(second);
    // As if the second had died just before it replaced the link.
    let link = service.folder().join("owners").join(id(1).to_string());
    let claimed = fs::read_link(&link).unwrap();
    let third = service.start();
    let first_start = fs::read_dir(service.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first_start = first_start.filter(|name| name != "owners").min().unwrap();
    fs::remove_file(&link).unwrap();
    symlink(format!("{first_start}.1"), &link).unwrap();
    adopt(&third, id(1));
    assert_eq!(texts(&third, id(1), 0).1, ["1"]);
    drop(third);
    // A link with another epoch than the log's is no right to what is in it.
    fs::remove_file(&link).unwrap();
    let other_epoch = claimed.to_str().unwrap().replace(".2", ".7");
    symlink(other_epoch, &link).unwrap();
    let fourth = service.start();
    assert!(matches!(estate(&fourth, id(1)).fetch(), Err(FetchError::Lost { .. })));
}

#[test]
fn links_that_are_not_ours_are_nobodys() {
    let service = Service::tiny();
    let journal = service.start();
    let owners = service.folder().join("owners");
    symlink("../../etc/passwd", owners.join(id(1).to_string())).unwrap();
    symlink(format!("{}.x", journal.config.start_id), owners.join(id(2).to_string())).unwrap();
    symlink(format!("{}.1", journal.config.start_id), owners.join(id(3).to_string())).unwrap();
    symlink(format!("{}.1", id(99)), owners.join(id(4).to_string())).unwrap();
    fs::write(owners.join(id(5).to_string()), "not a link").unwrap();
    for number in 1..=5 {
        assert_eq!(name(&journal.locate(id(number))), "unknown", "{number}");
    }
    // Made anew all the same.
    journal.begin(id(1), None);
    assert_eq!(name(&journal.locate(id(1))), "here");
    assert!(fs::read_link(owners.join(id(1).to_string())).unwrap().to_str().unwrap().ends_with(".1"));
}

#[test]
fn only_we_can_read_it_and_a_start_is_used_once() {
    let service = Service::tiny();
    let config = service.config();
    let journal = Journal::open(config.clone()).unwrap();
    journal.begin(id(1), None);
    journal.flush();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = service.start_folder(&journal);
    assert_eq!(
        (mode(&service.folder()), mode(&folder), mode(&service.folder().join("owners"))),
        (0o700, 0o700, 0o700)
    );
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let again = Journal::open(config.clone());
    assert!(matches!(again, Err(OpenError::Exists { .. })));
    let in_a_file = Config { folder: folder.join("owner"), ..config };
    assert!(matches!(Journal::open(in_a_file), Err(OpenError::Make { .. })));
}

#[test]
fn old_logs_and_what_led_to_them_go() {
    let service = Service::tiny();
    let keep = super::rig::KEEP;
    let clean = |max_bytes| clean_up(&service.folder(), keep, max_bytes, service.clock.now());
    assert_eq!(clean(1), crate::CleanedUp::default());
    let live = service.start();
    live.begin(id(100), None);
    live.flush();
    for number in 1..=3 {
        let dead = service.start();
        dead.begin(id(number), None);
        say(&dead, id(number), &"x".repeat(1000));
        dead.flush();
        service.pass(Duration::from_secs(10));
    }
    let empty = service.start();
    empty.begin(id(4), None);
    empty.flush();
    empty.end(id(4));
    drop(empty);
    let started = service.folder().join(id(77).to_string());
    fs::create_dir(&started).unwrap();
    fs::File::open(&started).unwrap().set_modified(service.clock.now().into()).unwrap();
    // The one without a session goes, the others stay; the owner's file tells when they died.
    let done = clean(100_000);
    assert_eq!((done.logs, done.links), (1, 0), "{done:?}");
    let done = clean(700);
    assert_eq!((done.logs, done.links), (2, 2), "the two oldest: {done:?}");
    assert!(done.bytes > 2000);
    assert_eq!(name(&live.locate(id(1))), "unknown");
    assert_eq!(name(&live.locate(id(3))), "dead");
    service.pass(keep);
    let fetched = fetch(&live, id(3));
    let _ = live.tick();
    assert_eq!(clean(100_000).links, 0, "somebody is taking it over");
    live.adopt(fetched).unwrap();
    assert_eq!(name(&live.locate(id(3))), "here");
    assert_eq!(texts(&live, id(3), 0).1.len(), 1);
    assert_eq!(clean(100_000), crate::CleanedUp::default());
    assert!(live.contains(id(100)));
    // What was left of things that were cut short.
    fs::create_dir(service.folder().join(".gone-x")).unwrap();
    let owners = service.folder().join("owners");
    fs::write(owners.join(format!(".adopt-{}", id(5))), "").unwrap();
    symlink("x", owners.join(format!(".new-{}-y", id(5)))).unwrap();
    clean(100_000);
    assert_eq!(fs::read_dir(&owners).unwrap().count(), 2);
    assert!(!service.folder().join(".gone-x").exists());
}

#[test]
fn the_owners_file_shows_when_its_process_lived() {
    let service = Service::tiny();
    let journal = service.start();
    let owner = service.start_folder(&journal).join("owner");
    let touched = || fs::metadata(&owner).unwrap().mtime();
    assert_eq!(touched(), service.clock.now().as_second());
    service.pass(Duration::from_secs(5));
    let _ = journal.tick();
    assert_eq!(touched(), service.clock.now().as_second() - 5);
    service.pass(Duration::from_secs(5));
    let _ = journal.tick();
    assert_eq!(touched(), service.clock.now().as_second());
}

#[test]
fn a_thousand_sessions_cost_one_reading() {
    let service = Service::new(Limits::new(16 << 20));
    let first = service.start();
    for number in 0..1000 {
        first.begin(id(number), None);
        say(&first, id(number), "1");
    }
    first.flush();
    let folder = service.start_folder(&first);
    drop(first);
    let second = service.start();
    let fetched: Vec<_> = (0..500).map(|number| fetch(&second, id(number))).collect();
    for fetched in fetched {
        second.adopt(fetched).unwrap();
    }
    // The index is known: the folder could not even be listed any more.
    fs::create_dir(folder.join("00000009.log")).unwrap();
    adopt(&second, id(999));
    let third = service.start();
    assert!(matches!(estate(&third, id(998)).fetch(), Err(FetchError::Read { .. })));
    // Not for ever.
    for _ in 0..20 {
        let _ = second.tick();
    }
    assert!(matches!(estate(&second, id(997)).fetch(), Err(FetchError::Read { .. })));
    assert_eq!(second.sessions(), 501);
}
