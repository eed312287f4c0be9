//! The front door: it accepts clients, reads the request head, chooses an instance and hands the socket itself over to the
//! runner of that instance. From then on the conversation is not in this process.
//!
//! It owns the listeners, the handshakes that are under way, the queue of clients that wait for a place, and one take-over
//! channel per runner and thread. It does not own the decision who gets a client (`myagent_core::routing`), the fleet (a
//! snapshot arrives through a `watch` channel and stays in force whatever happens to the control plane) or a single byte of
//! a conversation.
//!
//! Theory of operation: [`Proxy::start`] makes one OS thread per core, each with a single-threaded runtime (`thread`).
//! Every thread accepts from its own duplicate of the same listener (`accept`); a client is one task on one thread
//! (`client`): `head` reads the request head, `origin` refuses foreign web pages, the pure decision, with `ticks` and
//! `loads`, chooses the instance, `handover` offers the socket to its runner and waits for the answer. Where nobody can serve now the client
//! waits in the one `queue` of all threads; where nobody will, `refuse` (WebSocket) or `answer` (plain HTTP) tells it so.

mod accept;
mod answer;
mod client;
mod handover;
mod head;
mod loads;
mod proxy;
mod queue;
mod refuse;
mod thread;
mod ticks;

use myagent_core::InstanceKey;
use myagent_core::routing::TrustedProxies;
use myagent_core::wire::handover::Refusal;
use std::time::Duration;

pub use proxy::{ListenerId, Proxy};

/// Settings of the front door. Validated where they were parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyConfig {
    /// Clients that may wait at once, over all threads.
    pub queue_size: u32,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// Origins of web pages that may connect besides loopback ones: `https://app.example.org`, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// Peers whose word on a client's address is believed (`X-Forwarded-For`).
    pub trusted_proxies: TrustedProxies,
    /// How long a client may take for its request head, all in all.
    pub head_timeout: Duration,
    /// Threads that accept; 0 counts as 1.
    pub threads: usize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            queue_size: 100,
            queue_timeout: Duration::from_secs(8),
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            head_timeout: Duration::from_secs(10),
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)),
        }
    }
}

/// What happened at the door that is worth a look. A hand-over is not: runners report their connections, and a wake of the
/// control plane for each would cost more than the hand-over itself. Events are hints: when the channel is full they are
/// dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// A client was refused for want of an instance.
    TurnedAway {
        /// What it was told.
        reason: String,
        /// The service it named.
        service: Option<String>,
    },
    /// A runner gave a client back.
    GivenBack {
        /// Which runner.
        key: InstanceKey,
        /// Why.
        reason: Refusal,
    },
    /// A runner left an offer unanswered for a second; it gets no more until it answers.
    RunnerSilent {
        /// Which runner.
        key: InstanceKey,
    },
    /// An instance failed too many clients in a row; it gets none for a while.
    Ejected {
        /// Which.
        key: InstanceKey,
    },
    /// A silent runner said something; it gets clients again.
    RunnerAnswers {
        /// Which runner.
        key: InstanceKey,
    },
}
