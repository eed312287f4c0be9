//! A manager in the background, for a command that changes something: own session, nothing inherited, output to
//! `manager.log`. Two commands may race: the lock decides, both find the winner.

use super::BACKGROUND;
use crate::datadir::DataDir;
use anyhow::{Context, Result, bail};
use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// How long a manager may take until it answers.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two tries to start one where another has the directory and does not answer.
const RETRY: Duration = Duration::from_millis(100);

/// The socket of the manager of `data`; starts one in the background if none runs, and waits until it is ready. It gets the
/// caller's environment, but for the variables named in `hidden`.
pub(crate) async fn ensure_manager(data: &DataDir, hidden: &[String]) -> Result<PathBuf> {
    if let Some(socket) = answering(data).await {
        return Ok(socket);
    }
    fs::create_dir_all(data.path())
        .with_context(|| format!("failed to make the directory {}", data.path().display()))?;
    let log = data.path().join("manager.log");
    let log_start = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let mut child = start(data, &log, hidden)?;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        if let Some(socket) = answering(data).await {
            return Ok(socket);
        }
        if let Some(status) = child.try_wait()? {
            if status.code() != Some(4) {
                bail!("the manager did not start: {}", last_error(&log, log_start));
            }
            // Another has the directory: it answers soon, or it is about to end and leaves the place to us.
            sleep(RETRY).await;
            if answering(data).await.is_none() {
                child = start(data, &log, hidden)?;
            }
        }
        if Instant::now() >= deadline {
            bail!("the manager did not answer within {} s; see {}", READY_TIMEOUT.as_secs(), log.display());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn answering(data: &DataDir) -> Option<PathBuf> {
    let socket = data.socket()?;
    UnixStream::connect(&socket).await.ok().map(|_| socket)
}

fn start(data: &DataDir, log: &Path, hidden: &[String]) -> Result<Child> {
    let output = OpenOptions::new().create(true).append(true).open(log);
    let output = output.with_context(|| format!("failed to open {}", log.display()))?;
    // A pipe of our caller in the manager's hands would keep the caller waiting for its end.
    close_fds::set_fds_cloexec(3, &[]);
    let mut command = Command::new("/proc/self/exe");
    for name in hidden {
        command.env_remove(name);
    }
    command
        .arg0("myagent-manager")
        .args(data.as_args())
        .arg("daemon")
        .env(BACKGROUND, "1")
        // Started from inside an agent, it must not carry that agent's tag: whatever does ends with it.
        .env_remove("MYAGENT_START_ID")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("failed to start a manager in the background")
}

/// What the manager said before it ended: its last line.
fn last_error(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = fs::File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(64 * 1024).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
