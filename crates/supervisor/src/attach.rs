//! Finds a runner again that outlived its manager, or clears up after one that did not.

use crate::launch::Launched;
use crate::link::{Link, LinkError};
use crate::observed::RunnerRecord;
use crate::ports::Ports;
use crate::process::Watched;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a live runner may take to answer on its control socket (it may be busy on a loaded machine).
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stray may take to stop.
const STRAY_TIMEOUT: Duration = Duration::from_mins(1);

/// Attaches to it; none: that process is gone (or its PID is another process's now).
pub(crate) async fn attach(ports: Ports, record: RunnerRecord) -> Option<Launched> {
    let mut process = match Watched::existing(record.pid, record.start_time) {
        Ok(process) => process,
        Err(error) => {
            tracing::info!(pid = record.pid, %error, "runner is gone");
            return None;
        }
    };
    let lease = record.port.map(|port| ports.lease_held(port));
    let deadline = Instant::now() + ATTACH_TIMEOUT;
    loop {
        match Link::connect(&record.control).await {
            Ok(link) => return Some(Launched { record, process, link: Some(link), lease }),
            Err(error @ LinkError::Outdated { .. }) => {
                tracing::warn!(pid = record.pid, %error, "runner is kept, without new clients");
                return Some(Launched { record, process, link: None, lease });
            }
            Err(error) if Instant::now() >= deadline => {
                // It lives and does not answer: it is of no use any more, and its tree must not be left to itself.
                tracing::warn!(pid = record.pid, %error, "runner does not answer; killing it");
                process.signal(rustix::process::Signal::KILL);
                process.exited().await;
                return None;
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Kills what a dead runner left. Returns the processes that could not be killed.
pub(crate) async fn clear(exe: PathBuf, runtime_dir: PathBuf, tree: PathBuf) -> Vec<u32> {
    let cleared = tokio::task::spawn_blocking(move || {
        remove_sockets(&runtime_dir, &tree);
        run_clear(&exe, &tree)
    })
    .await;
    match cleared {
        Ok(Ok(survivors)) => survivors,
        Ok(Err(error)) => {
            tracing::error!(error, "cannot clear up after a runner");
            Vec::new()
        }
        Err(error) => {
            tracing::error!(%error, "clearing up was cut short");
            Vec::new()
        }
    }
}

/// A runner that was killed has left its sockets; their names follow from its start, as does that of the list.
fn remove_sockets(runtime_dir: &Path, tree: &Path) {
    let start_id = tree.file_stem().and_then(|name| name.to_str()?.parse().ok());
    let Some(start_id): Option<myagent_core::StartId> = start_id else { return };
    for kind in ['c', 't'] {
        // It may have removed them itself.
        let _ = std::fs::remove_file(runtime_dir.join(myagent_core::paths::socket_name(start_id, kind)));
    }
}

fn run_clear(exe: &Path, tree: &Path) -> Result<Vec<u32>, String> {
    if !tree.exists() {
        return Ok(Vec::new());
    }
    let output = std::process::Command::new(exe)
        .arg("clear-tree")
        .arg(tree)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("cannot run clear-tree: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("clear-tree answered nonsense: {error}"))
}

/// Stops a runner that nobody knows, by its start, and kills what it leaves.
pub async fn stop_stray(exe: &Path, runtime_dir: &Path, start_id: myagent_core::StartId, tree: PathBuf) {
    use myagent_core::wire::control::{Answer, Request, RunnerLine};
    let control = runtime_dir.join(myagent_core::paths::socket_name(start_id, 'c'));
    let stop = async {
        let mut link = Link::connect(&control).await.ok()?;
        link.send(Request::Stop { grace: None, spread: None, again: false }).await.ok()?;
        loop {
            if let RunnerLine::Answer { answer: Answer::Stopped { .. }, .. } = link.next().await.ok()? {
                return Some(());
            }
        }
    };
    if tokio::time::timeout(STRAY_TIMEOUT, stop).await.is_err() {
        tracing::warn!(%start_id, "a stray runner did not stop in time");
    }
    let survivors = clear(exe.to_owned(), runtime_dir.to_owned(), tree).await;
    if !survivors.is_empty() {
        tracing::error!(%start_id, ?survivors, "processes of a stray runner could not be killed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_a_dead_runner_go_and_those_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let start_id = myagent_core::StartId(uuid::Uuid::from_u128(1));
        let other = myagent_core::StartId(uuid::Uuid::from_u128(2));
        for (id, kind) in [(start_id, 'c'), (start_id, 't'), (other, 'c')] {
            std::fs::write(dir.path().join(myagent_core::paths::socket_name(id, kind)), "").unwrap();
        }
        remove_sockets(dir.path(), &dir.path().join(format!("{start_id}.json")));
        remove_sockets(dir.path(), &dir.path().join("nonsense.json"));
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().flatten().map(|file| file.file_name()).collect();
        assert_eq!(left, [myagent_core::paths::socket_name(other, 'c').as_str()]);
    }
}
