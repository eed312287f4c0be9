//! Clears up after a runner that died: finds what is left of its tree by every trace there is, and kills it.
//!
//! The traces: the control groups and the processes noted in the tree file, the tag in the environment, and whatever
//! descends from any of those. What is found is killed at once; the time for a polite end is over when the runner is.

use crate::cgroup::Group;
use crate::procfs::{self, ProcessId, Stat};
use crate::signal;
use crate::tree::{KILL_PATIENCE, descendants};
use crate::tree_file::TreeFile;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Why nothing was cleared up.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// The list cannot be read.
    #[error("failed to read the list of processes {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runner lives; ask it to stop instead.
    #[error("the runner of this tree is alive as process {pid}")]
    RunnerAlive {
        /// Its number.
        pid: u32,
    },
}

/// Kills what the dead runner that wrote `tree_file` left, waits up to 5 s until it is gone, and removes the file and the
/// groups. The numbers of processes that survived; then the file stays. No file: nothing to do.
pub fn clear_tree(tree_file: &Path) -> Result<Vec<u32>, ClearError> {
    let read = |source| ClearError::Read { path: tree_file.to_owned(), source };
    let Some(noted) = TreeFile::read(tree_file).map_err(read)? else { return Ok(Vec::new()) };
    let same_boot = noted.boot_id == procfs::boot_id();
    if same_boot && signal::open(noted.runner).is_some() {
        return Err(ClearError::RunnerAlive { pid: noted.runner.pid });
    }
    let start_id = noted.start_id.to_string();
    let group = Group::open(&noted.groups, &start_id);
    // After another boot the numbers belong to others.
    let mut known = if same_boot { noted.processes } else { BTreeSet::new() };
    let deadline = Instant::now() + KILL_PATIENCE;
    let survivors = loop {
        let left = round(group.as_ref(), &start_id, &mut known);
        if left.is_empty() {
            break Vec::new();
        }
        if Instant::now() >= deadline {
            break left.iter().map(|process| process.pid).collect();
        }
        wait_a_little(&left);
    };
    if let Some(group) = &group
        && let Err(error) = group.remove()
    {
        tracing::warn!(%error, "failed to remove the control group of a dead runner");
    }
    if survivors.is_empty() {
        let _ = std::fs::remove_file(tree_file);
    }
    Ok(survivors)
}

/// Kills everything that can be found now, and returns it. What was found once stays known: its children may be found
/// after it is gone.
fn round(group: Option<&Group>, start_id: &str, known: &mut BTreeSet<ProcessId>) -> Vec<ProcessId> {
    let own = Pid::as_raw_pid(getpid());
    let killed = group.is_some_and(Group::kill_or_freeze);
    let in_group: BTreeSet<u32> = group.map(Group::pids).unwrap_or_default().into_iter().collect();
    let all = procfs::all();
    let wanted = |stat: &Stat| {
        in_group.contains(&stat.id.pid) || known.contains(&stat.id) || procfs::has_tag(stat.id.pid, start_id)
    };
    let mut found = descendants(&all, wanted);
    found.retain(|stat| !stat.zombie && i32::try_from(stat.id.pid).is_ok_and(|pid| pid != own));
    for stat in &found {
        known.insert(stat.id);
        signal::send(stat.id, Signal::KILL);
    }
    if let Some(group) = group.filter(|_| !killed) {
        group.thaw();
    }
    found.iter().map(|stat| stat.id).collect()
}

/// Waits until one of them ends, at most 50 ms.
fn wait_a_little(processes: &[ProcessId]) {
    let descriptors: Vec<_> =
        processes.iter().take(64).filter_map(|process| signal::open(*process)).collect();
    let mut polled: Vec<_> =
        descriptors.iter().map(|descriptor| PollFd::new(descriptor, PollFlags::IN)).collect();
    let _ = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    fn noted(processes: BTreeSet<ProcessId>, runner: ProcessId) -> (tempfile::TempDir, PathBuf, TreeFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tree.json");
        let file = TreeFile {
            start_id: myagent_core::StartId(uuid::Uuid::new_v4()),
            boot_id: procfs::boot_id(),
            runner,
            groups: Vec::new(),
            processes,
        };
        file.write(&path).unwrap();
        (folder, path, file)
    }

    const NOBODY: ProcessId = ProcessId { pid: 0, start: 0 };

    #[test]
    fn processes_are_found_by_the_list_and_by_the_tag() {
        let mut listed = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let id = procfs::stat(listed.id()).unwrap().id;
        let (_folder, path, file) = noted([id].into(), NOBODY);
        let tag = file.start_id.to_string();
        let mut tagged = Command::new("sleep")
            .arg("60")
            .env(procfs::START_ID_VARIABLE, tag)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(clear_tree(&path).unwrap(), Vec::<u32>::new());
        assert_eq!(listed.wait().unwrap().signal(), Some(9));
        assert_eq!(tagged.wait().unwrap().signal(), Some(9));
        assert!(!path.exists());
        assert_eq!(clear_tree(&path).unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn strangers_with_a_used_number_and_other_boots_are_left_alone() {
        let mut stranger = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let id = procfs::stat(stranger.id()).unwrap().id;
        let (_folder, path, mut file) = noted([ProcessId { start: id.start - 1, ..id }].into(), NOBODY);
        clear_tree(&path).unwrap();
        file.processes = [id].into();
        file.boot_id = "another".into();
        file.write(&path).unwrap();
        clear_tree(&path).unwrap();
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn nothing_is_cleared_while_the_runner_lives() {
        let own = procfs::stat(std::process::id()).unwrap().id;
        let (_folder, path, _) = noted(BTreeSet::new(), own);
        assert!(matches!(clear_tree(&path), Err(ClearError::RunnerAlive { .. })));
        std::fs::write(&path, "garbage").unwrap();
        assert!(matches!(clear_tree(&path), Err(ClearError::Read { .. })));
    }
}
