//! What an instance's task does: the effects of its state machine.

use super::Wanted;
use super::task::{Done, Runner, Task};
use crate::observed::What;
use crate::probe::{self, Target};
use crate::process::Watched;
use crate::{attach, launch, ports};
use myagent_core::config::ServiceConfig;
use myagent_core::lifecycle::{Event, State, Then};
use myagent_core::probe::Ready;
use myagent_core::service::{Endpoint, Source};
use myagent_core::wire::control::{Phase, Request};
use rustix::process::Signal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Beyond the grace: the runner's own 5 s for survivors of KILL, and time to answer.
const STOP_SLACK: Duration = Duration::from_secs(10);
/// How long a runner may take to end after it was dismissed.
const BURY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a port may stay taken after the last process has gone.
const PORT_TIMEOUT: Duration = Duration::from_secs(5);

impl Task {
    pub(super) fn launch(&mut self) {
        let (config, ports) = (self.deps.config.clone(), self.deps.ports.clone());
        let (wanted, last_port) = (self.wanted.clone(), self.last_port);
        self.work.spawn(async move {
            Done::Launched(launch::launch(config, ports, wanted, last_port).await.map(Box::new))
        });
    }

    pub(super) async fn request(&mut self, request: Request) -> Option<u64> {
        let link = self.runner.as_mut()?.link.as_mut()?;
        match link.send(request).await {
            Ok(id) => Some(id),
            Err(error) => {
                tracing::debug!(instance = self.name(), %error, "request not sent");
                None
            }
        }
    }

    pub(super) async fn begin_ready_probe(&mut self) {
        self.wants_ready_probe = true;
        let status = self.runner.as_ref().and_then(|runner| runner.status.as_ref());
        if status.is_some_and(|status| matches!(status.phase, Phase::Up)) {
            if matches!(self.wanted.service.config.ready, Ready::Log(_))
                && status.is_some_and(|s| s.ready_line_seen)
            {
                return Box::pin(self.became_ready()).await;
            }
            self.probe_ready();
        }
    }

    pub(super) fn probe_ready(&mut self) {
        if self.probing.is_some() || matches!(self.wanted.service.config.ready, Ready::Log(_)) {
            return;
        }
        let (target, found) = (self.target(), self.found.0.clone());
        self.probing = Some(self.work.spawn(async move {
            probe::until_ready(target, found).await;
            Done::Buried
        }));
    }

    pub(super) fn probe_health(&mut self) {
        self.check_at(self.target());
    }

    /// Takes over what is wanted from now on. How often health is checked changes at once; whom to ask, and how, is still as
    /// it was when the instance was started.
    pub(super) fn configure(&mut self, wanted: Wanted) {
        let pace = |wanted: &Wanted| {
            let config = &wanted.service.config;
            (config.health_check_enabled, config.health_check_interval, config.health_check_timeout)
        };
        let changed = pace(&self.wanted) != pace(&wanted);
        self.wanted = wanted;
        if let Some(checked) = self.checked.clone().filter(|_| changed) {
            let Target { interval, timeout, .. } = self.target();
            self.check_at(Target { timeout, interval, ..checked });
        }
    }

    fn check_at(&mut self, target: Target) {
        self.stop_probing();
        self.checked = Some(target.clone());
        if !self.wanted.service.config.health_check_enabled {
            return;
        }
        let (found, random) = (self.found.0.clone(), self.deps.config.random);
        self.probing = Some(self.work.spawn(async move {
            probe::keep_checking(target, random, found).await;
            Done::Buried
        }));
    }

    pub(super) fn stop_probing(&mut self) {
        self.wants_ready_probe = false;
        self.checked = None;
        if let Some(probing) = self.probing.take() {
            probing.abort();
        }
        // Results of the probe that was stopped must not count for the next one.
        while self.found.1.try_recv().is_ok() {}
    }

    /// Whom to probe, and how.
    pub(super) fn target(&self) -> Target {
        let service = &self.wanted.service;
        let endpoint = match &service.source {
            Source::External { url } => Endpoint::parse(url).ok(),
            _ => None,
        };
        let endpoint = endpoint.unwrap_or_else(|| Endpoint {
            tls: false,
            host: probe_host(&service.host),
            port: self.runner.as_ref().and_then(|runner| runner.record.port).unwrap_or(0),
            path: service.ws_path().to_owned(),
        });
        Target {
            endpoint,
            trust: self.deps.config.trust.clone(),
            ready: service.config.ready.clone(),
            timeout: self.timeout(),
            interval: ServiceConfig::seconds(service.config.health_check_interval),
        }
    }

    /// Its clients are to leave. One that cannot be asked (of another protocol, or deaf) is stopped as it is.
    pub(super) async fn drain_runner(&mut self) {
        let window = self.wanted.service.config.drain_timeout;
        let request = self.request(Request::Drain { draining: true, window: Some(window) }).await;
        match (request, &mut self.runner) {
            (Some(id), Some(runner)) => runner.drain_request = Some(id),
            _ => Box::pin(self.step(Event::Drained)).await,
        }
    }

    pub(super) async fn stop_runner(&mut self) {
        let grace = self.wanted.service.config.stop_grace;
        let spread = Some(self.spread.as_secs_f64()).filter(|spread| *spread > 0.0);
        let again = matches!(self.machine.state, State::Stopping { then: Then::Launch | Then::Wait(_) });
        self.stops += 1;
        let number = self.stops;
        let request = self.request(Request::Stop { grace: Some(grace), spread, again }).await;
        let name = self.name();
        let Some(Runner { process, stop_request, .. }) = &mut self.runner else {
            // It has gone in the meantime.
            Box::pin(self.step(Event::RunnerLost)).await;
            return;
        };
        if request.is_none() {
            // Of another protocol, or deaf: TERM means the same to every runner.
            tracing::info!(instance = name, "stopping its runner by a signal");
            process.signal(Signal::TERM);
        }
        *stop_request = Some(request.unwrap_or(0));
        let patience = ServiceConfig::seconds(grace).saturating_add(STOP_SLACK);
        self.work.spawn(async move {
            sleep(patience).await;
            Done::StopOverdue(number)
        });
    }

    pub(super) fn kill_runner(&mut self) {
        if let Some(runner) = &self.runner {
            runner.process.signal(Signal::KILL);
        }
    }

    /// The runner has nothing more to do: it ends by itself, or is helped to.
    pub(super) async fn end_runner(&mut self) {
        if let Some(process) = self.take_runner().await {
            self.work.spawn(async move {
                bury(process).await;
                Done::Buried
            });
        }
    }

    async fn take_runner(&mut self) -> Option<Watched> {
        let Runner { process, .. } = self.runner.take()?;
        self.asked.clear();
        let cut = self.deps.connections.write(|connections| connections.forget(self.key));
        let (name, now) = (self.name(), self.deps.config.clock.now());
        for connection in &cut {
            self.deps.config.access.cut(&name, connection, now);
        }
        self.deps.clients.runner_ended(self.key);
        self.deps.sessions.runner_ended(self.key, self.keep_sessions());
        let sums = std::mem::take(&mut self.report).take_sums();
        self.tell(What::RunnerEnded(Box::new(sums))).await;
        Some(process)
    }

    pub(super) async fn clear_leftovers(&mut self) {
        self.end_runner().await;
        let (config, tree) = (self.deps.config.clone(), self.tree.take());
        self.work.spawn(async move {
            match tree {
                Some(tree) => Done::Cleared(attach::clear(config.exe, config.runtime_dir, tree).await),
                None => Done::Cleared(Vec::new()),
            }
        });
    }

    /// *Stopped* only when the runner has ended too, and the port binds.
    pub(super) async fn end_runner_and_check_port(&mut self) {
        let process = self.take_runner().await;
        let port = self.lease.as_ref().map(ports::Lease::port);
        let host = ports::address(&self.wanted.service.host);
        self.work.spawn(async move {
            if let Some(process) = process {
                bury(process).await;
            }
            let Some(port) = port else { return Done::PortChecked(None) };
            let deadline = Instant::now() + PORT_TIMEOUT;
            loop {
                match ports::binds(host, port) {
                    Ok(()) => return Done::PortChecked(None),
                    Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(10)).await,
                    Err(error) => {
                        let holder = ports::port_holder(port);
                        let holder = holder.map_or_else(String::new, |(pid, command)| {
                            format!(" by process {pid} ({command})")
                        });
                        return Done::PortChecked(Some(format!(
                            "port {port} is still in use{holder}: {error}"
                        )));
                    }
                }
            }
        });
    }
}

/// Waits for the end of a runner that was told to end, and helps it if that takes too long.
async fn bury(mut process: Watched) {
    if tokio::time::timeout(BURY_TIMEOUT, process.exited()).await.is_err() {
        process.signal(Signal::KILL);
        process.exited().await;
    }
}

/// An agent that listens on every address is probed on the loopback one.
fn probe_host(host: &str) -> String {
    match ports::address(host) {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
        address => address.to_string(),
    }
}
