//! The manager's side of runners.
//!
//! # Theory of operation
//!
//! Each instance has one task ([`instance`]). It owns the pure state machine of [`myagent_core::lifecycle`], turns what
//! happens (commands, lines from the runner, probe results, timers, the death of the runner) into events, and performs the
//! effects. It never decides. What it sees goes up a bounded channel as [`Update`]s; what is wanted comes down as
//! [`Command`]s through an [`InstanceHandle`].
//!
//! [`launch`] starts a runner, [`attach`] finds one again that outlived its manager, [`link`] speaks with it, [`probe`] asks
//! the agent itself, [`ports`] says which port is free, [`access`] writes down which clients were there, [`environment`] what an agent's environment is, [`process`] tells
//! whether a process is still the one that it was.

mod access;
mod attach;
mod clients;
mod connections;
mod environment;
mod instance;
mod launch;
mod link;
mod observed;
mod ports;
mod probe;
mod process;
mod sampled;
mod sessions;

pub use access::AccessLog;
pub use attach::stop_stray;
pub use clients::Clients;
pub use connections::OpenConnections;
pub use instance::{Command, Deps, InstanceHandle, Past, Wanted, spawn};
pub use observed::{HealthCheck, Observed, RunnerRecord, Update, What};
pub use ports::{Ports, binds, port_holder};
pub use process::start_time;
pub use sampled::Sampled;
pub use sessions::Sessions;

use myagent_core::Clock;
use myagent_tls::Trust;
use std::path::PathBuf;
use std::sync::Arc;

/// What every instance task needs.
#[derive(Clone)]
pub struct Config {
    /// The program that is run as `runner` and `clear-tree`: ourselves.
    pub exe: PathBuf,
    /// Folder of the runners' sockets.
    pub runtime_dir: PathBuf,
    /// Folder of the logs.
    pub log_dir: PathBuf,
    /// Folder of the lists of processes that runners keep.
    pub tree_dir: PathBuf,
    /// Folder of the journals.
    pub journal_dir: PathBuf,
    /// Where it is noted that a client's connection has ended.
    pub access: AccessLog,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Uniform in `[0, 1)`.
    pub random: fn() -> f64,
    /// A new UUID.
    pub new_id: fn() -> uuid::Uuid,
    /// Whom probes of external services trust.
    pub trust: Trust,
}
