//! The list that survives the runner: which processes it started, and by which means they can be found. Whoever clears up
//! after a killed runner reads it; the runner replaces it, atomically, at each change.

use crate::procfs::ProcessId;
use myagent_core::StartId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeFile {
    /// Tag in the environment of the whole tree, and part of the name of its groups.
    pub(crate) start_id: StartId,
    /// Start times mean nothing after another boot.
    pub(crate) boot_id: String,
    /// The runner; while it lives, nobody else clears up.
    pub(crate) runner: ProcessId,
    /// Folders of the control groups.
    pub(crate) groups: Vec<PathBuf>,
    /// Processes of the tree when it was last looked at.
    pub(crate) processes: BTreeSet<ProcessId>,
}

impl TreeFile {
    /// Reads it; `None` if there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file: a reader sees the old list or the new one, whole.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let written = std::fs::write(&temporary, serde_json::to_vec(self)?)
            .and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            // Nobody would look for what a full disk took of it.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_as_written_and_garbage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.json");
        assert_eq!(TreeFile::read(&path).unwrap(), None);
        let mut file = TreeFile {
            start_id: StartId(uuid::Uuid::nil()),
            boot_id: "b".into(),
            runner: ProcessId { pid: 1, start: 2 },
            groups: vec!["/sys/fs/cgroup/x".into()],
            processes: BTreeSet::new(),
        };
        file.write(&path).unwrap();
        file.processes.insert(ProcessId { pid: 3, start: 4 });
        file.write(&path).unwrap();
        assert_eq!(TreeFile::read(&path).unwrap(), Some(file));
        std::fs::write(&path, "{").unwrap();
        assert!(TreeFile::read(&path).is_err());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.json");
        std::fs::create_dir(&path).unwrap();
        let file = TreeFile {
            start_id: StartId(uuid::Uuid::nil()),
            boot_id: "b".into(),
            runner: ProcessId { pid: 1, start: 2 },
            groups: Vec::new(),
            processes: BTreeSet::new(),
        };
        file.write(&path).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
