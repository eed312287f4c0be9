//! The data directory, made and held: one manager at a time.

use crate::datadir::{DataDir, ManagerFile};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The locks on a data directory and its database; the kernel frees them however we end.
pub(crate) struct Held {
    pub(crate) data: DataDir,
    pub(crate) runtime_dir: PathBuf,
    locks: [File; 2],
}

impl Held {
    /// Takes it; none: another manager has it.
    pub(crate) fn take(data: &DataDir) -> Result<Option<Self>> {
        private_dir(data.path())?;
        let Some(directory) = lock(&data.path().join("manager.lock"))? else { return Ok(None) };
        // The same database can be named by --data-dir and by --db-path, which are different directories.
        let mut beside = data.database().as_os_str().to_owned();
        beside.push("-lock");
        let database = lock(Path::new(&beside))?.with_context(|| {
            format!(
                "the database {} is in use by the manager of another data directory; shut that down, or give another --db-path",
                data.database().display()
            )
        })?;
        Self::inherit(data, [directory, database]).map(Some)
    }

    /// Takes it over with its locks, which somebody else had: a lock is the file's that is open, not the process's.
    pub(crate) fn inherit(data: &DataDir, locks: [File; 2]) -> Result<Self> {
        let runtime_dir = runtime_dir(data);
        private_dir(&runtime_dir)?;
        for folder in ["logs", "trees", "journal"] {
            private_dir(&data.path().join(folder))?;
        }
        Ok(Self { data: data.clone(), runtime_dir, locks })
    }

    /// The locks: on the directory, and on the database.
    pub(crate) fn locks(&self) -> &[File; 2] {
        &self.locks
    }

    /// Where the manager's own socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime_dir.join("manager.s")
    }

    /// Tells others that we are the manager, and where.
    pub(crate) fn announce(&self) -> Result<()> {
        let pid = std::process::id();
        let start_time =
            myagent_supervisor::start_time(pid).context("failed to read our own start time from /proc")?;
        let text = serde_json::to_vec(&ManagerFile { pid, start_time, socket: self.socket() })?;
        // One that takes over from itself may have no room for what is there already.
        if fs::read(self.data.manager_file()).is_ok_and(|before| before == text) {
            return Ok(());
        }
        let (path, fresh) = (self.data.manager_file(), self.data.path().join("manager.json.new"));
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// Whether another manager of this directory would have room to tell where it is.
    pub(crate) fn check_room(data: &DataDir) -> Result<()> {
        let path = data.path().join("manager.json.try");
        let written = fs::write(&path, [b'x'; 4096]);
        let removed = fs::remove_file(&path);
        written.and(removed).with_context(|| format!("failed to write in {}", data.path().display()))
    }

    /// We are no longer the manager.
    pub(crate) fn withdraw(&self) {
        // If the directory was removed under us it may be another's by now, which must stay known.
        if self.data.manager().is_some_and(|manager| manager.pid != std::process::id()) {
            return;
        }
        for path in [self.data.manager_file(), self.socket()] {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "not removed");
            }
        }
        // Not empty while there are runners, which have their sockets in it.
        let _ = fs::remove_dir(&self.runtime_dir);
    }
}

/// Takes a lock; none: another process has it.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
    }
}

fn runtime_dir(data: &DataDir) -> PathBuf {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let uid = rustix::process::geteuid().as_raw();
    myagent_core::paths::runtime_dir(xdg.as_deref(), data.path(), uid)
}

/// Makes a folder that only we can enter; one that is there must be ours.
fn private_dir(path: &Path) -> Result<()> {
    let failed = || format!("failed to make the directory {}", path.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(failed)?;
    let metadata = fs::metadata(path).with_context(failed)?;
    let uid = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        metadata.uid() == uid,
        "{} belongs to user {}, not to us ({uid}); choose another --data-dir",
        path.display(),
        metadata.uid()
    );
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(failed)?;
    }
    Ok(())
}
