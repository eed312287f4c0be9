//! An instance as it is observed: state, exit, health.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The state that people see; also that of a service (its running instance, else the worst).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Nothing runs.
    Stopped,
    /// Being stopped.
    Stopping,
    /// Could not be started or kept running; the cause is told.
    Error,
    /// Runs and fails its health checks.
    Unhealthy,
    /// Started, not ready yet, or waiting for its next start.
    Starting,
    /// Ready.
    Running,
}

impl InstanceState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Stopped, Self::Stopping, Self::Error, Self::Unhealthy, Self::Starting, Self::Running];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::Unhealthy => "unhealthy",
            Self::Starting => "starting",
            Self::Running => "running",
        }
    }

    /// The state of a service: running if one instance is, else the first there is of starting, unhealthy, error,
    /// stopping, stopped.
    pub fn of_service(instances: impl IntoIterator<Item = Self>) -> Self {
        instances.into_iter().max().unwrap_or(Self::Stopped)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How an agent's main process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// What ended it.
    pub cause: ExitCause,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What ended a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitCause {
    /// It exited.
    Code {
        /// Exit status.
        code: i32,
    },
    /// A signal killed it.
    Signal {
        /// Number.
        signal: i32,
    },
    /// It was killed for passing `memory_limit_mb`.
    Oom {
        /// The limit.
        limit_mb: u64,
    },
    /// It could not be started at all.
    SpawnFailed {
        /// Why.
        message: String,
    },
    /// The agent file could not be loaded.
    LoadFailed {
        /// Python's own message.
        message: String,
    },
    /// The runner was lost, so nobody saw how the agent ended.
    RunnerLost,
    /// We stopped it.
    Stopped,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code { code } => write!(f, "exit code {code}"),
            Self::Signal { signal } => match signal_name(*signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            Self::Oom { limit_mb } => write!(f, "oom: passed memory_limit_mb={limit_mb}"),
            Self::SpawnFailed { message } => write!(f, "could not be started: {message}"),
            Self::LoadFailed { message } => f.write_str(message),
            Self::RunnerLost => f.write_str("its runner process was lost"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use InstanceState::{Error, Running, Starting, Stopped, Stopping, Unhealthy};

    #[test]
    fn a_service_runs_if_one_instance_does_else_it_is_as_bad_as_the_design_says() {
        for (instances, expected) in [
            (vec![], Stopped),
            (vec![Stopped, Stopped], Stopped),
            (vec![Error, Running], Running),
            (vec![Error, Starting, Unhealthy], Starting),
            (vec![Error, Unhealthy], Unhealthy),
            (vec![Stopping, Error], Error),
            (vec![Stopped, Stopping], Stopping),
        ] {
            assert_eq!(InstanceState::of_service(instances.clone()), expected, "{instances:?}");
        }
        for state in InstanceState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    #[test]
    fn causes_read_as_a_person_would_say_them() {
        let check = |cause: ExitCause, expected: &str| assert_eq!(cause.to_string(), expected);
        check(ExitCause::Code { code: 3 }, "exit code 3");
        check(ExitCause::Oom { limit_mb: 50 }, "oom: passed memory_limit_mb=50");
        check(ExitCause::SpawnFailed { message: "no".into() }, "could not be started: no");
        check(ExitCause::LoadFailed { message: "SyntaxError".into() }, "SyntaxError");
        check(ExitCause::RunnerLost, "its runner process was lost");
        check(ExitCause::Stopped, "stopped");
        check(ExitCause::Signal { signal: 64 }, "killed by signal 64");
        for (signal, name) in [
            (1, "HUP"),
            (2, "INT"),
            (3, "QUIT"),
            (4, "ILL"),
            (6, "ABRT"),
            (7, "BUS"),
            (8, "FPE"),
            (9, "KILL"),
            (11, "SEGV"),
            (13, "PIPE"),
            (14, "ALRM"),
            (15, "TERM"),
            (24, "XCPU"),
            (25, "XFSZ"),
            (31, "SYS"),
        ] {
            check(ExitCause::Signal { signal }, &format!("killed by signal {signal} ({name})"));
        }
    }
}
