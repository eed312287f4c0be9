//! The hidden subcommand `follow`: what a manager in the foreground leaves in its place when a new process has taken over.
//! It lives as long as there is a manager, ends it when it is told to end, and ends as it ended.

use crate::cli::GlobalArgs;
use crate::datadir::{DataDir, ManagerFile};
use crate::exit;
use crate::lifecycle::foreground::Signals;
use crate::lifecycle::shut_down;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, sleep};

/// How long after the end of a manager another one may say that it has taken over from it.
const SUCCESSOR: Duration = Duration::from_secs(2);

/// Follows the manager of the data directory that the arguments name.
pub(crate) fn follow(args: impl Iterator<Item = OsString>) -> ExitCode {
    exit::report(run(args))
}

fn run(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let (flag, value) =
        (args.next().unwrap_or_default(), args.next().context("the data directory is missing")?);
    let mut global = GlobalArgs::default();
    match flag.to_str() {
        Some("--data-dir") => global.data_dir = Some(value.into()),
        Some("--db-path") => global.db_path = Some(value.into()),
        _ => bail!("the data directory is missing"),
    }
    let data = DataDir::resolve(&global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(&data))
}

async fn watch(data: &DataDir) -> Result<()> {
    let mut signals = Signals::new()?;
    let mut manager = successor(data, None).await.context("no manager runs any more")?;
    loop {
        tokio::select! {
            () = ended(&manager) => {}
            () = signals.next() => {
                tokio::select! {
                    result = shut_down(data, false) => return result,
                    () = signals.next() => bail!("told to end twice: services may still run"),
                }
            }
        }
        reap(&manager);
        match successor(data, Some(&manager)).await {
            Some(next) => manager = next,
            // One that was told to end takes its file away.
            None if data.manager_file().exists() => bail!("the manager has ended (process {})", manager.pid),
            None => return Ok(()),
        }
    }
}

/// Waits for the end of a process.
async fn ended(manager: &ManagerFile) {
    let watch = || {
        let pid = Pid::from_raw(i32::try_from(manager.pid).ok()?)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // The number may be another's by now.
        (crate::datadir::start_time(manager.pid) == Some(manager.start_time)).then_some(pidfd)
    };
    let Some(pidfd) = watch() else { return };
    let Ok(watched) = myagent_handover::Watched::new(pidfd, Interest::READABLE) else { return };
    // Readable once it has ended.
    let readable = watched.async_io(Interest::READABLE, |pidfd| {
        let mut fds = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) => Err(std::io::ErrorKind::WouldBlock.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    });
    // An error ends the wait as well: what comes of it is looked up.
    let _ = readable.await;
}

/// The first manager that was started by our place is our child.
fn reap(manager: &ManagerFile) {
    let pid = i32::try_from(manager.pid).ok().and_then(Pid::from_raw);
    // It is not, or has been reaped.
    let _ = waitpid(pid, WaitOptions::NOHANG);
}

/// The manager there is, if it is another than `before`.
async fn successor(data: &DataDir, before: Option<&ManagerFile>) -> Option<ManagerFile> {
    let deadline = Instant::now() + SUCCESSOR;
    loop {
        let found = data.manager().filter(|found| before != Some(found));
        if found.is_some() || Instant::now() >= deadline || !data.manager_file().exists() {
            return found;
        }
        sleep(Duration::from_millis(20)).await;
    }
}
