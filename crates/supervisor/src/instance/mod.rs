//! One instance's task: its handle here, its loop in [`task`], what it hears of runner and agent in [`heard`], what it does in
//! [`effects`], what it shows in [`show`].

mod effects;
mod heard;
mod show;
mod task;

use crate::observed::{HealthCheck, RunnerRecord, Update};
use crate::ports::Ports;
use crate::sampled::Sampled;
use crate::{Clients, Config, OpenConnections, Sessions};
use myagent_core::InstanceKey;
use myagent_core::service::Service;
use myagent_core::wire::control::{Answer, Request};
use myagent_core::wire::sums::Sums;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Commands that may wait for one instance.
const COMMANDS: usize = 64;

/// What an instance is to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The service as registered.
    pub service: Arc<Service>,
    /// The values of its secrets.
    pub secrets: Arc<BTreeMap<String, String>>,
    /// Which copy.
    pub index: u32,
}

/// What an instance is told.
#[derive(Debug)]
pub enum Command {
    /// Start.
    Start,
    /// Stop; clients are told over so long, or as long as their number calls for if that is longer.
    Stop {
        /// How long.
        spread: Duration,
    },
    /// Stop and start.
    Restart,
    /// The same when its clients have left, for other instances if they can.
    Leave {
        /// And start then.
        again: bool,
    },
    /// The service was changed: for the next start, and for what can change while it runs.
    Configure(Wanted),
    /// Check health now.
    CheckHealth(oneshot::Sender<HealthCheck>),
    /// Ask the runner; the answer is dropped if there is none, or it leaves before it has answered.
    Ask(Request, oneshot::Sender<Answer>),
    /// Let go of the runner and end this task; the runner goes on.
    LetGo,
}

/// The way to one instance.
#[derive(Clone, Debug)]
pub struct InstanceHandle {
    commands: mpsc::Sender<Command>,
}

impl InstanceHandle {
    /// Sends a command; false: its queue is full or its task has ended.
    pub fn send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }
}

/// What instance tasks share.
#[derive(Clone)]
pub struct Deps {
    /// Folders, clock, randomness.
    pub config: Config,
    /// The ports.
    pub ports: Ports,
    /// Where updates go.
    pub updates: mpsc::Sender<Update>,
    /// Where open connections are noted.
    pub connections: OpenConnections,
    /// Where they are counted by client address.
    pub clients: Clients,
    /// Where it is noted which instance has which session.
    pub sessions: Sessions,
    /// Which connections get an event of their own.
    pub sampled: Sampled,
}

/// What is known of an instance from before this manager.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// A runner that may still be there.
    pub runner: Option<RunnerRecord>,
    /// Restarts since the user's `start`.
    pub restarts: u32,
    /// What was wrong.
    pub error: Option<String>,
    /// Exit and last lines.
    pub last_exit: Option<myagent_core::instance::Exit>,
    /// The last lines before that.
    pub last_lines: Vec<String>,
    /// What that runner had counted when it was last heard.
    pub sums: Sums,
}

/// Starts the task of one instance in `tasks`. With a runner in its past it attaches to that first.
pub fn spawn(tasks: &mut JoinSet<InstanceKey>, deps: Deps, wanted: Wanted, past: Past) -> InstanceHandle {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    tasks.spawn(task::Task::new(deps, wanted, past, receiver).run());
    InstanceHandle { commands }
}
