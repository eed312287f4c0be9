//! `daemon`, `api`, `proxy`, `up`: the manager in the foreground; or, where one runs already, a guest that has it open
//! listeners for as long as we are here.

use super::{BACKGROUND, Held};
use crate::args::server::Foreground;
use crate::client::Client;
use crate::config;
use crate::datadir::DataDir;
use crate::exit::Failure;
use crate::output;
use crate::wire;
use anyhow::{Context, Result, bail};
use hyper::Method;
use myagent_control::StopAll;
use myagent_core::request::{ListenRequest, ListenerKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

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
    crate::log::start(&held, &settings.log_level)?;
    if wanted.insecure {
        tracing::warn!("--insecure: others can reach the listeners, and there is no authentication");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let result = runtime.block_on(serve(held, settings, wanted));
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(held: Held, settings: myagent_core::settings::Settings, wanted: &Foreground) -> Result<()> {
    let mut signals = Signals::new()?;
    let timeout = Duration::from_secs_f64(settings.shutdown_timeout);
    let mut running = wire::start(held, settings, wanted.interval)?;
    let mut guards = Vec::new();
    for request in requests(wanted) {
        let kind = request.kind;
        let opened = running.open(request).await.map_err(|problem| anyhow::anyhow!(problem.detail))?;
        tell_listening(kind, opened.address);
        guards.push(opened);
    }
    running.begin()?;
    tokio::select! {
        () = running.ended() => {}
        () = signals.next() => {
            tracing::info!("told to end by a signal");
            tokio::select! {
                ended = tokio::time::timeout(timeout, running.end(StopAll::Stop, "signal")) => {
                    ended.map_err(|_| anyhow::anyhow!("not everything was stopped within shutdown_timeout={} s", timeout.as_secs_f64()))??;
                }
                () = signals.next() => bail!("told to end twice: services may still run; `status` of the next manager will tell"),
            }
        }
    }
    drop(guards);
    running.finish().await
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
        let socket = super::ensure_manager(data, &[]).await?;
        let mut open = JoinSet::new();
        for request in requests(wanted) {
            let kind = request.kind;
            let mut client = Client::connect(&socket).await?;
            let body = serde_json::to_value(&request)?;
            let mut lines = client.lines(Method::POST, "/api/v1/manager/listeners", Some(&body)).await?;
            let first = lines.next().await?.context("the manager ended before it answered")?;
            let opened: Opened = serde_json::from_str(&first).context("the manager's answer is not understood")?;
            tell_listening(kind, opened.address);
            open.spawn(async move {
                // The connection is kept by its client; the listener lives as long as the connection.
                let _client = client;
                while let Ok(Some(_)) = lines.next().await {}
            });
        }
        let pid = data.manager().map_or_else(|| "?".to_owned(), |manager| manager.pid.to_string());
        output::write_note(&format!("attached to the manager that runs already (process {pid}); it closes these when this command ends"));
        tokio::select! {
            () = signals.next() => Ok(()),
            _ = open.join_next() => bail!("the manager has ended"),
        }
    })
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

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
