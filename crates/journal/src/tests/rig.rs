//! A service's folder with starts that live and die, a clock that is set, and a disk that fails when it is told to.

use crate::limits::{Bounds, Limits};
use crate::log::{Disk, FileSystem};
use crate::{Config, Estate, Fetched, Journal, Missed, Owner};
use jiff::{SignedDuration, Timestamp};
use myagent_core::{Clock, StartId};
use serde_json::value::RawValue;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

pub(super) const KEEP: Duration = Duration::from_mins(10);

pub(super) struct TestClock(Mutex<Timestamp>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Writes at most a part, then nothing, while `full` is set.
#[derive(Clone, Default)]
pub(super) struct TestDisk {
    pub(super) full: Arc<AtomicBool>,
}

impl Disk for TestDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        FileSystem.create(path)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            FileSystem.write(file, &bytes[..bytes.len() / 3], offset)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        FileSystem.write(file, bytes, offset)
    }
}

pub(super) struct Service {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<TestClock>,
    pub(super) disk: TestDisk,
    pub(super) limits: Limits,
    starts: AtomicU64,
}

/// Sizes with which little is much.
pub(super) fn tiny() -> Limits {
    Limits {
        max: 48 * 1024,
        segment: 2048,
        payload: 4096,
        pending: 8192,
        retry: 500,
        batch: 1024,
        recent: 300,
        portion: 256,
        call: 2048,
        full: Bounds { turns: 4, history: 600, events: 8, event_bytes: 1000 },
        less: Bounds { turns: 4, history: 100, events: 1, event_bytes: 100 },
    }
}

impl Service {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            clock: Arc::new(TestClock(Mutex::new("2030-01-01T00:00:00Z".parse().unwrap()))),
            disk: TestDisk::default(),
            limits,
            starts: AtomicU64::new(1),
        }
    }

    pub(super) fn tiny() -> Self {
        Self::new(tiny())
    }

    pub(super) fn config(&self) -> Config {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        Config {
            folder: self.folder.path().join("service"),
            start_id: StartId(Uuid::from_u128(0x5747 << 64 | u128::from(number))),
            service: "weather".to_owned(),
            instance: format!("weather-{number}"),
            takeover: PathBuf::from(format!("/run/{number}.t")),
            max_bytes: self.limits.max,
            keep: KEEP,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        }
    }

    pub(super) fn start(&self) -> Journal {
        Journal::open_with(self.config(), self.limits, Arc::new(self.disk.clone())).unwrap()
    }

    pub(super) fn pass(&self, time: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now += SignedDuration::try_from(time).unwrap();
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.path().join("service")
    }

    pub(super) fn start_folder(&self, journal: &Journal) -> PathBuf {
        self.folder().join(journal.config.start_id.to_string())
    }

    /// The files of a log, oldest first.
    pub(super) fn segments(&self, journal: &Journal) -> Vec<PathBuf> {
        let folder = self.start_folder(journal);
        let found = crate::estate::segments(&folder).unwrap();
        found.into_iter().map(|(number, _)| crate::reader::segment_path(&folder, number)).collect()
    }
}

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0123_4567_89ab_7def_8000_0000_0000_0000 | number)
}

pub(super) fn raw(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap()
}

/// The events after `seen`, as texts.
pub(super) fn texts(journal: &Journal, session: Uuid, seen: u64) -> (Option<(u64, u64)>, Vec<String>) {
    let Missed { gap, events } = journal.missed(session, seen);
    let text = |at| {
        let mut out = Vec::new();
        assert!(journal.read(session, at, &mut out), "an event that was there a moment ago");
        String::from_utf8(out).unwrap()
    };
    (gap, events.into_iter().map(text).collect())
}

pub(super) fn say(journal: &Journal, session: Uuid, text: &str) -> u64 {
    let seq = journal.last_seq(session) + 1;
    journal.event(session, seq, text.as_bytes(), true);
    seq
}

/// A whole turn with these answers, one event each.
pub(super) fn turn(journal: &Journal, session: Uuid, message: &str, answers: &[&str]) {
    journal.message(session, &raw(message), None);
    journal.turn_begins(session, false);
    for answer in answers {
        say(journal, session, answer);
    }
    journal.turn_ends(session, Some(&raw(&answers.concat())));
}

pub(super) fn estate(journal: &Journal, session: Uuid) -> Estate {
    match journal.locate(session) {
        Owner::Dead(estate) => estate,
        other => panic!("{}", name(&other)),
    }
}

pub(super) fn fetch(journal: &Journal, session: Uuid) -> Fetched {
    estate(journal, session).fetch().unwrap()
}

pub(super) fn adopt(journal: &Journal, session: Uuid) {
    journal.adopt(fetch(journal, session)).unwrap();
}

pub(super) fn name(owner: &Owner) -> String {
    match owner {
        Owner::Here => "here".to_owned(),
        Owner::Unknown => "unknown".to_owned(),
        Owner::Live { instance, takeover, .. } => format!("{instance} {}", takeover.display()),
        Owner::Dead(_) => "dead".to_owned(),
        Owner::Unclear => "unclear".to_owned(),
    }
}

/// `"…"`, for comparing.
pub(super) fn plain(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap()
}
