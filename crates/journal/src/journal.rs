//! The journal of one start: opening it, the life of its sessions, writing, and what is done now and then.
//!
//! What a session says and how it stands is in `conversation.rs`, taking one over in `adopt.rs`.

use crate::estate::DeadLogs;
use crate::index::{Entry, NO_TURN};
use crate::inner::Inner;
use crate::limits::Limits;
use crate::log::{Disk, FileSystem, Log};
use crate::owner::{Header, Link, Place, make_folder};
use crate::reader::Files;
use crate::record::{self, Checkpoint, Kind, SAID};
use crate::time::OwnTime;
use crate::{Config, OpenError, Ticked};
use jiff::Timestamp;
use rustix::fs::{Timespec, Timestamps, futimens};
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often the owner's file is touched, at most: the time of death is known to about this.
const TOUCH: Duration = Duration::from_secs(10);
/// Cleaning in a tick: where nothing is written any more, it ends in minutes.
const TICK_PORTION: u64 = 256 * 1024;
/// Sessions that expire in a tick: each costs the removal of a link.
const EXPIRED: usize = 500;
/// Links that are tried again in a tick.
const RELINKED: usize = 100;

/// The journal of one start: written by one thread, the only owner of its sessions while the process lives.
///
/// All calls take `&self`; none waits for anything but the file system. Calls for a session that is not here do nothing.
pub struct Journal {
    pub(crate) config: Config,
    pub(crate) inner: RefCell<Inner>,
    /// `None`: the journal is off.
    pub(crate) place: Option<Arc<Place>>,
    pub(crate) dead: Arc<DeadLogs>,
    owner: Option<File>,
    /// When it was touched, in the journal's own time.
    touched: Cell<Option<Duration>>,
}

impl Journal {
    /// Makes the log of this start and holds its lock until the process ends.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let limits = Limits::new(config.max_bytes);
        Self::open_with(config, limits, Arc::new(FileSystem))
    }

    /// With other sizes and another disk than usual.
    pub(crate) fn open_with(config: Config, limits: Limits, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let off = config.max_bytes == 0;
        let (mut place, mut owner) = (None, None);
        let folder = config.folder.join(config.start_id.0.hyphenated().to_string());
        if !off {
            let made = make_folder(&config.folder).and_then(|()| Place::new(&config.folder));
            let made = made.map_err(|source| OpenError::Make { path: config.folder.clone(), source })?;
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(OpenError::Exists { path: folder });
                }
                Err(source) => return Err(OpenError::Make { path: folder, source }),
            }
            let claimed = made.claim_start(config.start_id, &header(&config));
            owner = Some(claimed.map_err(|source| OpenError::Make { path: folder.join("owner"), source })?);
            place = Some(Arc::new(made));
        }
        let log = Log::new(Files::new(folder), disk, limits);
        let inner = Inner::new(log, OwnTime::new(Arc::clone(&config.clock)), off);
        let journal = Self {
            config,
            inner: RefCell::new(inner),
            place,
            dead: Arc::default(),
            owner,
            touched: Cell::new(None),
        };
        journal.touch();
        Ok(journal)
    }

    /// A new session, not idle. Its id must be new.
    pub fn begin(&self, id: Uuid, params: Option<&RawValue>) {
        let mut inner = self.inner.borrow_mut();
        inner.make_room();
        let oldest = inner.log.head();
        let mut entry = Entry { turn_first: NO_TURN, oldest, epoch: 1, ..Entry::default() };
        inner.sessions.insert(id.as_u128(), entry);
        let Some(place) = &self.place else { return };
        let payload = params.map_or("", RawValue::get).as_bytes();
        let meta = inner.append(id, Kind::Meta, 1, &[payload]).unwrap_or_default();
        let point = Checkpoint { epoch: 1, turn_first: NO_TURN, meta, ..Checkpoint::default() };
        let at = inner.append(id, Kind::Checkpoint, 0, &[&point.encode()]).unwrap_or_default();
        if let Err(error) = place.make_link(id, self.link(1)) {
            tracing::warn!(%error, session = %id, "failed to make the link of a session: it cannot be taken over for now");
            entry.unlinked = true;
        }
        (entry.last, entry.base) = (at, at);
        inner.sessions.insert(id.as_u128(), entry);
    }

    /// The session's next event; `seq` is [`Journal::last_seq`] + 1. `said`: it is something that the agent said in the running turn,
    /// other than `agent.thinking`. It is with the kernel after the next [`Journal::flush`], and only then may a client have it.
    pub fn event(&self, id: Uuid, seq: u64, text: &[u8], said: bool) {
        let inner = &mut *self.inner.borrow_mut();
        inner.make_room();
        let session = id.as_u128();
        let Some(entry) = inner.sessions.get_mut(&session) else { return };
        debug_assert_eq!(seq, entry.last_seq + 1, "events are numbered without gaps");
        entry.last_seq = seq;
        entry.said |= said;
        if inner.off {
            return;
        }
        let Entry { last: prev, base, .. } = *entry;
        let flags = if said { SAID } else { 0 };
        let header = record::Header { kind: Kind::Event, flags, session, seq, prev, base };
        if let Some(at) = inner.log.append(&header, &[text]) {
            entry.last = at;
        } else {
            tracing::warn!(session = %id, seq, bytes = text.len(), "an event is too large for the journal: it cannot be replayed");
        }
    }

    /// Number of the session's newest event; 0: there is none.
    pub fn last_seq(&self, id: Uuid) -> u64 {
        self.inner.borrow().sessions.get(&id.as_u128()).map_or(0, |entry| entry.last_seq)
    }

    /// The session was begun or adopted here and is not over.
    pub fn contains(&self, id: Uuid) -> bool {
        self.inner.borrow().sessions.contains_key(&id.as_u128())
    }

    /// Idle is without a connection and without a turn; from then on it counts for expiry.
    pub fn set_idle(&self, id: Uuid, idle: bool) {
        let inner = &mut *self.inner.borrow_mut();
        let Some(entry) = inner.sessions.get_mut(&id.as_u128()) else { return };
        match (idle, entry.idle_since) {
            (true, 0) => entry.idle_since = tenths(inner.time.elapsed()).saturating_add(1),
            (false, _) => entry.idle_since = 0,
            _ => {}
        }
    }

    /// The session is over: nobody can resume it.
    pub fn end(&self, id: Uuid) {
        let mut inner = self.inner.borrow_mut();
        if let Some(place) = self.place.as_ref().filter(|_| inner.sessions.contains_key(&id.as_u128())) {
            inner.make_room();
            inner.append(id, Kind::End, 0, &[]);
            // A link that stays leads to a log that says that the session is over.
            if let Err(error) = place.remove_link(id) {
                tracing::warn!(%error, session = %id, "failed to remove the link of a session that is over");
            }
        }
        inner.sessions.remove(&id.as_u128());
    }

    /// Hands everything that was said to the kernel, in one write, and does a portion of cleaning if that is due. Cheap when there is
    /// nothing to do.
    pub fn flush(&self) {
        self.inner.borrow_mut().flush_and_clean();
    }

    /// To be called every five seconds: shows that this start lives, ends sessions that were idle for too long, cleans a portion.
    pub fn tick(&self) -> Ticked {
        self.touch();
        self.relink();
        self.dead.tick();
        let expired = self.expired();
        for id in &expired {
            self.end(*id);
        }
        let mut inner = self.inner.borrow_mut();
        inner.calm_down();
        if inner.flush_log() && !inner.off {
            inner.clean(TICK_PORTION);
            inner.flush_log();
        }
        Ticked { expired }
    }

    /// Bytes of this start's log.
    pub fn disk_bytes(&self) -> u64 {
        let inner = self.inner.borrow();
        if inner.off { 0 } else { inner.log.used() }
    }

    /// Sessions that are here, idle ones too.
    pub fn sessions(&self) -> usize {
        self.inner.borrow().sessions.len()
    }

    /// What cannot be written or was lost, in a sentence for people. It stands until the second tick after all is well again.
    pub fn problem(&self) -> Option<String> {
        self.inner.borrow().problem()
    }

    pub(crate) fn header(&self) -> Header {
        header(&self.config)
    }

    pub(crate) fn link(&self, epoch: u32) -> Link {
        Link { start: self.config.start_id, epoch }
    }

    fn expired(&self) -> Vec<Uuid> {
        let inner = &mut *self.inner.borrow_mut();
        let (now, keep) = (tenths(inner.time.elapsed()), tenths(self.config.keep));
        let is_expired = |entry: &Entry| {
            entry.idle_since.checked_sub(1).is_some_and(|since| now.saturating_sub(since) > keep)
        };
        let expired = inner.sessions.iter().filter(|(_, entry)| is_expired(entry));
        expired.map(|(id, _)| Uuid::from_u128(*id)).take(EXPIRED).collect()
    }

    /// Makes the links that could not be made.
    fn relink(&self) {
        let (Some(place), mut inner) = (&self.place, self.inner.borrow_mut()) else { return };
        for (id, entry) in inner.sessions.iter_mut().filter(|(_, entry)| entry.unlinked).take(RELINKED) {
            entry.unlinked = place.make_link(Uuid::from_u128(*id), self.link(entry.epoch)).is_err();
        }
    }

    /// Shows, by the time of the owner's file, that this start lives.
    fn touch(&self) {
        let Some(owner) = &self.owner else { return };
        let mut inner = self.inner.borrow_mut();
        let elapsed = inner.time.elapsed();
        if self.touched.get().is_some_and(|touched| elapsed.saturating_sub(touched) < TOUCH) {
            return;
        }
        self.touched.set(Some(elapsed));
        let now = timespec(inner.time.now());
        if let Err(error) = futimens(owner, &Timestamps { last_access: now, last_modification: now }) {
            tracing::warn!(%error, "failed to touch the owner's file of the journal");
        }
    }
}

/// What stands in the owner's file of a start of this process.
fn header(config: &Config) -> Header {
    Header {
        version: 0,
        service: config.service.clone(),
        instance: config.instance.clone(),
        takeover: config.takeover.clone(),
        pid: std::process::id(),
        released: false,
    }
}

pub(crate) fn timespec(time: Timestamp) -> Timespec {
    Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().max(0).into() }
}

/// Tenths of a second: 13 years of them fit.
fn tenths(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / 100).unwrap_or(u32::MAX)
}
