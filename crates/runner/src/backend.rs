//! Who serves the clients of this instance: the relay in front of a command or an external service, the host of an agent
//! file, or nobody.

use crate::event::{Event, Load};
use crate::runner::Runner;
use myagent_core::config::ServiceConfig;
use myagent_core::http::{Upstream, upstream};
use myagent_core::service::Endpoint;
use myagent_core::wire::handover::{Ask, Moved, Refusal, Up};
use myagent_core::wire::launch::AgentLaunch;
use myagent_host::{Host, HostConfig, LoadError};
use myagent_journal::Journal;
use myagent_relay::relay::{self, Relay};
use myagent_relay::table::Place;
use myagent_relay::{Client, GivenBack};
use myagent_tls::Trust;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// A conversation that was begun; it ends when the future does.
pub(crate) type Conversation = Pin<Box<dyn Future<Output = ()>>>;

/// There is nobody who serves.
const NOT_UP: (Refusal, &str) = (Refusal::NotReady, "the instance is not up; try again");
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

fn unwilling((reason, detail): (Refusal, &'static str)) -> Up {
    Up::Unwilling { reason, detail: detail.to_owned() }
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

    /// What another runner is told that has a client for a session, or brings one with it; then with the place that is kept
    /// for it.
    pub(crate) fn answer(&self, ask: &Ask) -> (Up, Option<Place>) {
        if ask.bring {
            return match self.would_take() {
                Ok((place, places)) => (Up::Willing { places: Some(places) }, Some(place)),
                Err(refusal) => (unwilling(refusal), None),
            };
        }
        let answer = match self {
            Self::Host(host, _) => host.is_willing(ask.session_id).map(|()| host.places()),
            Self::None => Err(NOT_UP),
            Self::Relay(_) => Err((Refusal::UnknownSession, "no sessions are kept here")),
        };
        match answer {
            Ok(places) => (Up::Willing { places: Some(places) }, None),
            Err(refusal) => (unwilling(refusal), None),
        }
    }

    fn would_take(&self) -> Result<(Place, u32), (Refusal, &'static str)> {
        match self {
            Self::Host(host, _) => host.would_take(),
            Self::None => Err(NOT_UP),
            Self::Relay(_) => Err((Refusal::UnknownSession, "no sessions are kept here")),
        }
    }

    /// Adopts what a client of another runner brings.
    pub(crate) async fn adopt(&self, moved: &Moved) -> Result<(), Up> {
        match self {
            Self::Host(host, _) => host.adopt(moved).await.map_err(unwilling),
            Self::None | Self::Relay(_) => Err(unwilling(NOT_UP)),
        }
    }

    /// Takes a client of another runner; none: there is nobody to serve it (any more), and it is closed.
    pub(crate) fn take_over(&self, moved: Moved, raw: Vec<u8>, stream: TcpStream) -> Option<Conversation> {
        match self {
            Self::Host(host, _) => Some(Box::pin(host.take_over(moved, raw, stream))),
            Self::None | Self::Relay(_) => None,
        }
    }

    /// Whether a worker's event loop answers; a relay has none that could be blocked.
    pub(crate) fn is_responsive(&self) -> bool {
        match self {
            Self::None | Self::Relay(_) => true,
            Self::Host(host, _) => !host.is_ready() || host.worker_loop_ok(),
        }
    }

    /// Whether a host has given up its worker and waits for a fresh one.
    pub(crate) fn replaces_worker(&self) -> bool {
        matches!(self, Self::Host(host, _) if host.replaces_worker())
    }

    /// The agent's process is gone; a host keeps its clients and waits for the next one.
    pub(crate) fn worker_lost(&self) {
        if let Self::Host(host, _) = self {
            host.worker_lost();
        }
    }

    /// Says goodbye to the clients of a host, and closes its listener; the clients of a relay are closed by the table.
    pub(crate) async fn stop(&self, code: u16, reason: &str, spread: Duration) {
        if let Self::Host(host, _) = self {
            host.stop(code, reason, spread).await;
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

impl Runner {
    /// Puts a relay in front of the agent.
    pub(crate) fn make_relay(&mut self) -> Result<(), String> {
        let target = match &self.spec.agent {
            AgentLaunch::External { url } => Upstream::External { endpoint: Endpoint::parse(url)? },
            AgentLaunch::Command { path, .. } => {
                Upstream::local(&self.spec.host, self.spec.port, path.as_str())?
            }
            AgentLaunch::File { .. } => return Err("an agent file is not relayed".to_owned()),
        };
        let instance = format!("{}-{}", self.spec.service, self.spec.index);
        let config = relay::Config {
            target,
            trust: Trust::system(),
            service: self.spec.service.clone(),
            instance,
            slow_client: ServiceConfig::seconds(self.spec.config.slow_client_timeout),
        };
        let relay = Relay::new(config, self.table.clone());
        self.backend.replace(Backend::Relay(relay));
        Ok(())
    }

    /// Makes the host of an agent file, and its listener: before the worker, so that a port that is taken costs nothing.
    pub(crate) fn make_host(&mut self) -> Result<(), String> {
        let spec = Rc::clone(&self.spec);
        let AgentLaunch::File { path, .. } = &spec.agent else {
            return Err("this is not an agent file".to_owned());
        };
        let address = upstream::listener(&spec.host, spec.port)?;
        let listener = listen(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let journal_folder = spec.paths.journal.clone();
        let journal = Journal::open(myagent_journal::Config {
            folder: journal_folder.clone(),
            start_id: spec.start_id,
            service: spec.service.clone(),
            instance: format!("{}-{}", spec.service, spec.index),
            takeover: spec.paths.takeover.clone(),
            max_bytes: u64::from(spec.config.journal_max_mb) * 1024 * 1024,
            keep: ServiceConfig::seconds(spec.config.session_timeout),
            clock: Arc::clone(&self.clock),
        })
        .map_err(|error| error.to_string())?;
        let (notices, mut noticed) = mpsc::channel(NOTICES);
        let config = HostConfig {
            service: spec.service.clone(),
            instance: format!("{}-{}", spec.service, spec.index),
            config: spec.config.clone(),
            agent_file: path.clone(),
            clock: Arc::clone(&self.clock),
            notices,
            random_id: uuid::Uuid::new_v4,
            journal,
            journal_folder,
        };
        let host = Host::new(config, self.table.clone());
        self.sessions = Some(host.stats());
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
        let is_other = matches!(self.spec.agent, AgentLaunch::File { worker: Some(_), .. });
        self.tasks.spawn_local(async move {
            let attach = async {
                if is_other {
                    host.attach_other_worker(stream).await
                } else {
                    host.attach_worker(stream).await
                }
            };
            let load = match timeout(ServiceConfig::seconds(seconds), attach).await {
                Ok(Ok(_)) => Load::Done,
                // A worker that is gone may also show as a broken socket.
                Ok(Err(LoadError::Ended | LoadError::Io(_))) => Load::Ended,
                Ok(Err(error)) => Load::Failed(error.to_string()),
                Err(_) => {
                    Load::Failed(format!("the agent file was not loaded within start_timeout={seconds} s"))
                }
            };
            let done = matches!(load, Load::Done);
            let _ = events.send(Event::Loaded { worker, load }).await;
            if done && host.worker_gone().await {
                let _ = events.send(Event::Recycle { worker }).await;
            }
        });
    }
}

fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
