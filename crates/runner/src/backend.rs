//! Who serves the clients of this instance: the relay in front of a command or an external service, the host of an agent
//! file, or nobody.

use crate::event::{Event, Load};
use crate::runner::Runner;
use myagent_core::config::ServiceConfig;
use myagent_core::service::Endpoint;
use myagent_core::wire::handover::Refusal;
use myagent_core::wire::launch::AgentLaunch;
use myagent_host::{Host, HostConfig, LoadError};
use myagent_relay::relay::{Relay, Target};
use myagent_relay::{Client, GivenBack};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// A conversation that was begun; it ends when the future does.
pub(crate) type Conversation = Pin<Box<dyn Future<Output = ()>>>;

/// Notices of a host that may wait; more are dropped.
const NOTICES: usize = 16;

/// Who serves clients. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) enum Backend {
    /// Nobody: the agent is not up, or has ended.
    #[default]
    None,
    /// The relay.
    Relay(Rc<Relay>),
    /// The host of an agent file, and its listener.
    Host(Host, AbortHandle),
}

impl Backend {
    /// Takes a client. Nothing is written to it before it is taken.
    pub(crate) async fn begin(&self, client: Client) -> Result<Conversation, GivenBack> {
        match self {
            Self::None => Err(GivenBack::new(client, Refusal::NotReady, "the agent is not up")),
            Self::Relay(relay) => {
                let conversation = relay.begin(client).await?;
                Ok(Box::pin(conversation.run()))
            }
            Self::Host(host, _) => Ok(Box::pin(host.begin(client)?)),
        }
    }

    /// Whether a worker's event loop answers; a relay has none that could be blocked.
    pub(crate) fn is_responsive(&self) -> bool {
        match self {
            Self::None | Self::Relay(_) => true,
            Self::Host(host, _) => !host.is_ready() || host.worker_loop_ok(),
        }
    }

    /// The agent's process is gone; a host keeps its clients and waits for the next one.
    pub(crate) fn worker_lost(&self) {
        if let Self::Host(host, _) = self {
            host.worker_lost();
        }
    }

    /// Says goodbye to the clients of a host, and closes its listener; the clients of a relay are closed by the table.
    pub(crate) async fn stop(&self, code: u16, reason: &str) {
        if let Self::Host(host, _) = self {
            host.stop(code, reason).await;
        }
        self.close_listener();
    }

    /// Frees the port.
    pub(crate) fn close_listener(&self) {
        if let Self::Host(_, listener) = self {
            listener.abort();
        }
    }
}

/// The address that an agent listens on. The validation of services lets nothing but addresses and `localhost` pass.
pub(crate) fn agent_address(host: &str, port: u16) -> Result<SocketAddr, String> {
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => host.parse().map_err(|_| format!("host {host:?} is not an IP address or localhost"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

impl Runner {
    /// Puts a relay in front of the agent.
    pub(crate) fn make_relay(&mut self) -> Result<(), String> {
        let target = match &self.spec.agent {
            AgentLaunch::External { url } => Target::External { endpoint: Endpoint::parse(url)? },
            AgentLaunch::Command { path, .. } => Target::Local {
                addr: reachable(agent_address(&self.spec.host, self.spec.port)?),
                path: path.clone(),
            },
            AgentLaunch::File { .. } => return Err("an agent file is not relayed".to_owned()),
        };
        let instance = format!("{}-{}", self.spec.service, self.spec.index);
        let relay = Relay::new(target, self.table.clone(), self.spec.service.clone(), instance);
        self.backend.replace(Backend::Relay(relay));
        Ok(())
    }

    /// Makes the host of an agent file, and its listener: before the worker, so that a port that is taken costs nothing.
    pub(crate) fn make_host(&mut self) -> Result<(), String> {
        let spec = Rc::clone(&self.spec);
        let AgentLaunch::File { path, .. } = &spec.agent else {
            return Err("this is not an agent file".to_owned());
        };
        let address = agent_address(&spec.host, spec.port)?;
        let listener = listen(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let (notices, mut noticed) = mpsc::channel(NOTICES);
        let config = HostConfig {
            service: spec.service.clone(),
            instance: format!("{}-{}", spec.service, spec.index),
            config: spec.config.clone(),
            agent_file: path.clone(),
            clock: Arc::clone(&self.clock),
            notices,
            random_id: uuid::Uuid::new_v4,
        };
        let host = Host::new(config, self.table.clone());
        let events = self.events.clone();
        self.tasks.spawn_local(async move {
            while let Some((kind, message)) = noticed.recv().await {
                let _ = events.send(Event::Notice { kind, message }).await;
            }
        });
        let listening = host.clone();
        let listener = self.tasks.spawn_local(async move { listening.listen(listener).await });
        self.backend.replace(Backend::Host(host, listener));
        Ok(())
    }

    /// Gives the host its next worker; [`Event::Loaded`] follows.
    pub(crate) fn attach_worker(&mut self, stream: UnixStream) {
        let Backend::Host(host, _) = self.backend.borrow().clone() else { return };
        let (worker, events) = (self.worker, self.events.clone());
        let seconds = self.spec.config.start_timeout;
        self.tasks.spawn_local(async move {
            let load = match timeout(ServiceConfig::seconds(seconds), host.attach_worker(stream)).await {
                Ok(Ok(_)) => Load::Done,
                // A worker that is gone may also show as a broken socket.
                Ok(Err(LoadError::Ended | LoadError::Io(_))) => Load::Ended,
                Ok(Err(error)) => Load::Failed(error.to_string()),
                Err(_) => {
                    Load::Failed(format!("the agent file was not loaded within start_timeout={seconds} s"))
                }
            };
            let _ = events.send(Event::Loaded { worker, load }).await;
        });
    }
}

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Who listens on every address is reached on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
