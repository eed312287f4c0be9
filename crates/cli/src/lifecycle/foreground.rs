//! `daemon`, `api`, `proxy`, `up`: the manager in the foreground; or, where one runs already, a guest that has it open
//! listeners for as long as we are here.

use super::{BACKGROUND, Held, upgrade};
use crate::args::server::Foreground;
use crate::client::Client;
use crate::config;
use crate::datadir::DataDir;
use crate::exit::Failure;
use crate::log::LogLevel;
use crate::output;
use crate::wire::{self, Ended, Overrides, Running};
use anyhow::{Context, Result, bail};
use hyper::Method;
use myagent_api::OpenListener;
use myagent_control::StopAll;
use myagent_core::request::{ListenRequest, ListenerKind};
use rustix::process::Pid;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long a manager may take to take over, for those who have listeners of it; and how often they ask.
const GUEST: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);

/// Runs it until it is told to end.
pub(crate) fn run_foreground(data: &DataDir, wanted: &Foreground) -> Result<()> {
    if std::env::var_os(BACKGROUND).is_some() {
        // Fails only for the leader of a group, which a process that was just started is not.
        let _ = rustix::process::setsid();
    }
    check_addresses(wanted)?;
    let mut settings = config::load(data)?;
    if let Some(allowed) = &wanted.allow_sources {
        settings.allow_sources.clone_from(allowed);
    }
    match Held::take(data)? {
        Some(held) => be_manager(held, settings, wanted),
        None if wanted.listeners().next().is_none() => {
            let who =
                data.manager().map_or_else(String::new, |manager| format!(" (process {})", manager.pid));
            let message = format!("a manager{who} runs already for {}", data.path().display());
            Err(Failure::AlreadyRunning(message).into())
        }
        None => attach(data, wanted),
    }
}

/// Without authentication nobody else may reach us.
fn check_addresses(wanted: &Foreground) -> Result<()> {
    for (kind, address) in wanted.listeners() {
        if !address.ip().is_loopback() && !wanted.insecure {
            let message = format!(
                "--host: {} can be reached by others, and there is no authentication; use 127.0.0.1, or --insecure if you mean it ({kind})",
                address.ip()
            );
            return Err(Failure::Usage(message).into());
        }
    }
    Ok(())
}

fn requests(wanted: &Foreground) -> Vec<ListenRequest> {
    let owner = format!("{} (process {})", wanted.command, std::process::id());
    wanted.listeners().map(|(kind, address)| ListenRequest { kind, address, owner: owner.clone() }).collect()
}

fn be_manager(held: Held, settings: myagent_core::settings::Settings, wanted: &Foreground) -> Result<()> {
    let log_level = crate::log::start(&held, &settings)?;
    if wanted.insecure {
        tracing::warn!("--insecure: others can reach the listeners, and there is no authentication");
    }
    let runtime = runtime()?;
    let result = runtime.block_on(serve(held, settings, log_level, wanted));
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

/// The runtime of a manager.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("failed to start the runtime")
}

async fn serve(
    held: Held,
    settings: myagent_core::settings::Settings,
    log_level: LogLevel,
    wanted: &Foreground,
) -> Result<()> {
    let signals = Signals::new()?;
    let limit = Duration::from_secs_f64(settings.shutdown_timeout);
    let overrides = Overrides {
        allow_sources: wanted.allow_sources.clone(),
        interval: wanted.interval,
        is_waited_for: std::env::var_os(BACKGROUND).is_none(),
    };
    let mut running = wire::start(held, settings, log_level, overrides, None)?;
    let mut guards = Vec::new();
    for request in requests(wanted) {
        let kind = request.kind;
        let opened = running.open(request).await.map_err(|problem| anyhow::anyhow!(problem.detail))?;
        tell_listening(kind, opened.address);
        guards.push(opened);
    }
    running.begin()?;
    run_until_told(running, guards, signals, limit).await
}

/// Runs a manager until it is told to end, by a signal or through the API, or until another process has taken over. `limit`:
/// how long stopping everything may take.
pub(crate) async fn run_until_told(
    running: Running,
    guards: Vec<OpenListener>,
    mut signals: Signals,
    limit: Duration,
) -> Result<()> {
    let mut is_told = false;
    let ended = tokio::select! {
        ended = running.ended() => ended,
        () = signals.next() => {
            tracing::info!("told to end by a signal");
            is_told = true;
            tokio::select! {
                ended = end(&running, limit) => ended?,
                () = signals.next() => bail!("told to end twice: services may still run; `status` of the next manager will tell"),
            }
        }
    };
    if matches!(ended, Ended::Upgraded(_)) {
        // Whoever is at the door is served by us, or told when the time for waiting is over.
        running.finish_handshakes().await;
        // Whoever told us meant the manager, which is another process now.
        if is_told || tokio::time::timeout(Duration::ZERO, signals.next()).await.is_ok() {
            tell_to_end(running.data());
        }
    }
    drop(guards);
    let (data, is_waited_for) = (running.data().clone(), running.is_waited_for());
    running.finish().await?;
    match ended {
        Ended::Failed => bail!("no manager could take over; services go on without one"),
        Ended::Upgraded(program) if is_waited_for => Err(upgrade::old::become_follower(&data, &program)),
        Ended::ShutDown | Ended::Upgraded(_) => Ok(()),
    }
}

/// Stops everything within `limit`. If another process is just taking over, it is waited for: there is nothing to stop then.
async fn end(running: &Running, limit: Duration) -> Result<Ended> {
    running.upgrade_is_over().await;
    if let Some(ended) = running.has_ended() {
        return Ok(ended);
    }
    let stopped = tokio::time::timeout(limit, running.end(StopAll::Stop, "signal")).await;
    stopped.map_err(|_| {
        anyhow::anyhow!("not everything was stopped within shutdown_timeout={} s", limit.as_secs_f64())
    })??;
    Ok(Ended::ShutDown)
}

/// Has the manager of a data directory stop everything.
fn tell_to_end(data: &DataDir) {
    let pid = data.manager().and_then(|manager| Pid::from_raw(i32::try_from(manager.pid).ok()?));
    match pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM)) {
        Some(Ok(())) => {}
        failed => tracing::error!(?failed, "the new manager could not be told to end"),
    }
}

/// A guest: the manager that runs opens the listeners, and closes them when our connections end.
fn attach(data: &DataDir, wanted: &Foreground) -> Result<()> {
    if wanted.allow_sources.is_some() {
        let message = "--allow-sources is for a manager that starts, and one runs already; write allow_sources into config.toml and restart it";
        return Err(Failure::Usage(message.to_owned()).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let mut requests = requests(wanted);
        let socket = super::ensure_manager(data, &[]).await?;
        let mut open = JoinSet::new();
        be_guest(&socket, &mut requests, &mut open).await?;
        for request in &requests {
            tell_listening(request.kind, request.address);
        }
        let pid = data.manager().map_or_else(|| "?".to_owned(), |manager| manager.pid.to_string());
        output::write_note(&format!("attached to the manager that runs already (process {pid}); it closes these when this command ends"));
        loop {
            tokio::select! {
                () = signals.next() => return Ok(()),
                _ = open.join_next() => {}
            }
            open = tokio::select! {
                () = signals.next() => return Ok(()),
                again = be_guest_again(data, &mut requests) => again?,
            };
        }
    })
}

/// The manager has ended; another one may have taken over from it, with our listeners. It may take a moment.
async fn be_guest_again(data: &DataDir, requests: &mut [ListenRequest]) -> Result<JoinSet<()>> {
    let deadline = Instant::now() + GUEST;
    loop {
        let Some(manager) = data.manager() else { bail!("the manager has ended") };
        let mut open = JoinSet::new();
        match be_guest(&manager.socket, requests, &mut open).await {
            Ok(()) => return Ok(open),
            Err(error) if Instant::now() >= deadline => return Err(error),
            // It is the old one still, or the new one has not taken everything over yet.
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Has the manager at `socket` open listeners for as long as the tasks in `open` run; from then on they have the addresses
/// that they really have.
async fn be_guest(socket: &Path, requests: &mut [ListenRequest], open: &mut JoinSet<()>) -> Result<()> {
    for request in requests {
        let mut client = Client::connect(socket).await?;
        let body = serde_json::to_value(&*request)?;
        let mut lines = client.lines(Method::POST, "/api/v1/manager/listeners", Some(&body)).await?;
        let first = lines.next().await?.context("the manager ended before it answered")?;
        let opened: Opened =
            serde_json::from_str(&first).context("the manager's answer is not understood")?;
        request.address = opened.address;
        open.spawn(async move {
            // The connection is kept by its client; the listener lives as long as the connection.
            let _client = client;
            while let Ok(Some(_)) = lines.next().await {}
        });
    }
    Ok(())
}

/// The first line of an open listener.
#[derive(serde::Deserialize)]
struct Opened {
    address: SocketAddr,
}

fn tell_listening(kind: ListenerKind, address: SocketAddr) {
    let scheme = match kind {
        ListenerKind::Proxy => "ws",
        ListenerKind::Api => "http",
    };
    output::write_note(&format!("{kind} listening on {scheme}://{address}"));
}

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
