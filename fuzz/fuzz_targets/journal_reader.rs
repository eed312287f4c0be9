//! The log of a dead start, made of arbitrary bytes: whatever is in it, its sessions are fetched, adopted and read, or refused; nothing
//! panics, hangs or takes more memory than there are bytes.
//!
//! A checksum would keep the fuzzer from everything behind it, so each record gets the right one, unless its flags ask for a wrong one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use myagent_core::{Clock, StartId};
use myagent_journal::{Config, Journal, Owner};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// Bytes of a segment's header, of a record's, and where in it the checksum, the flags and the session are.
const SEGMENT: usize = 16;
const HEADER: usize = 50;
const CHECKED: usize = 8;
const FLAGS: usize = 9;
const SESSION: std::ops::Range<usize> = 10..26;
/// A record with these flags keeps the checksum that it has.
const WRONG: u8 = 0x80;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

struct Reading {
    folder: TempDir,
    journal: Journal,
    starts: Cell<u128>,
}

thread_local! {
    static READING: Reading = {
        let shm = Path::new("/dev/shm");
        let folder = if shm.is_dir() { TempDir::new_in(shm) } else { TempDir::new() }.expect("a folder");
        let journal = Journal::open(Config {
            folder: folder.path().to_owned(),
            start_id: StartId(Uuid::from_u128(1)),
            service: "fuzz".to_owned(),
            instance: "fuzz-0".to_owned(),
            takeover: "/none".into(),
            max_bytes: 4 << 20,
            keep: Duration::from_secs(60),
            clock: Arc::new(Noon),
        });
        Reading { folder, journal: journal.expect("a journal"), starts: Cell::new(2) }
    };
}

/// Makes the bytes a segment whose records count, with two sessions at most.
fn mend(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = [b"MYAGJRNL".as_slice(), &1_u32.to_le_bytes(), &number.to_le_bytes(), bytes].concat();
    let mut at = SEGMENT;
    while at + HEADER <= out.len() {
        let room = out.len() - at - HEADER;
        let asked = u32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]) as usize;
        let length = if asked <= room { asked } else { asked % (room + 1) };
        let record = &mut out[at..at + HEADER + length];
        if record[FLAGS] & WRONG == 0 {
            record[..4].copy_from_slice(&(length as u32).to_le_bytes());
            let first = record[SESSION.start] % 2;
            record[SESSION].fill(0);
            record[SESSION.start] = first + 1;
            let crc = crc32fast::hash(&record[CHECKED..]);
            record[4..CHECKED].copy_from_slice(&crc.to_le_bytes());
        }
        at += HEADER + length;
    }
    out
}

fuzz_target!(|bytes: &[u8]| {
    READING.with(|reading| {
        let Reading { folder, journal, starts } = reading;
        // The first byte says how much of the rest is in the second segment.
        let Some((share, bytes)) = bytes.split_first() else { return };
        let (first, second) =
            bytes.split_at(bytes.len() * usize::from(u8::MAX - share) / usize::from(u8::MAX));
        let start = Uuid::from_u128(starts.get());
        starts.set(starts.get() + 1);
        let log = folder.path().join(start.to_string());
        fs::create_dir(&log).expect("a folder for the log");
        fs::write(log.join("owner"), "{}").expect("an owner's file");
        fs::write(log.join("00000001.log"), mend(1, first)).expect("a segment");
        fs::write(log.join("00000002.log"), mend(2, second)).expect("a segment");
        for number in 1..=2 {
            let session = Uuid::from_u128(number);
            let link = folder.path().join("owners").join(session.to_string());
            symlink(format!("{start}.0"), &link).expect("a link");
            if let Owner::Dead(estate) = journal.locate(session)
                && let Ok(fetched) = estate.fetch()
            {
                journal.adopt(fetched).expect("what was fetched is adopted");
                journal.restore(session).expect("what was adopted is restored");
                let _ = (journal.history(session), journal.state(session));
                let missed = journal.missed(session, 0);
                let mut text = Vec::new();
                assert!(missed.events.iter().all(|at| journal.read(session, *at, &mut text)));
                assert!(text.len() <= bytes.len());
                journal.end(session);
            }
            let _ = fs::remove_file(&link);
        }
        journal.flush();
        fs::remove_dir_all(&log).expect("the log goes");
    });
});
