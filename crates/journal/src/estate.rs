//! Sessions of starts that have ended: finding them, and reading one on a thread of its own.

use crate::FetchError;
use crate::carry::{Carried, Events};
use crate::index::{Entry, Index};
use crate::limits::Limits;
use crate::owner::{Life, Link, Place, SessionLock};
use crate::reader::Files;
use crate::release::Spent;
use crate::scan::{Scan, scan};
use myagent_core::StartId;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// How long somebody else may take to take a session over.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often we look whether they have.
const LOOK: Duration = Duration::from_millis(2);
/// Logs whose index is kept at once, and for how many ticks after their last use.
const MAX_KEPT: usize = 4;
const KEPT_TICKS: u32 = 12;

/// A session of a start that has ended.
pub struct Estate {
    session: Uuid,
    link: Link,
    place: Arc<Place>,
    dead: Arc<DeadLogs>,
}

/// A session that was read and can be adopted. Dropping it leaves everything as it was.
pub struct Fetched {
    pub(crate) session: Uuid,
    pub(crate) link: Link,
    pub(crate) carried: Carried,
    damage: Option<String>,
    spent: Option<Spent>,
    /// Keeps others from taking it.
    pub(crate) _lock: SessionLock,
}

/// The indexes of dead logs that were read, so that many sessions of one cost one reading.
#[derive(Default)]
pub(crate) struct DeadLogs {
    known: Mutex<Vec<(StartId, Arc<DeadLog>)>>,
}

#[derive(Default)]
struct DeadLog {
    /// Whoever reads it keeps the others waiting here.
    index: Mutex<Option<Arc<Found>>>,
    unused: std::sync::atomic::AtomicU32,
}

struct Found {
    sessions: Index,
    damage: Option<String>,
}

impl fmt::Debug for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estate")
            .field("session", &self.session)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("session", &self.session)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Fetched {
    /// The session.
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// The start that it comes from.
    pub fn from(&self) -> StartId {
        self.link.start
    }

    /// What is of no use any more once the session is adopted: the folder that a release made for it.
    pub fn take_spent(&mut self) -> Option<Spent> {
        self.spent.take()
    }

    /// What was damaged in the log that it comes from, in a sentence for people.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }
}

impl Estate {
    pub(crate) fn new(session: Uuid, link: Link, place: Arc<Place>, dead: Arc<DeadLogs>) -> Self {
        Self { session, link, place, dead }
    }

    /// The session.
    pub fn session(&self) -> Uuid {
        self.session
    }

    /// The start that had it.
    pub fn start_id(&self) -> StartId {
        self.link.start
    }

    /// Reads the session; blocking, for a thread of its own. Whoever has it keeps others from taking it until it is adopted or
    /// dropped: a second one waits for up to two seconds, and then mostly finds that it has [moved](FetchError::Moved).
    pub fn fetch(self) -> Result<Fetched, FetchError> {
        let Self { session, link, place, dead } = self;
        let failed = |path: PathBuf| move |source| FetchError::Read { session, path, source };
        let lock = wait_for_lock(&place, session)?;
        // What was true when it was located need not be true any more, but stays so while the lock is held.
        match place.link(session).map_err(failed(place.owners_folder()))? {
            Some(now) if now == link => {}
            _ => return Err(FetchError::Moved { session }),
        }
        let folder = place.start_folder(link.start);
        let lost = |reason| FetchError::Lost { session, path: folder.clone(), reason };
        match place.life(link.start).map_err(failed(folder.join("owner")))? {
            Life::Lives(_) => return Err(FetchError::Alive { session }),
            Life::Gone => return Err(lost("the log is gone")),
            Life::Dead => {}
        }
        let found = dead.find(link.start, &folder).map_err(failed(folder.clone()))?;
        let entry = found.sessions.get(&session.as_u128()).ok_or_else(|| lost("it has no such session"))?;
        if entry.epoch != link.epoch {
            return Err(lost("it has the session of another time"));
        }
        let carried =
            fetch(folder.clone(), session.as_u128(), entry).ok_or_else(|| lost("its records are damaged"))?;
        let (damage, spent) = (found.damage.clone(), Spent::of(&folder));
        Ok(Fetched { session, link, carried, damage, spent, _lock: lock })
    }
}

fn fetch(folder: PathBuf, session: u128, entry: &Entry) -> Option<Carried> {
    let bounds = Limits::new(u64::MAX).full;
    let mut carried = Carried::read(&Files::new(folder), session, entry, &bounds, Events::Keep, |_| true)?;
    if entry.damaged {
        carried.forget_messages();
    }
    (!carried.is_lost()).then_some(carried)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a blocking thread waits for another process: a lock cannot be waited for with a bound"
)]
fn wait_for_lock(place: &Place, session: Uuid) -> Result<SessionLock, FetchError> {
    for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
        let lock = place.try_lock(session);
        let failed = |source| FetchError::Read { session, path: place.owners_folder(), source };
        if let Some(lock) = lock.map_err(failed)? {
            return Ok(lock);
        }
        std::thread::sleep(LOOK);
    }
    Err(FetchError::Busy { session })
}

/// A panic elsewhere leaves nothing half done here.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DeadLogs {
    fn find(&self, start: StartId, folder: &Path) -> io::Result<Arc<Found>> {
        let log = {
            let mut known = hold(&self.known);
            if let Some((_, log)) = known.iter().find(|(other, _)| *other == start) {
                Arc::clone(log)
            } else {
                if known.len() >= MAX_KEPT {
                    known.remove(0);
                }
                known.push((start, Arc::default()));
                known.last().map(|(_, log)| Arc::clone(log)).unwrap_or_default()
            }
        };
        log.unused.store(0, std::sync::atomic::Ordering::Relaxed);
        let mut index = hold(&log.index);
        if let Some(found) = &*index {
            return Ok(Arc::clone(found));
        }
        let Scan { sessions, damaged, damaged_at, .. } =
            scan(&Files::new(folder.to_owned()), &segments(folder)?)?;
        let damage = damaged_at.map(|at| {
            tracing::warn!(folder = %folder.display(), segment = at.segment(), offset = at.offset(), bytes = damaged, "a journal is damaged, or was torn at its end: what is there is not read");
            format!("{damaged} bytes of the journal {} cannot be read", folder.display())
        });
        let found = Arc::new(Found { sessions, damage });
        *index = Some(Arc::clone(&found));
        Ok(found)
    }

    /// Forgets what nobody has asked for.
    pub(crate) fn tick(&self) {
        hold(&self.known)
            .retain(|(_, log)| log.unused.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < KEPT_TICKS);
    }
}

/// The segments in a folder: number and length, in order.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok()) {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}
