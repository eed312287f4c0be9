//! What ended starts of a service left behind, removed when nobody can need it any more.

use crate::estate::segments;
use crate::owner::{DRAFT_PREFIX, LOCK_PREFIX, Life, Link, Place};
use jiff::Timestamp;
use myagent_core::StartId;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// What the names of folders that are being removed begin with.
const GONE_PREFIX: &str = ".gone-";
/// A start that is about to begin has a folder, and not yet an owner.
const BEGINNING: Duration = Duration::from_mins(1);

/// What [`clean_up`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanedUp {
    /// Logs that were removed.
    pub logs: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Links to sessions that nobody can resume any more.
    pub links: u32,
}

/// The log of a start that has ended.
struct Dead {
    start: StartId,
    died: Timestamp,
    bytes: u64,
}

/// Removes what ended starts of a service left: logs without a session, logs that ended longer than `keep` ago, and the oldest beyond
/// twice `max_bytes`; then the links to what is gone. Blocking, for a thread of its own; any number may run at once. What cannot
/// be removed is told in the log and left for the next time.
pub fn clean_up(folder: &Path, keep: Duration, max_bytes: u64, now: Timestamp) -> CleanedUp {
    let mut done = CleanedUp::default();
    if !folder.join("owners").is_dir() {
        return done;
    }
    if let Err(error) = try_clean_up(folder, keep, max_bytes, now, &mut done) {
        tracing::warn!(%error, folder = %folder.display(), "failed to clean up old journals");
    }
    done
}

fn try_clean_up(
    folder: &Path,
    keep: Duration,
    max_bytes: u64,
    now: Timestamp,
    done: &mut CleanedUp,
) -> io::Result<()> {
    let place = Place::existing(folder)?;
    let mut dead = dead_logs(folder, &place, now)?;
    // After the logs: a log that was dead then gets no more sessions.
    let mut sessions: HashMap<StartId, u32> = HashMap::new();
    each_link(&place, |_, link| {
        if let Some(link) = link {
            *sessions.entry(link.start).or_default() += 1;
        }
        Ok(())
    })?;
    dead.sort_by_key(|log| std::cmp::Reverse(log.died));
    let mut kept = 0;
    for log in dead {
        let age = Duration::try_from(now.duration_since(log.died)).unwrap_or_default();
        kept += log.bytes;
        if age > keep || kept > max_bytes.saturating_mul(2) || !sessions.contains_key(&log.start) {
            kept -= log.bytes;
            if remove(folder, &place, &log)? {
                done.logs += 1;
                done.bytes += log.bytes;
            }
        }
    }
    each_link(&place, |session, link| {
        let leads_nowhere =
            |link: Option<Link>| link.is_none_or(|link| !place.start_folder(link.start).exists());
        if !leads_nowhere(link) {
            return Ok(());
        }
        // Whoever has fetched the session may be about to replace the link: the look that counts is one under the lock.
        if let Some(_lock) = place.try_lock(session)?
            && let Some(link) = place.link(session)?
            && leads_nowhere(Some(link))
        {
            place.remove_link(session)?;
            done.links += 1;
        }
        Ok(())
    })
}

fn dead_logs(folder: &Path, place: &Place, now: Timestamp) -> io::Result<Vec<Dead>> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(GONE_PREFIX) {
            // Somebody else's removal, which may have been cut short.
            remove_folder(&entry.path());
            continue;
        }
        let Ok(start) = name.parse::<StartId>() else { continue };
        let owner = entry.path().join("owner");
        let died =
            |path: &Path| fs::metadata(path)?.modified().map(|time| Timestamp::try_from(time).unwrap_or(now));
        let died = match place.life(start) {
            Ok(Life::Lives(_)) => continue,
            Ok(Life::Dead) => died(&owner),
            Ok(Life::Gone) => match died(&entry.path()) {
                Ok(made) if Duration::try_from(now.duration_since(made)).unwrap_or_default() < BEGINNING => {
                    continue;
                }
                other => other,
            },
            Err(error) => {
                tracing::warn!(%error, path = %owner.display(), "failed to see whether a journal's owner lives");
                continue;
            }
        };
        // It may be removed by somebody else at this very moment.
        let (Ok(died), Ok(segments)) = (died, segments(&entry.path())) else { continue };
        dead.push(Dead { start, died, bytes: segments.iter().map(|(_, length)| length).sum() });
    }
    Ok(dead)
}

/// Removes a log. Its name goes first, so that nobody finds a part of it. False: somebody else was faster.
fn remove(folder: &Path, place: &Place, log: &Dead) -> io::Result<bool> {
    let gone = folder.join(format!("{GONE_PREFIX}{}", log.start));
    match fs::rename(place.start_folder(log.start), &gone) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    remove_folder(&gone);
    Ok(true)
}

/// Removes the folder of a start, its name first.
pub(crate) fn remove_start(folder: &Path) {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return };
    let gone = parent.join(format!("{GONE_PREFIX}{}", name.to_string_lossy()));
    match fs::rename(folder, &gone) {
        Ok(()) => remove_folder(&gone),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, path = %folder.display(), "failed to remove a journal that is done with")
        }
    }
}

pub(crate) fn remove_folder(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "failed to remove an old journal"),
    }
}

/// Looks at every link; at what was left of taking a session over, too, so that it does not stay for ever.
fn each_link(place: &Place, mut look: impl FnMut(Uuid, Option<Link>) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(place.owners_folder())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(session) = name.strip_prefix(LOCK_PREFIX).and_then(|id| Uuid::try_parse(id).ok()) {
            // Taking the lock and giving it back removes its file, if nobody has it.
            drop(place.try_lock(session)?);
        } else if name.starts_with(DRAFT_PREFIX) {
            remove_draft(place, &entry.path(), name)?;
        } else if let Ok(session) = Uuid::try_parse(name) {
            look(session, place.link(session)?)?;
        }
    }
    Ok(())
}

/// A link that never got its name: its maker holds the session's lock while it makes one.
fn remove_draft(place: &Place, path: &Path, name: &str) -> io::Result<()> {
    let session = name.strip_prefix(DRAFT_PREFIX).and_then(|rest| Uuid::try_parse(rest.get(..36)?).ok());
    if let Some(session) = session
        && place.try_lock(session)?.is_some()
    {
        let _ = fs::remove_file(path);
    }
    Ok(())
}
