//! The process tree of one start, while its runner lives: who is in it, what it uses, and its end.
//!
//! A process is in the tree if it descends from this process (a subreaper, so that orphans of the tree become its
//! children) or is in the tree's control group. Both are asked each time; nothing is assumed to be still there. What a
//! *dead* runner left is found in [`crate::clear`], which cannot ask who descends from whom.

use crate::cgroup::{Group, Limits};
use crate::procfs::{self, ProcessId, Stat};
use crate::signal;
use crate::tree_file::TreeFile;
use myagent_core::StartId;
use rustix::process::Signal;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How long a process may survive KILL before it is reported as a survivor.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What the tree used since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TreeUsage {
    /// Resident memory, bytes; shared pages count once for each process.
    pub(crate) memory_bytes: u64,
    /// Percent of one core.
    pub(crate) cpu_percent: f64,
    /// Processes.
    pub(crate) processes: u32,
}

/// The tree of one start.
pub(crate) struct Tree {
    start_id: StartId,
    file: PathBuf,
    runner: ProcessId,
    boot_id: String,
    group: RefCell<Option<Group>>,
    saved: RefCell<BTreeSet<ProcessId>>,
    measured: RefCell<(Instant, BTreeMap<ProcessId, u64>)>,
}

impl Tree {
    /// Makes the groups and writes the first list, so that a runner killed from here on leaves its traces.
    pub(crate) fn create(start_id: StartId, limits: Limits, file: PathBuf) -> io::Result<Self> {
        let runner =
            procfs::stat(std::process::id()).ok_or_else(|| io::Error::other("/proc cannot be read"))?.id;
        let tree = Self {
            start_id,
            file,
            runner,
            boot_id: procfs::boot_id(),
            group: RefCell::new(Group::create(&start_id.to_string(), limits)),
            saved: RefCell::default(),
            measured: RefCell::new((Instant::now(), BTreeMap::new())),
        };
        tree.write()?;
        Ok(tree)
    }

    /// Files for the agent to join its groups.
    pub(crate) fn join_files(&self) -> Vec<PathBuf> {
        self.group.borrow().as_ref().map(Group::join_files).unwrap_or_default()
    }

    /// `cgroup-v2`, `cgroup-v1` or `subreaper`.
    pub(crate) fn ownership(&self) -> &'static str {
        self.group.borrow().as_ref().map_or("subreaper", Group::ownership)
    }

    /// Whether the kernel enforces the memory limit and the processor limit.
    pub(crate) fn kernel_limits(&self) -> (bool, bool) {
        self.group
            .borrow()
            .as_ref()
            .map_or((false, false), |group| (group.limits_memory(), group.limits_cpu()))
    }

    /// How often the kernel killed in the tree for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.group.borrow().as_ref().map_or(0, Group::oom_kills)
    }

    /// Goes on without groups (the agent could not join them).
    pub(crate) fn drop_group(&self) {
        if let Some(group) = self.group.take()
            && let Err(error) = group.remove()
        {
            tracing::warn!(%error, "failed to remove the control group");
        }
        self.save_or_warn();
    }

    /// Every living process of the tree.
    pub(crate) fn members(&self) -> Vec<Stat> {
        let mut pids: BTreeSet<u32> = self.group_pids().into_iter().collect();
        let mut open = vec![self.runner.pid];
        while let Some(pid) = open.pop() {
            match procfs::children(pid) {
                Some(children) => open.extend(children.into_iter().filter(|child| pids.insert(*child))),
                None if pid == self.runner.pid => return self.members_by_full_scan(),
                None => {}
            }
        }
        pids.remove(&self.runner.pid);
        // A group's process may have children outside of it only while it lives, and those descend from us too.
        pids.into_iter().filter_map(procfs::stat).filter(|stat| !stat.zombie).collect()
    }

    /// The same by looking at every process of the machine: slow, but it does not depend on a consistent walk.
    fn members_by_full_scan(&self) -> Vec<Stat> {
        let group: BTreeSet<u32> = self.group_pids().into_iter().collect();
        let all = procfs::all();
        let mut found =
            descendants(&all, |stat| stat.parent == self.runner.pid || group.contains(&stat.id.pid));
        found.retain(|stat| !stat.zombie && stat.id != self.runner);
        found
    }

    fn group_pids(&self) -> Vec<u32> {
        self.group.borrow().as_ref().map(Group::pids).unwrap_or_default()
    }

    /// Measures the tree, and saves the list if it changed.
    pub(crate) fn measure(&self) -> TreeUsage {
        let members = self.members();
        self.remember(&members);
        let now = Instant::now();
        let (before, old) =
            self.measured.replace((now, members.iter().map(|stat| (stat.id, stat.ticks)).collect()));
        let first = old.is_empty();
        let ticks: u64 = members
            .iter()
            .map(|stat| match old.get(&stat.id) {
                Some(old) => stat.ticks.saturating_sub(*old),
                None if first => 0,
                None => stat.ticks,
            })
            .sum();
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        let used = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        TreeUsage {
            memory_bytes: members.iter().map(|stat| stat.resident_pages).sum::<u64>()
                * rustix::param::page_size() as u64,
            cpu_percent: if seconds > 0.0 { used / seconds * 100.0 } else { 0.0 },
            processes: u32::try_from(members.len()).unwrap_or(u32::MAX),
        }
    }

    /// Memory with shared pages divided among their users, bytes. Slow; for when it matters.
    pub(crate) fn proportional_bytes(&self) -> u64 {
        self.members().iter().filter_map(|stat| procfs::proportional_bytes(stat.id.pid)).sum()
    }

    /// Saves the list if the tree changed.
    pub(crate) fn save(&self) {
        self.remember(&self.members());
    }

    fn remember(&self, members: &[Stat]) {
        let now: BTreeSet<ProcessId> = members.iter().map(|stat| stat.id).collect();
        if *self.saved.borrow() != now {
            self.saved.replace(now);
            self.save_or_warn();
        }
    }

    fn save_or_warn(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, file = %self.file.display(), "failed to save the list of the tree's processes");
        }
    }

    fn write(&self) -> io::Result<()> {
        TreeFile {
            start_id: self.start_id,
            boot_id: self.boot_id.clone(),
            runner: self.runner,
            groups: self.group.borrow().as_ref().map(Group::folders).unwrap_or_default(),
            processes: self.saved.borrow().clone(),
        }
        .write(&self.file)
    }

    /// Sends TERM to every process of the tree.
    pub(crate) fn terminate(&self) {
        for stat in self.members() {
            signal::send(stat.id, Signal::TERM);
            // A stopped process would never see it.
            signal::send(stat.id, Signal::CONT);
        }
    }

    /// Waits until nothing of the tree lives, or until the deadline, which is asked for again at each look; whether it is
    /// gone.
    pub(crate) async fn gone_before(&self, deadline: impl Fn() -> Instant) -> bool {
        let mut pause = Duration::from_millis(2);
        while !self.is_gone() {
            let left = deadline().saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        true
    }

    /// Kills everything, again and again until nothing is left; the processes that survived that for `patience`.
    pub(crate) async fn kill(&self, patience: Duration) -> Vec<u32> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(2);
        loop {
            self.kill_once();
            if self.is_gone() {
                self.remember(&[]);
                return Vec::new();
            }
            if Instant::now() >= deadline {
                let survivors = self.members_by_full_scan();
                self.remember(&survivors);
                return survivors.iter().map(|stat| stat.id.pid).collect();
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Kills what is there now.
    pub(crate) fn kill_once(&self) {
        let group = self.group.borrow();
        let killed = group.as_ref().is_some_and(Group::kill_or_freeze);
        let members =
            if killed || self.ownership() != "subreaper" { self.members() } else { self.stop_all() };
        for stat in &members {
            signal::send(stat.id, Signal::KILL);
        }
        if let Some(group) = group.as_ref().filter(|_| !killed) {
            group.thaw();
        }
    }

    /// Stops every process, so that none can fork away while the others are killed; gives up after a few rounds.
    fn stop_all(&self) -> Vec<Stat> {
        let mut stopped = BTreeSet::new();
        let mut members = Vec::new();
        for _ in 0..10 {
            members = self.members();
            let fresh: Vec<ProcessId> =
                members.iter().map(|stat| stat.id).filter(|id| stopped.insert(*id)).collect();
            if fresh.is_empty() {
                break;
            }
            for process in fresh {
                signal::send(process, Signal::STOP);
            }
        }
        members
    }

    fn is_gone(&self) -> bool {
        self.members().is_empty() && self.members_by_full_scan().is_empty()
    }

    /// The tree is gone for good: removes the groups and, unless something survived, the list.
    pub(crate) async fn finish(&self, survivors: &[u32]) {
        for _ in 0..20 {
            let removed = self.group.borrow().as_ref().map_or(Ok(()), Group::remove);
            match removed {
                Ok(()) => break,
                // Its last process has ended but is not yet out of the group.
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
        if survivors.is_empty() {
            self.group.take();
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

/// The processes that are wanted, and all that descend from them.
pub(crate) fn descendants(all: &[Stat], wanted: impl Fn(&Stat) -> bool) -> Vec<Stat> {
    let mut found: BTreeMap<u32, Stat> =
        all.iter().filter(|stat| wanted(stat)).map(|stat| (stat.id.pid, *stat)).collect();
    loop {
        let more: Vec<Stat> = all
            .iter()
            .filter(|stat| found.contains_key(&stat.parent) && !found.contains_key(&stat.id.pid))
            .copied()
            .collect();
        if more.is_empty() {
            return found.into_values().collect();
        }
        found.extend(more.into_iter().map(|stat| (stat.id.pid, stat)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_at_any_depth() {
        let stat = |pid, parent| Stat {
            id: ProcessId { pid, start: 1 },
            parent,
            zombie: false,
            ticks: 0,
            resident_pages: 0,
        };
        let all = [stat(1, 0), stat(9, 7), stat(7, 5), stat(5, 1), stat(6, 1), stat(4, 9)];
        let pids = |found: Vec<Stat>| found.iter().map(|stat| stat.id.pid).collect::<Vec<_>>();
        assert_eq!(pids(descendants(&all, |stat| stat.id.pid == 5)), [4, 5, 7, 9]);
        assert_eq!(pids(descendants(&all, |_| false)), Vec::<u32>::new());
    }
}
