//! How a living owner lets go of a session: it makes a start that is dead.
//!
//! The rule stays as it is: only what a dead start owned may be adopted. The session is written, whole, into the log of a new
//! start, whose lock is held meanwhile; then the link is replaced, and that is the release; then the lock is given back.
//! Every reader, of earlier versions too, finds a dead start with one session in it. What happens if the releaser dies
//! in between is told in `docs/design/failover.md`.

use crate::ReleaseError;
use crate::carry::{Carried, Events};
use crate::clean_up;
use crate::index::Entry;
use crate::journal::{Journal, timespec};
use crate::owner::{Header, Link};
use myagent_core::StartId;
use rustix::fs::{FlockOperation, Timestamps, flock, futimens};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

impl Journal {
    /// Lets go of a session: from now on anybody may adopt it, and calls for it do nothing here. `start` is an id that was never
    /// used. After an error the session is here as before.
    pub fn release(&self, id: Uuid, start: StartId) -> Result<(), ReleaseError> {
        let Some(place) = &self.place else { return Err(ReleaseError::Off { session: id }) };
        let inner = &mut *self.inner.borrow_mut();
        let session = id.as_u128();
        let Some(entry) = inner.sessions.get(&session).copied() else {
            return Err(ReleaseError::NotHere { session: id });
        };
        // What cannot be written here cannot be written there either, and this log may still be the one that counts.
        if !inner.flush_log() {
            let reason = inner.problem().unwrap_or_default();
            return Err(ReleaseError::Write { session: id, source: io::Error::other(reason) });
        }
        let bounds = inner.log.limits.full;
        let carried = Carried::read(&inner.log, session, &entry, &bounds, Events::Keep, |_| true);
        let Some(mut carried) = carried.filter(|carried| !carried.is_lost()) else {
            return Err(ReleaseError::Lost { session: id });
        };
        carried.epoch = entry.epoch.saturating_add(1);
        let write = |source| ReleaseError::Write { session: id, source };
        // Whoever cleans up leaves what is being made alone while this is held.
        let lock = place.try_lock(id).map_err(write)?;
        let Some(_lock) = lock else { return Err(ReleaseError::Busy { session: id }) };
        let folder = place.start_folder(start);
        // If it is there it is somebody's, and stays.
        DirBuilder::new().mode(0o700).create(&folder).map_err(write)?;
        let made = (|| {
            let header = Header { released: true, ..self.header() };
            let owner = Held(place.claim_start(start, &header)?);
            let now = timespec(inner.time.now());
            futimens(&owner.0, &Timestamps { last_access: now, last_modification: now })?;
            let mut log = inner.log.beside(folder.clone());
            let mut all = u64::MAX;
            carried.write(&mut log, session, &Entry::default(), &mut all);
            log.flush()?;
            place.replace_link(id, Link { start, epoch: carried.epoch })?;
            Ok(owner)
        })();
        match made {
            Ok(_held) => {
                inner.sessions.remove(&session);
                Ok(())
            }
            Err(error) => {
                clean_up::remove_folder(&folder);
                Err(write(error))
            }
        }
    }
}

/// The lock of the new start. It is given back explicitly: a child that is just being started may have the descriptor, too,
/// for a moment.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // If it cannot be, closing the descriptor does it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// The folder of a release whose session was adopted.
#[derive(Debug)]
pub struct Spent {
    folder: PathBuf,
}

impl Spent {
    /// If this is the folder of a release. If that cannot be seen, somebody else removes it one day.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join("owner")).ok()?;
        let header: Header = serde_json::from_slice(&text).ok()?;
        header.released.then(|| Self { folder: folder.to_owned() })
    }

    /// Removes it. Blocking, for a thread of its own. What is not removed goes with the next [`crate::clean_up`].
    pub fn remove(self) {
        clean_up::remove_start(&self.folder);
    }
}
