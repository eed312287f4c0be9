//! What an instance task tells the control plane.

use jiff::Timestamp;
use myagent_core::health::Health;
use myagent_core::instance::{Exit, InstanceState};
use myagent_core::reconcile;
use myagent_core::wire::control::Report;
use myagent_core::wire::sums::Sums;
use myagent_core::{InstanceKey, StartId};
use std::path::PathBuf;
use std::time::Duration;

/// All that is needed to find a runner again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerRecord {
    /// Which start.
    pub start_id: StartId,
    /// The runner's process.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: a reused PID has another.
    pub start_time: u64,
    /// Its control socket.
    pub control: PathBuf,
    /// Its take-over socket.
    pub takeover: PathBuf,
    /// Its list of processes.
    pub tree: PathBuf,
    /// The agent's port; none for an external service.
    pub port: Option<u16>,
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether the agent has been ready.
    pub ready_at: Option<Timestamp>,
    /// The version of the service that it runs.
    pub version: u64,
}

/// An instance as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The word that people see.
    pub state: InstanceState,
    /// What planning needs to know.
    pub activity: reconcile::Observed,
    /// Gets clients.
    pub eligible: bool,
    /// Is worth waiting for.
    pub may_become_eligible: bool,
    /// Its runner, if there is one.
    pub runner: Option<RunnerRecord>,
    /// Its port, while it has one.
    pub port: Option<u16>,
    /// The agent's process.
    pub agent_pid: Option<u32>,
    /// Restarts since the user's `start`.
    pub restarts: u32,
    /// How the agent last ended.
    pub last_exit: Option<Exit>,
    /// The last lines before that.
    pub last_lines: Vec<String>,
    /// What is wrong.
    pub error: Option<String>,
    /// When it will be started again.
    pub next_try: Option<Timestamp>,
    /// Health.
    pub health: Health,
    /// When it was last checked.
    pub last_check: Option<Timestamp>,
    /// What the runner last reported, without connections.
    pub report: Report,
    /// The runner's protocol is not ours.
    pub outdated: bool,
    /// How the tree is held.
    pub ownership: Option<String>,
    /// Commands (start, stop, restart) that are reflected in this.
    pub commands_seen: u64,
}

/// One health check.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// When.
    pub at: Timestamp,
    /// How long it took.
    pub latency: Duration,
    /// What was wrong; none: healthy.
    pub failure: Option<String>,
}

/// Something for the control plane.
#[derive(Debug)]
pub struct Update {
    /// Of which instance.
    pub key: InstanceKey,
    /// What.
    pub what: What,
}

/// The kinds of [`Update`].
#[derive(Debug)]
pub enum What {
    /// It looks different now.
    Changed(Box<Observed>),
    /// For the audit log.
    Record {
        /// `instance.running`…
        kind: String,
        /// A sentence.
        why: String,
    },
    /// It was checked.
    Checked(HealthCheck),
    /// A runner ended; these are its last sums.
    RunnerEnded(Box<Sums>),
}
