//! Looking at processes through /proc, and ending those that carry a mark: the path of a test's own folder.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name, in parentheses, may contain anything; the state is behind the last one.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Living processes, other than this one, whose command line or environment has this path in it.
pub fn carrying(mark: &Path) -> Vec<u32> {
    let mark = mark.as_os_str().as_encoded_bytes();
    // A short mark could be in processes of others.
    assert!(mark.len() > 8, "the mark is too short to be unique");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && is_alive(*pid))
        .filter(|pid| {
            ["cmdline", "environ"].iter().any(|file| {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                bytes.windows(mark.len()).any(|window| window == mark)
            })
        })
        .collect()
}

/// Kills what carries the mark, also what appears meanwhile; returns what was killed.
pub fn kill_carrying(mark: &Path) -> Vec<u32> {
    let mut killed = Vec::new();
    for _ in 0..20 {
        let found = carrying(mark);
        if found.is_empty() {
            break;
        }
        for pid in found {
            send(pid, Signal::KILL);
            killed.push(pid);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    killed.sort_unstable();
    killed.dedup();
    killed
}

/// Sends a signal to one process; one that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already: that is what tests want to know by other means.
        let _ = kill_process(pid, signal);
    }
}
