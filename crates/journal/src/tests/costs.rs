//! What a journal costs: memory of a session, time of an event, of opening, and of finding a session in a full log. The bounds are loose;
//! `MYAGENT_SOAK=1` fills a log of the default size.

use super::rig::{Service, estate, id, raw, say, turn};
use crate::index::Entry;
use crate::limits::Limits;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Time of this thread, so that others' work does not count.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn since(begun: Duration) -> Duration {
    now().saturating_sub(begun)
}

fn is_soak() -> bool {
    std::env::var_os("MYAGENT_SOAK").is_some()
}

#[test]
fn ten_thousand_sessions_are_small() {
    let service = Service::new(Limits::new(256 << 20));
    let journal = service.start();
    for number in 0..10_000 {
        journal.begin(id(number), None);
        turn(&journal, id(number), "question", &["thinking", "answer"]);
        journal.set_idle(id(number), true);
    }
    journal.flush();
    let inner = journal.inner.borrow();
    let bytes = inner.sessions.capacity() * 8 / 7 * (size_of::<(u128, Entry)>() + 1);
    assert!(bytes / 10_000 <= 200, "{bytes} bytes");
    assert_eq!(journal.sessions(), 10_000);
}

#[test]
fn an_event_is_cheap() {
    let service = Service::new(Limits::new(256 << 20));
    let journal = service.start();
    for number in 0..1000 {
        journal.begin(id(number), None);
    }
    journal.flush();
    let rounds = if is_soak() { 500_000 } else { 50_000 };
    let text = [b'x'; 200];
    let begun = now();
    for round in 0..rounds {
        let session = id(u128::from(round) % 1000);
        journal.event(session, round / 1000 + 1, &text, true);
        if round % 10 == 9 {
            journal.flush();
        }
    }
    let each = (since(begun)) / rounds as u32;
    println!("{} ns for an event of 200 bytes, written by tens", each.as_nanos());
    assert!(each < Duration::from_micros(20), "{each:?}");
}

#[test]
fn a_conversation_that_goes_on_does_not_read_the_disk() {
    let service = Service::new(Limits::new(256 << 20));
    let journal = service.start();
    journal.begin(id(1), None);
    journal.flush();
    for segment in service.segments(&journal) {
        std::fs::remove_file(segment).unwrap();
    }
    for round in 0..10 {
        journal.message(id(1), &raw(&format!("question {round}")), None);
        journal.turn_begins(id(1), false);
        journal.flush();
        say(&journal, id(1), "answer");
        journal.turn_ends(id(1), Some(&raw("answer")));
        journal.flush();
    }
    assert_eq!(journal.history(id(1)).len(), 10);
}

#[test]
fn a_full_log_is_read_in_no_time() {
    let max = if is_soak() { 256 << 20 } else { 16 << 20 };
    let service = Service::new(Limits::new(max));
    let first = service.start();
    let sessions = 1000;
    for number in 0..sessions {
        first.begin(id(number), None);
    }
    let text = "x".repeat(200);
    let mut round = 0;
    while first.disk_bytes() < max / 4 * 3 {
        let session = id(round % sessions);
        first.message(session, &raw("question"), None);
        first.turn_begins(session, false);
        for _ in 0..20 {
            say(&first, session, &text);
        }
        first.turn_ends(session, Some(&raw("answer")));
        first.flush();
        round += 1;
    }
    let bytes = first.disk_bytes();
    drop(first);
    let begun = now();
    let next = service.start();
    let opened = since(begun);
    let begun = now();
    let fetched = estate(&next, id(1)).fetch().unwrap();
    let fetching = since(begun);
    let begun = now();
    next.adopt(fetched).unwrap();
    let adopted = since(begun);
    let begun = now();
    let fetched = estate(&next, id(2)).fetch().unwrap();
    let again = since(begun);
    drop(fetched);
    println!(
        "{bytes} bytes: opened in {opened:?}, first fetch {fetching:?}, adopted in {adopted:?}, next fetch {again:?}"
    );
    let bound = Duration::from_secs(5) * (max >> 20) as u32 / 256 + Duration::from_secs(5);
    assert!(opened + fetching < bound, "{opened:?}, {fetching:?}");
    let begun = now();
    let missed = next.missed(id(1), 0);
    let mut out = Vec::new();
    assert!(missed.events.iter().all(|at| next.read(id(1), *at, &mut out)));
    println!("{} events found and read in {:?}", missed.events.len(), since(begun));
}

#[test]
fn cleaning_holds_nobody_up() {
    let max: u64 = if is_soak() { 256 << 20 } else { 16 << 20 };
    let service = Service::new(Limits::new(max));
    let journal = service.start();
    let (text, sessions) = ("x".repeat(200), 100);
    for number in 0..sessions {
        journal.begin(id(number), None);
    }
    let (mut longest, mut sum, mut written) = (Duration::ZERO, Duration::ZERO, 0);
    // Some are idle with a long turn behind them, the others go on.
    for round in 0.. {
        let session = if round < sessions { round } else { round % (sessions / 4) };
        let events = if round < sessions { max / sessions as u64 / 1000 } else { 10 };
        journal.message(id(session), &raw("question"), None);
        journal.turn_begins(id(session), false);
        for _ in 0..events {
            say(&journal, id(session), &text);
        }
        journal.turn_ends(id(session), Some(&raw("answer")));
        let begun = now();
        journal.flush();
        let took = since(begun);
        (longest, sum) = (longest.max(took), sum + took);
        written += events * 250;
        if written > 2 * max {
            break;
        }
    }
    println!("{written} bytes into a log of {max}: longest flush {longest:?}, all {sum:?}");
    assert!(journal.disk_bytes() <= max);
    assert!((0..sessions).all(|number| journal.restore(id(number)).is_some()));
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}
