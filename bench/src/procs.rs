//! What processes cost, from /proc: memory as the kernel counts it, processor time to the nanosecond.

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Resident memory, MiB.
pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    field_kib(&format!("/proc/{pid}/status"), "VmRSS:").map(mib)
}

/// Memory that is nobody else's, MiB: what would be free if the process ended.
pub(crate) fn private_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    Ok(mib(field_kib(&path, "Private_Clean:")? + field_kib(&path, "Private_Dirty:")?))
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn field_kib(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("{path} has no {name}"))?;
    value.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name} in {path} is no number"))
}

/// Processor time of all threads of a process so far. Threads that have ended are not in it.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for thread in threads(pid)? {
        // A thread may end between the two calls.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) else { continue };
        sum += text
            .split(' ')
            .next()
            .and_then(|nanoseconds| nanoseconds.parse::<u64>().ok())
            .unwrap_or_default();
    }
    Ok(Duration::from_nanos(sum))
}

/// Processor time of every process that there is, kernel threads too.
pub(crate) fn everybody() -> Result<HashMap<u32, Duration>> {
    // One that ends meanwhile is left out.
    Ok(numbers("/proc")?.into_iter().filter_map(|pid| Some((pid, cpu(pid).ok()?))).collect())
}

/// Processor time of this process so far, also that of threads that have ended.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    Ok(numbers(&format!("/proc/{pid}/fd"))?.len())
}

/// Takes what the system allows.
pub(crate) fn raise_open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// The monotonic clock as a number, which means the same in other processes.
pub(crate) fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A process and all that descends from it.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>> {
    let parents: Vec<(u32, u32)> =
        numbers("/proc")?.into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut all = vec![pid];
    let mut seen = 0;
    while let Some(pid) = all.get(seen).copied() {
        seen += 1;
        all.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
    }
    Ok(all)
}

/// None: it has ended.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything; state and parent are behind the last one.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn numbers(folder: &str) -> Result<Vec<u32>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {folder}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn threads(pid: u32) -> Result<Vec<u32>> {
    numbers(&format!("/proc/{pid}/task"))
}

/// Processes that share one core for as long as this lives.
pub(crate) struct OneCore {
    before: Vec<(Pid, CpuSet)>,
}

impl OneCore {
    /// Moves all threads of these processes to the second core (the first one has the interrupts).
    pub(crate) fn pin(pids: &[u32]) -> Result<Self> {
        let mut before = Vec::new();
        for pid in pids {
            for thread in threads(*pid)? {
                let thread = i32::try_from(thread).ok().and_then(Pid::from_raw).context("no thread id")?;
                let all = sched_getaffinity(Some(thread))?;
                let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
                let mut one = CpuSet::new();
                one.set(*cores.get(1).or(cores.first()).context("no core")?);
                sched_setaffinity(Some(thread), &one)?;
                before.push((thread, all));
            }
        }
        Ok(Self { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        for (pid, all) in &self.before {
            // A thread that has ended needs no core.
            let _ = sched_setaffinity(Some(*pid), all);
        }
    }
}
