//! What a manager in the background may have of its caller: nothing.

use anyhow::{Context, Result, ensure};
use myagent_testkit::TestManager;
use std::path::{Path, PathBuf};

/// The only manager in the background, checked: a session of its own, no input, its output in the log, and no descriptor
/// of the one who started it.
pub(crate) fn background(manager: &TestManager) -> Result<u32> {
    let is_manager = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == b"daemon")
    };
    let managers: Vec<u32> = manager.processes().into_iter().filter(is_manager).collect();
    let [pid] = managers[..] else { anyhow::bail!("managers in the background: {managers:?}") };
    let session = stat_field(pid, 5)?;
    ensure!(session == u64::from(pid), "process {pid} is in session {session}");
    ensure!(stat_field(pid, 6)? == 0, "process {pid} has a terminal");
    let log = manager.data_dir().join("manager.log");
    for (number, expected) in [(0, Path::new("/dev/null")), (1, &log), (2, &log)] {
        let found = descriptor(pid, number)?;
        ensure!(found == expected, "its descriptor {number} is {}", found.display());
    }
    ensure!(std::fs::read_link(format!("/proc/{pid}/cwd"))? == Path::new("/"), "it holds a folder");
    let inherited: Vec<PathBuf> = descriptors(pid)?
        .into_iter()
        .filter(|target| {
            target.to_string_lossy().starts_with("pipe:") || target.starts_with(manager.work_dir())
        })
        .collect();
    ensure!(inherited.is_empty(), "it inherited {inherited:?}");
    Ok(pid)
}

/// Fails if the process listens on TCP.
pub(crate) fn only_unix(pid: u32) -> Result<()> {
    let sockets: Vec<String> = descriptors(pid)?
        .iter()
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    ensure!(!sockets.is_empty(), "it has no socket at all");
    for table in ["tcp", "tcp6"] {
        for line in std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))?.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let is_ours = sockets.iter().any(|inode| fields.get(9) == Some(&inode.as_str()));
            ensure!(!is_ours || fields.get(3) != Some(&"0A"), "it listens: {line}");
        }
    }
    Ok(())
}

fn descriptor(pid: u32, number: u32) -> Result<PathBuf> {
    Ok(std::fs::read_link(format!("/proc/{pid}/fd/{number}"))?)
}

fn descriptors(pid: u32) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    // One may close while we look.
    Ok(entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect())
}

/// A field of `/proc/PID/stat`, by its number in proc(5) less one.
fn stat_field(pid: u32, index: usize) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let field = rest.split_ascii_whitespace().nth(index - 2).context("too short")?;
    Ok(field.parse::<i64>()?.max(0).unsigned_abs())
}
