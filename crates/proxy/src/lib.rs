//! The front door: it accepts clients, reads the request head, chooses an instance and hands the socket itself over to the
//! runner of that instance. From then on the conversation is not in this process.
//!
//! It owns the listeners, the handshakes that are under way, the queue of clients that wait for a place, and one take-over
//! channel per runner and thread. It does not own the decision who gets a client (`myagent_core::routing`), the fleet (a
//! snapshot arrives through a `watch` channel and stays in force whatever happens to the control plane) or a single byte of
//! a conversation.
//!
//! Theory of operation: [`Proxy::start`] makes one OS thread per core, each with a single-threaded runtime (`thread`).
//! Every thread accepts from its own duplicate of the same listener (`accept`). Most clients are handed over at the first
//! look (`arrive`): `head` parses the request, which `strict` keeps unambiguous, `admission` lets it in, the pure decision, with `ticks` and `loads`, chooses
//! the instance, and `handover` offers the socket to its runner; what is known of its way (`journey`) waits there for the
//! answer. A client that is slow, or has to wait, gets a task: `arrive` reads its requests, `route` takes it on, where nobody
//! can serve now in the one `queue` of all threads; where nobody will, `refuse` (WebSocket) or `answer` (plain HTTP) tells it
//! so. `crowd` bounds how many of them there are. A plain request is not handed over: `plain` carries it to the chosen agent
//! and the answer back, and then the client's connection is here for its next request. What happens is counted on the way
//! (`counters`).

mod accept;
mod admission;
mod answer;
mod arrive;
mod client;
mod counters;
mod crowd;
mod handover;
mod head;
mod journey;
mod loads;
pub mod look;
mod plain;
mod proxy;
mod proxy_protocol;
mod queue;
mod refuse;
mod route;
mod strict;
mod thread;
mod ticks;

use myagent_core::InstanceKey;
use myagent_core::routing::TrustedProxies;
use myagent_core::wire::handover::Refusal;
use myagent_tls::Trust;
use std::time::Duration;

pub use admission::Limits;
pub use proxy::{Known, ListenerId, Proxy, Requests};

/// Settings of the front door. Validated where they were parsed.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Clients that may wait at once, over all threads.
    pub queue_size: u32,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// Origins of web pages that may connect besides loopback ones: `https://app.example.org`, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// Peers whose word on a client's address is believed (`X-Forwarded-For`).
    pub trusted_proxies: TrustedProxies,
    /// Whether these peers begin each connection with a header of the PROXY protocol, which says whose it is.
    pub proxy_protocol: bool,
    /// Who is let in at all.
    pub limits: Limits,
    /// How long a client may take for its request head, all in all.
    pub head_timeout: Duration,
    /// How long an agent may take to begin its answer to a plain request, once it has all of it, and to go on with it.
    pub answer_timeout: Duration,
    /// How long a client may take none of its answer, or send nothing of its body; an agent may read nothing of that as long.
    pub stall_timeout: Duration,
    /// Whom to trust where a plain request goes to an external service over TLS.
    pub trust: Trust,
    /// Threads that accept; 0 counts as 1.
    pub threads: usize,
    /// Most clients of one thread whose sockets are here at once; fewer where the system allows few open files. Beyond that
    /// the slowest are sent away.
    pub most_here: usize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            queue_size: 100,
            queue_timeout: Duration::from_secs(8),
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            limits: Limits::default(),
            head_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_mins(5),
            stall_timeout: Duration::from_secs(30),
            trust: Trust::system(),
            most_here: 4096,
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
    /// Clients were not let in, in the last second.
    Denied {
        /// What the last of them was told.
        reason: String,
        /// How many.
        count: u32,
    },
    /// An agent could not be reached for a plain request, or did not answer it.
    RequestFailed {
        /// Which instance.
        key: InstanceKey,
        /// What went wrong.
        reason: String,
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
