//! The old manager's side: starts the new program, lets go, passes everything on. What it lets go of it cannot take back, so
//! that a failure after that ends in the old program taking over from itself.

use super::messages::{Begin, Down, PROTOCOL, Up, receive, send};
use crate::datadir::DataDir;
use crate::wire::Process;
use anyhow::{Context, Result, bail, ensure};
use myagent_control::StopAll;
use myagent_core::error::{Code, Problem};
use myagent_core::view::UpgradeView;
use myagent_handover::Channel;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long the new program may take to look whether it could take over.
const PREPARE: Duration = Duration::from_secs(30);
/// How long it may take to take over.
const TAKE_OVER: Duration = Duration::from_mins(1);

/// Has `program` take over. When this answers `Ok`, this process is not the manager any more.
pub(crate) async fn hand_over(process: &Process, program: &Path) -> Result<UpgradeView, Problem> {
    let refused = |error: &anyhow::Error| Problem::new(Code::UpgradeFailed, format!("{error:#}"));
    let Some(_only) = process.upgrading.try_lock().ok() else {
        return Err(Problem::new(Code::UpgradeFailed, "another upgrade is under way"));
    };
    if !process.is_settled.load(Ordering::Acquire) {
        let detail = "this manager is just taking over from another one; try again in a moment";
        return Err(Problem::new(Code::UpgradeFailed, detail));
    }
    let mut prepared = prepare(process, program).await.map_err(|error| refused(&error))?;
    tracing::info!(version = prepared.version, program = %program.display(), "a new manager takes over");
    match take_over(process, &prepared).await {
        Ok(pid) => {
            process.was_upgraded(program);
            let previous_version = env!("CARGO_PKG_VERSION").to_owned();
            Ok(UpgradeView { pid, version: prepared.version, previous_version })
        }
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the new manager did not take over; the old one starts anew"
            );
            // It must not come to life after all, beside us.
            let _ = prepared.child.kill();
            let _ = prepared.child.wait();
            // The caller gets no answer from us any more; it asks who the manager is.
            Err(refused(&start_anew(process).await))
        }
    }
}

/// A new program that could take over.
struct Prepared {
    child: Child,
    channel: Channel,
    version: String,
}

/// Starts the new program and asks whether it could take over. Nothing has changed if it could not.
async fn prepare(process: &Process, program: &Path) -> Result<Prepared> {
    let shown = program.display();
    ensure!(program.is_absolute(), "{shown} is not an absolute path");
    let metadata = fs::metadata(program).with_context(|| format!("failed to look at {shown}"))?;
    ensure!(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0, "{shown} is no program");
    let (channel, theirs) = Channel::pair_for_child()?;
    let mut child = Command::new(program)
        .arg0("myagent-manager")
        .arg("take-over")
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .spawn()
        .with_context(|| format!("failed to start {shown}"))?;
    let asked = async {
        send(&channel, &Down::Begin(begin(process, false)), None).await?;
        match receive::<Up>(&channel).await?.0 {
            Up::Prepared { version } => Ok(version),
            Up::Failed { message } => bail!("{shown} cannot take over: {message}"),
            Up::Ready { .. } => bail!("{shown} answered what was not asked"),
        }
    };
    let answer = timeout(PREPARE, asked)
        .await
        .unwrap_or_else(|_| bail!("{shown} did not answer within {} s", PREPARE.as_secs()));
    match answer {
        Ok(version) => Ok(Prepared { child, channel, version }),
        Err(error) => {
            // It may have ended by itself; it is ours to wait for in any case.
            let _ = child.kill();
            let _ = child.wait();
            Err(error.context(format!("{shown} is no manager that can take over; the old one goes on")))
        }
    }
}

fn begin(process: &Process, is_waited_for: bool) -> Begin {
    Begin {
        protocol: PROTOCOL,
        data: process.held.data.clone(),
        allow_sources: process.overrides.allow_sources.clone(),
        interval: process.overrides.interval,
        is_waited_for,
    }
}

/// Lets go and passes everything on; the process that has it now.
async fn take_over(process: &Process, prepared: &Prepared) -> Result<u32> {
    let channel = &prepared.channel;
    let taken = async {
        let passed = let_go(process).await?;
        pass_on(process, channel, passed).await?;
        match receive::<Up>(channel).await?.0 {
            Up::Ready { pid } => Ok(pid),
            Up::Failed { message } => bail!("it failed: {message}"),
            Up::Prepared { .. } => bail!("it answered what was not asked"),
        }
    };
    timeout(TAKE_OVER, taken)
        .await
        .unwrap_or_else(|_| bail!("it was not ready within {} s", TAKE_OVER.as_secs()))
}

type Passed = Vec<(super::messages::PassedListener, std::net::TcpListener)>;

/// The engine ends, and nobody but the front door accepts any more.
async fn let_go(process: &Process) -> Result<Passed> {
    let passed = process.listeners.pass_on()?;
    process.listeners.stop_api();
    process.unix_closing.cancel();
    process.control.shut_down(StopAll::Keep, "upgrade").await?;
    Ok(passed)
}

async fn pass_on(process: &Process, channel: &Channel, passed: Passed) -> Result<()> {
    for lock in process.held.locks() {
        send(channel, &Down::Lock, Some(lock.as_fd())).await?;
    }
    send(channel, &Down::Socket, Some(process.unix.as_fd())).await?;
    for (listener, socket) in &passed {
        send(channel, &Down::Listener(listener.clone()), Some(socket.as_fd())).await?;
    }
    send(channel, &Down::Go, None).await
}

/// Becomes a new process of our own program, with the same number, that takes over from us. Returns only if that fails, too.
async fn start_anew(process: &Process) -> anyhow::Error {
    let anew = async {
        let (channel, ours) = Channel::pair_for_child()?;
        let begin = begin(process, process.overrides.is_waited_for);
        send(&channel, &Down::Begin(begin), None).await?;
        // What was let go of is still open here.
        let passed = process.listeners.pass_on()?;
        pass_on(process, &channel, passed).await?;
        // What was sent waits in the socket; its other end closes with us.
        rustix::stdio::dup2_stdin(&ours)?;
        let error = Command::new("/proc/self/exe").arg0("myagent-manager").arg("take-over").exec();
        Err::<(), _>(anyhow::Error::from(error))
    };
    let error = anew.await.err().unwrap_or_else(|| anyhow::anyhow!("it did not start"));
    tracing::error!(
        error = format!("{error:#}"),
        "the old manager cannot start anew; its services go on without one"
    );
    process.give_up();
    error.context("the new manager failed, and the old one could not start anew")
}

/// For a manager in the foreground: the process that stays in its place. Returns only if it cannot be started.
pub(crate) fn become_follower(data: &DataDir, program: &Path) -> anyhow::Error {
    let mut command = Command::new(program);
    command.arg0("myagent-manager").arg("follow").args(data.as_args());
    let error = command.exec();
    anyhow::Error::from(error).context(format!("failed to start {}", program.display()))
}
