//! Whose a session is: a folder per start with a locked file in it, and a link per session that names a start.
//!
//! The lock on `<start>/owner` is taken once, by the process of that start, before the file has its name, and is given back by
//! the kernel when that process is dead; nobody else ever takes it, others only look whether it is free. A start that is dead stays
//! dead, so its sessions can be taken one by one: whoever takes one holds the lock of `owners/.adopt-<session>` meanwhile.

use myagent_core::StartId;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, flock, openat, readlinkat, renameat, statat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Version of the layout.
const VERSION: u32 = 1;
/// Longest owner's file that is read.
const MAX_OWNER: u64 = 64 * 1024;

/// What stands in the owner's file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) takeover: PathBuf,
    pub(crate) pid: u32,
    /// It was made for one session, which its process has let go of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) released: bool,
}

/// The folder of a service.
pub(crate) struct Place {
    folder: PathBuf,
    owners: OwnedFd,
}

/// A session's link: the start that has it, and how often it was taken over, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) start: StartId,
    pub(crate) epoch: u32,
}

/// Whether a start lives.
pub(crate) enum Life {
    Lives(Header),
    Dead,
    /// Its folder is gone.
    Gone,
}

/// Makes a folder that only we can enter, and those above it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

impl Place {
    /// Makes the folder if it is not there.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        make_folder(&folder.join("owners"))?;
        Self::existing(folder)
    }

    pub(crate) fn existing(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let owners = openat(CWD, folder.join("owners"), flags, Mode::empty())?;
        Ok(Self { folder: folder.to_owned(), owners })
    }

    pub(crate) fn start_folder(&self, start: StartId) -> PathBuf {
        self.folder.join(start.0.hyphenated().to_string())
    }

    pub(crate) fn owners_folder(&self) -> PathBuf {
        self.folder.join("owners")
    }

    /// Makes the owner's file of a start, locked as long as the answer lives.
    pub(crate) fn claim_start(&self, start: StartId, header: &Header) -> io::Result<File> {
        let folder = self.start_folder(start);
        let (draft, name) = (folder.join("owner.new"), folder.join("owner"));
        let mut file = open_private(&draft)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let text = serde_json::to_vec(&Header { version: VERSION, ..header.clone() })?;
        file.write_all(&text)?;
        fs::rename(&draft, &name)?;
        Ok(file)
    }

    /// Whether a start lives. Looking takes a shared lock for a moment, which hinders nobody.
    pub(crate) fn life(&self, start: StartId) -> io::Result<Life> {
        // Whatever it is, nobody waits for it to be opened.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match openat(CWD, self.start_folder(start).join("owner"), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Life::Gone),
            Err(error) => return Err(error.into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(Life::Dead),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        let mut text = Vec::new();
        (&mut file).take(MAX_OWNER).read_to_end(&mut text)?;
        Ok(Life::Lives(serde_json::from_slice(&text)?))
    }

    /// What the session's link says. One that cannot be read as a link of ours is none.
    pub(crate) fn link(&self, session: Uuid) -> io::Result<Option<Link>> {
        match readlinkat(&self.owners, link_name(session), Vec::new()) {
            Ok(target) => Ok(target.to_str().ok().and_then(Link::parse)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the link of a new session.
    pub(crate) fn make_link(&self, session: Uuid, link: Link) -> io::Result<()> {
        match symlinkat(link.text(), &self.owners, link_name(session)) {
            Err(Errno::EXIST) => self.replace_link(session, link),
            other => Ok(other?),
        }
    }

    /// Replaces the link, in one step for everybody who looks: from then on the session is the other start's.
    pub(crate) fn replace_link(&self, session: Uuid, link: Link) -> io::Result<()> {
        let draft = format!(".new-{}-{}", session.hyphenated(), link.start.0.simple());
        match unlinkat(&self.owners, &draft, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        symlinkat(link.text(), &self.owners, &draft)?;
        renameat(&self.owners, &draft, &self.owners, link_name(session)).map_err(|error| {
            let _ = unlinkat(&self.owners, &draft, AtFlags::empty());
            error.into()
        })
    }

    pub(crate) fn remove_link(&self, session: Uuid) -> io::Result<()> {
        match unlinkat(&self.owners, link_name(session), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The right to take a session over, or to remove its link; `None`: somebody else has it.
    pub(crate) fn try_lock(&self, session: Uuid) -> io::Result<Option<SessionLock>> {
        let name = lock_name(session);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = openat(&self.owners, &name, flags, Mode::RUSR | Mode::WUSR)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Whoever had it before has removed the file: then this lock is on nothing.
            let ours = rustix::fs::fstat(&file)?;
            match statat(&self.owners, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev) => {
                    let owners = self.owners.try_clone()?;
                    return Ok(Some(SessionLock { owners, name, _file: file }));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The right to take a session over, given back when it is dropped.
pub(crate) struct SessionLock {
    owners: OwnedFd,
    name: String,
    _file: OwnedFd,
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        // While the lock is held: so nobody can lock the file and find it removed afterwards.
        let _ = unlinkat(&self.owners, &self.name, AtFlags::empty());
    }
}

impl Link {
    fn text(self) -> String {
        format!("{}.{}", self.start.0.hyphenated(), self.epoch)
    }

    fn parse(text: &str) -> Option<Self> {
        let (start, epoch) = text.split_once('.')?;
        Some(Self { start: start.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// A name made of a parsed id: nothing of a client's own reaches the file system.
fn link_name(session: Uuid) -> String {
    session.hyphenated().to_string()
}

fn lock_name(session: Uuid) -> String {
    format!("{LOCK_PREFIX}{}", session.hyphenated())
}

/// What the names of the locks of sessions begin with.
pub(crate) const LOCK_PREFIX: &str = ".adopt-";
/// What the names of links that are being made begin with.
pub(crate) const DRAFT_PREFIX: &str = ".new-";

fn open_private(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?.into())
}
