//! A control group of our own around one process tree: made, asked, killed and removed by plain file writes.
//!
//! Two independent things are looked for, because a machine may have them in different places: something to *hold* the tree
//! (version 2 with `cgroup.kill`, or the version 1 freezer) and something to *limit* it (memory and processor, of either
//! version; only made when a limit is set). Groups are made below the group that the runner is in, so that every limit
//! that holds for the runner holds for the tree. Where nothing can be made there is no [`Group`], and the tree is held by
//! other means.

use crate::cgroup_mounts::{Mounts, Version};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Setting this variable to `1` makes [`Group::create`] find nothing, `v2` nothing of version 2: to see what other machines
/// do.
const OFF_VARIABLE: &str = "MYAGENT_NO_CGROUP";
/// Begins the name of each folder that we make; the start's id follows.
const PREFIX: &str = "myagent-";
/// Length of a period of the processor's share, microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Limits of the whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Percent of one core.
    pub(crate) cpu_percent: Option<u32>,
}

/// How the tree is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// A version 2 group.
    V2,
    /// A version 1 freezer.
    Freezer,
}

/// The groups of one start. Dropping it leaves them: see [`Group::remove`].
#[derive(Debug)]
pub(crate) struct Group {
    hold: Option<(Hold, PathBuf)>,
    memory: Option<(Version, PathBuf)>,
    cpu: Option<PathBuf>,
}

impl Group {
    /// Makes what can be made; `None` if nothing can.
    pub(crate) fn create(start_id: &str, limits: Limits) -> Option<Self> {
        let off = std::env::var(OFF_VARIABLE).unwrap_or_default();
        if off == "1" {
            return None;
        }
        let mounts = Mounts::of_this_process();
        let mut group = Self { hold: None, memory: None, cpu: None };
        if let Some(base) = mounts.version_2().filter(|_| off != "v2") {
            group.create_in_version_2(&base, start_id, limits);
        }
        if group.hold.is_none()
            && let Some(folder) = mounts.version_1("freezer").and_then(|base| make(&base, start_id))
        {
            group.hold = Some((Hold::Freezer, folder));
        }
        if let (Some(bytes), None) = (limits.memory, &group.memory)
            && let Some(folder) = mounts.version_1("memory").and_then(|base| make(&base, start_id))
        {
            if fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string()).is_ok() {
                // Without this, what does not fit is swapped out; many kernels do not have it.
                let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), bytes.to_string());
                group.memory = Some((Version::One, folder));
            } else {
                let _ = fs::remove_dir(&folder);
            }
        }
        if let (Some(percent), None) = (limits.cpu_percent, &group.cpu)
            && let Some(folder) = mounts.version_1("cpu").and_then(|base| make(&base, start_id))
        {
            let _ = fs::write(folder.join("cpu.cfs_period_us"), CPU_PERIOD.to_string());
            if fs::write(folder.join("cpu.cfs_quota_us"), quota(percent).to_string()).is_ok() {
                group.cpu = Some(folder);
            } else {
                let _ = fs::remove_dir(&folder);
            }
        }
        (!group.folders().is_empty()).then_some(group)
    }

    fn create_in_version_2(&mut self, base: &Path, start_id: &str, limits: Limits) {
        // Refused where processes are in the group itself; then the limit is enforced by measuring.
        let enable = |controller: &str| fs::write(base.join("cgroup.subtree_control"), controller).is_ok();
        let memory = limits.memory.filter(|_| enable("+memory"));
        let cpu_percent = limits.cpu_percent.filter(|_| enable("+cpu"));
        let Some(folder) = make(base, start_id) else { return };
        let holds = ["cgroup.kill", "cgroup.freeze"].iter().any(|file| folder.join(file).exists());
        if !holds {
            let _ = fs::remove_dir(&folder);
            return;
        }
        if let Some(bytes) = memory
            && fs::write(folder.join("memory.max"), bytes.to_string()).is_ok()
        {
            let _ = fs::write(folder.join("memory.swap.max"), "0");
            let _ = fs::write(folder.join("memory.oom.group"), "1");
            self.memory = Some((Version::Two, folder.clone()));
        }
        if let Some(percent) = cpu_percent
            && fs::write(folder.join("cpu.max"), format!("{} {CPU_PERIOD}", quota(percent))).is_ok()
        {
            self.cpu = Some(folder.clone());
        }
        self.hold = Some((Hold::V2, folder));
    }

    /// The groups that a dead runner noted. Folders that do not carry the start's id are left alone.
    pub(crate) fn open(folders: &[PathBuf], start_id: &str) -> Option<Self> {
        let name = format!("{PREFIX}{start_id}");
        let mut group = Self { hold: None, memory: None, cpu: None };
        for folder in folders {
            if folder.file_name().is_none_or(|last| last != name.as_str()) || !folder.is_dir() {
                continue;
            }
            if folder.join("cgroup.freeze").exists() || folder.join("cgroup.kill").exists() {
                group.hold = Some((Hold::V2, folder.clone()));
            } else if folder.join("freezer.state").exists() {
                group.hold = Some((Hold::Freezer, folder.clone()));
            } else if folder.join("memory.limit_in_bytes").exists() {
                group.memory = Some((Version::One, folder.clone()));
            } else if folder.join("cpu.cfs_quota_us").exists() {
                group.cpu = Some(folder.clone());
            }
        }
        (!group.folders().is_empty()).then_some(group)
    }

    /// How the tree is held: for people.
    pub(crate) fn ownership(&self) -> &'static str {
        match self.hold {
            Some((Hold::V2, _)) => "cgroup-v2",
            Some((Hold::Freezer, _)) => "cgroup-v1",
            None => "subreaper",
        }
    }

    /// Whether the kernel enforces the memory limit.
    pub(crate) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the kernel enforces the processor limit.
    pub(crate) fn limits_cpu(&self) -> bool {
        self.cpu.is_some()
    }

    /// Every folder that was made, each once.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let hold = self.hold.as_ref().map(|(_, folder)| folder);
        let memory = self.memory.as_ref().map(|(_, folder)| folder);
        let mut folders: Vec<PathBuf> =
            [hold, memory, self.cpu.as_ref()].into_iter().flatten().cloned().collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// The files that a process writes `0` to in order to join.
    pub(crate) fn join_files(&self) -> Vec<PathBuf> {
        self.folders().iter().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Everything in the group that holds the tree, in groups below it as well (an agent may make its own).
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        for folder in self.folders() {
            collect_pids(&folder, &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills everything in it, once. True: the kernel did it in one step, so that no fork can escape; false: the group is
    /// frozen now, as far as that is possible: signal each process and then call [`Self::thaw`].
    pub(crate) fn kill_or_freeze(&self) -> bool {
        match &self.hold {
            Some((Hold::V2, folder)) => {
                if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
                    return true;
                }
                let _ = fs::write(folder.join("cgroup.freeze"), "1");
            }
            Some((Hold::Freezer, folder)) => {
                let state = folder.join("freezer.state");
                let _ = fs::write(&state, "FROZEN");
                // Each look lets the kernel make progress; whoever is not frozen after these is caught in the next round.
                for _ in 0..100 {
                    if fs::read_to_string(&state).is_ok_and(|text| text.trim() == "FROZEN") {
                        break;
                    }
                }
            }
            None => {}
        }
        false
    }

    /// Lets frozen processes run (into their death).
    pub(crate) fn thaw(&self) {
        match &self.hold {
            Some((Hold::V2, folder)) => drop(fs::write(folder.join("cgroup.freeze"), "0")),
            Some((Hold::Freezer, folder)) => drop(fs::write(folder.join("freezer.state"), "THAWED")),
            None => {}
        }
    }

    /// How often the kernel killed in this group for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some((version, folder)) = &self.memory else { return 0 };
        let file = match version {
            Version::Two => "memory.events",
            Version::One => "memory.oom_control",
        };
        fs::read_to_string(folder.join(file))
            .ok()
            .and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            })
            .unwrap_or(0)
    }

    /// Removes the folders, with those that the agent made below. Fails while a process is in one.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for folder in self.folders() {
            remove_folder(&folder)?;
        }
        Ok(())
    }
}

fn quota(percent: u32) -> u64 {
    // The kernel takes nothing below a millisecond.
    (u64::from(percent) * CPU_PERIOD / 100).max(1000)
}

fn make(base: &Path, start_id: &str) -> Option<PathBuf> {
    let folder = base.join(format!("{PREFIX}{start_id}"));
    match fs::create_dir(&folder) {
        Ok(()) => Some(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(folder),
        Err(_) => None,
    }
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn collect_pids(folder: &Path, pids: &mut Vec<u32>) {
    if let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) {
        // A process of another PID namespace is shown as 0.
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 0));
    }
    for below in subfolders(folder) {
        collect_pids(&below, pids);
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    for below in subfolders(folder) {
        remove_folder(&below)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_another_start_are_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("myagent-1");
        fs::create_dir(&ours).unwrap();
        fs::write(ours.join("cgroup.kill"), "").unwrap();
        let other = folder.path().join("myagent-2");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("cgroup.kill"), "").unwrap();
        fs::write(folder.path().join("cgroup.kill"), "").unwrap();
        let group = Group::open(&[other.clone(), folder.path().to_owned(), ours.clone()], "1").unwrap();
        assert_eq!(group.folders(), [ours]);
        assert!(Group::open(&[other], "1").is_none());
        assert!(Group::open(&[], "1").is_none());
    }

    #[test]
    fn a_share_of_a_core_is_at_least_a_millisecond() {
        assert_eq!(quota(50), 50_000);
        assert_eq!(quota(250), 250_000);
        assert_eq!(quota(0), 1000);
    }
}
