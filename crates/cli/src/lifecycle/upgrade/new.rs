//! The new manager's side, the hidden subcommand `take-over`: its standard input is the socket to the old one.

use super::messages::{Begin, Down, PROTOCOL, PassedListener, Up, receive, send};
use crate::config;
use crate::exit;
use crate::lifecycle::foreground::{Signals, run_until_told};
use crate::lifecycle::{Held, foreground};
use crate::wire::{self, Overrides};
use anyhow::{Context, Result, bail, ensure};
use myagent_core::settings::Settings;
use myagent_handover::Channel;
use myagent_store::Store;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::Duration;

/// How long runners may take to be found again before clients are let in all the same.
const ATTACH: Duration = Duration::from_secs(3);

/// What was passed on.
struct Inheritance {
    held: Held,
    unix: UnixListener,
    listeners: Vec<(PassedListener, TcpListener)>,
}

/// Runs until it is told to end.
pub(crate) fn take_over() -> ExitCode {
    exit::report(run())
}

fn run() -> Result<()> {
    // Fails only for the leader of a group, which is what one that takes over from itself is.
    let _ = rustix::process::setsid();
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .context("standard input is not open; this command is for the manager itself")?;
    rustix::stdio::dup2_stdin(OpenOptions::new().read(true).open("/dev/null")?)?;
    let runtime = foreground::runtime()?;
    let result = runtime.block_on(serve(socket));
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(socket: OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let channel = Channel::from_fd(socket)?;
    let (begin, settings) = match prepare(&channel).await {
        Ok(prepared) => prepared,
        Err(error) => {
            // The old one tells it to whoever asked.
            tell(&channel, &Up::Failed { message: format!("{error:#}") }).await;
            return Err(error);
        }
    };
    tell(&channel, &Up::Prepared { version: env!("CARGO_PKG_VERSION").to_owned() }).await;
    let inheritance = inherit(&channel, &begin).await?;
    match be_manager(&channel, inheritance, settings, &begin).await {
        Ok(()) => Ok(()),
        Err(error) => {
            tell(&channel, &Up::Failed { message: format!("{error:#}") }).await;
            Err(error)
        }
    }
}

/// The old manager may be gone: one that takes over from itself has nobody to tell.
async fn tell(channel: &Channel, up: &Up) {
    let _ = send(channel, up, None).await;
}

/// Looks whether we could take over, and changes nothing.
async fn prepare(channel: &Channel) -> Result<(Begin, Settings)> {
    let (Down::Begin(begin), _) = receive::<Down>(channel).await? else {
        bail!("the old manager did not begin");
    };
    ensure!(
        begin.protocol == PROTOCOL,
        "the managers speak versions {} and {PROTOCOL} of the protocol for this; use: shutdown --keep-services",
        begin.protocol
    );
    let mut settings = config::load(&begin.data)?;
    if let Some(allowed) = &begin.allow_sources {
        settings.allow_sources.clone_from(allowed);
    }
    Store::check(begin.data.database())?;
    // One that takes over from itself needs no more room than it has.
    if begin.data.manager().is_none_or(|manager| manager.pid != std::process::id()) {
        Held::check_room(&begin.data)?;
    }
    Ok((begin, settings))
}

async fn inherit(channel: &Channel, begin: &Begin) -> Result<Inheritance> {
    let (mut locks, mut unix, mut listeners) = (Vec::new(), None, Vec::new());
    loop {
        let (message, descriptor) = receive::<Down>(channel).await?;
        let descriptor = || descriptor.context("a descriptor did not come with its message");
        match message {
            Down::Lock => locks.push(File::from(descriptor()?)),
            Down::Socket => unix = Some(UnixListener::from(descriptor()?)),
            Down::Listener(listener) => listeners.push((listener, TcpListener::from(descriptor()?))),
            Down::Go => break,
            Down::Begin(_) => bail!("the old manager began twice"),
        }
    }
    let locks = locks.try_into().map_err(|_| anyhow::anyhow!("the locks did not come"))?;
    let held = Held::inherit(&begin.data, locks)?;
    Ok(Inheritance { held, unix: unix.context("the command socket did not come")?, listeners })
}

async fn be_manager(
    channel: &Channel,
    inheritance: Inheritance,
    settings: Settings,
    begin: &Begin,
) -> Result<()> {
    let Inheritance { held, unix, listeners } = inheritance;
    let log_level = crate::log::start(&held, &settings)?;
    let signals = Signals::new()?;
    let limit = Duration::from_secs_f64(settings.shutdown_timeout);
    let Begin { allow_sources, interval, is_waited_for, .. } = begin.clone();
    let overrides = Overrides { allow_sources, interval, is_waited_for };
    let mut running = wire::start(held, settings, log_level, overrides, Some(unix))?;
    running.run_engine();
    if tokio::time::timeout(ATTACH, running.attached()).await.is_err() {
        tracing::warn!("not every instance was found again in time; clients are let in all the same");
    }
    let mut guards = Vec::new();
    for (listener, socket) in listeners {
        guards.extend(running.adopt(listener, socket).await?);
    }
    running.announce()?;
    tell(channel, &Up::Ready { pid: std::process::id() }).await;
    tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "took over");
    run_until_told(running, guards, signals, limit).await
}
