//! What processes cost, from /proc: memory as the kernel counts it, processor time to the nanosecond.

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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
    for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("no process {pid}"))? {
        // A thread may end between the two calls.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += text
            .split(' ')
            .next()
            .and_then(|nanoseconds| nanoseconds.parse::<u64>().ok())
            .unwrap_or_default();
    }
    Ok(Duration::from_nanos(sum))
}

/// Processes that share one core for as long as this lives.
pub(crate) struct OneCore {
    before: Vec<(Pid, CpuSet)>,
}

impl OneCore {
    /// Moves the main threads of these processes to the second core (the first one has the interrupts).
    pub(crate) fn pin(pids: &[u32]) -> Result<Self> {
        let mut before = Vec::new();
        for pid in pids {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).context("no process id")?;
            let all = sched_getaffinity(Some(pid))?;
            let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).collect();
            let mut one = CpuSet::new();
            one.set(*cores.get(1).or(cores.first()).context("no core")?);
            sched_setaffinity(Some(pid), &one)?;
            before.push((pid, all));
        }
        Ok(Self { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        for (pid, all) in &self.before {
            // One that has ended needs no core.
            let _ = sched_setaffinity(Some(*pid), all);
        }
    }
}
