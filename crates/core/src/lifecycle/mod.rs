//! The life of one instance: state × event → state + effects. Pure; the supervisor performs the effects.
//!
//! ```text
//! stopped ─Start─▶ launching ─Launched─▶ starting ─Ready─▶ running ⇄ unhealthy
//!    ▲                 ▲                     │                │          │
//!    │              Timer                 Exited / RunnerLost / still down
//!    │                 │                     ▼
//!    └─Gone─ stopping  └──── waiting ◀── restart policy ──▶ error ─Timer, Start─▶ launching
//!               ▲
//!            Drained, Timer
//!               └─────────── draining ◀─Leave─ running, unhealthy
//! ```
//!
//! People see fewer words ([`State::shown`]): launching, waiting and recovering are `starting` to them.

mod step;

use crate::clock::Tick;
use crate::config::ServiceConfig;
use crate::instance::{ExitCause, InstanceState};
use crate::restart;
use std::time::Duration;

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing runs and nothing is wanted.
    Stopped,
    /// Its runner is being started (or found again).
    Launching,
    /// The runner is there; the agent is not ready yet.
    Starting {
        /// When the start has taken too long.
        deadline: Tick,
    },
    /// Ready: gets clients.
    Running,
    /// Fails its checks: gets no clients.
    Unhealthy,
    /// The runner of an agent file restarts its worker by itself.
    Recovering,
    /// Ended; the next start is at this time.
    Waiting {
        /// When.
        until: Tick,
    },
    /// The runner is gone; what it left is being killed.
    Clearing {
        /// And then.
        then: Then,
    },
    /// To be stopped when its clients have left.
    Draining {
        /// And then.
        then: Then,
        /// When that has taken too long.
        deadline: Tick,
    },
    /// Being stopped.
    Stopping {
        /// And then.
        then: Then,
    },
    /// Given up, until the user or the clock says otherwise.
    Error {
        /// Next try, if there is to be one.
        retry_at: Option<Tick>,
    },
}

/// What follows when nothing of an instance is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It stays stopped.
    Stop,
    /// It is started at once.
    Launch,
    /// It is started at this time.
    Wait(Tick),
    /// It is in error.
    Error {
        /// Next try.
        retry_at: Option<Tick>,
    },
    /// It ended with its runner: the restart policy decides.
    Judge,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The user (or the desired state) wants it to run.
    Start,
    /// The user wants it stopped.
    Stop,
    /// The user wants it stopped and started.
    Restart,
    /// It is to be stopped, and its clients are to leave before: there are others that serve them.
    Leave {
        /// And started then.
        again: bool,
    },
    /// Its clients have left.
    Drained,
    /// A runner is there. `ready`: it was ready before this manager began.
    Launched {
        /// No need to wait for readiness.
        ready: bool,
    },
    /// No runner could be started, or its agent could not: told in `cause`.
    LaunchFailed {
        /// Why.
        cause: String,
    },
    /// The readiness probe succeeded.
    Ready,
    /// The worker of an agent file died; its runner starts another.
    WorkerDown {
        /// How it ended.
        cause: String,
    },
    /// The new worker is up.
    WorkerUp,
    /// The agent ended and its tree is gone; the runner waits to be dismissed.
    Exited {
        /// How.
        cause: ExitCause,
    },
    /// The runner is gone.
    RunnerLost,
    /// What the runner left is dead, but for these.
    Cleared {
        /// Processes that could not be killed.
        survivors: Vec<u32>,
    },
    /// Checks say down (again and again while it is).
    Down {
        /// A client waits for it or it said something recently.
        busy: bool,
        /// What failed.
        reason: String,
    },
    /// Checks say up again.
    Up,
    /// The runner has stopped everything, but for these.
    Gone {
        /// Processes that could not be killed.
        survivors: Vec<u32>,
    },
    /// The time asked for by [`Effect::WakeAt`] has come.
    Timer,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start a runner; answer with `Launched` or `LaunchFailed`.
    Launch,
    /// Probe for readiness at short intervals until `Ready`.
    ProbeReady,
    /// Check health at its interval.
    ProbeHealth,
    /// Stop probing.
    StopProbing,
    /// Ask the runner to have its clients leave; answer with `Drained`.
    DrainRunner,
    /// Ask the runner to stop everything; answer with `Gone` (or `RunnerLost`).
    StopRunner,
    /// Tell the runner that its exit is noted; it ends.
    DismissRunner,
    /// Kill what a lost runner left; answer with `Cleared`.
    ClearLeftovers,
    /// Send `Timer` at this time (replaces an earlier one).
    WakeAt(Tick),
    /// For the audit log.
    Record {
        /// `instance.running`…
        kind: &'static str,
        /// A sentence.
        why: String,
    },
}

/// The settings that matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Restarts.
    pub restart: restart::Policy,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// How long clients may take to leave.
    pub drain_timeout: Duration,
    /// We only relay to it: it is never restarted, a start that takes too long is `unhealthy`.
    pub external: bool,
}

impl Policy {
    /// The policy in a service's settings.
    pub fn of(config: &ServiceConfig, external: bool) -> Self {
        Self {
            restart: restart::Policy::of(config),
            start_timeout: ServiceConfig::seconds(config.start_timeout),
            drain_timeout: ServiceConfig::seconds(config.drain_timeout),
            external,
        }
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it is.
    pub state: State,
    /// For the restart policy.
    pub history: restart::History,
    /// Restarts since the user's `start`.
    pub restarts: u32,
    /// What is wrong, as told to people; kept until it runs again.
    pub error: Option<String>,
    /// Why the last readiness probe failed, for the error of a start that takes too long.
    pub not_ready: Option<String>,
    /// It was to leave while its runner was being started or found again: then it does.
    pub leaves: bool,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            state: State::Stopped,
            history: restart::History::default(),
            restarts: 0,
            error: None,
            not_ready: None,
            leaves: false,
        }
    }
}

impl State {
    /// The word that people see.
    pub fn shown(&self) -> InstanceState {
        match self {
            Self::Stopped => InstanceState::Stopped,
            Self::Running => InstanceState::Running,
            Self::Unhealthy => InstanceState::Unhealthy,
            Self::Error { .. } => InstanceState::Error,
            Self::Draining { .. }
            | Self::Stopping { then: Then::Stop | Then::Error { .. } }
            | Self::Clearing { then: Then::Stop | Then::Error { .. } } => InstanceState::Stopping,
            _ => InstanceState::Starting,
        }
    }

    /// Gets clients.
    pub fn eligible(&self) -> bool {
        *self == Self::Running
    }

    /// It is to run, now or again.
    pub fn is_wanted(&self) -> bool {
        !matches!(
            self,
            Self::Stopped
                | Self::Draining { then: Then::Stop, .. }
                | Self::Stopping { then: Then::Stop }
                | Self::Clearing { then: Then::Stop }
        )
    }

    /// Is worth waiting for.
    pub fn may_become_eligible(&self) -> bool {
        matches!(self.shown(), InstanceState::Starting | InstanceState::Unhealthy)
    }

    /// When it will be started again by itself.
    pub fn next_try(&self) -> Option<Tick> {
        match self {
            Self::Waiting { until } => Some(*until),
            Self::Error { retry_at } => *retry_at,
            _ => None,
        }
    }
}
