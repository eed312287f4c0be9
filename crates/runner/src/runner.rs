//! What one runner is: its state, and where each event goes. The handlers are in the files of their subject: the agent's
//! life in [`crate::agent`], the managers' requests in [`crate::requests`], the end in [`crate::stop`], resources in
//! [`crate::usage`].
//!
//! Handlers are plain functions. What takes time is a task that sends an [`Event`] when it is done.

use crate::backend::Backend;
use crate::control::Clients;
use crate::drain::Leaving;
use crate::event::Event;
use crate::logs::Logs;
use crate::stop::Stop;
use crate::tree::Tree;
use crate::usage::UsageWatch;
use jiff::Timestamp;
use myagent_core::instance::Exit;
use myagent_core::restart::History;
use myagent_core::wire::control::{Phase, RunnerEvent, Status};
use myagent_core::wire::launch::RunnerSpec;
use myagent_core::{Clock, Tick};
use myagent_host::SessionStats;
use myagent_relay::table::Table;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Lines of output that go with an exit.
pub(crate) const LAST_LINES: usize = 20;
/// How long the output of a tree that is gone may take to be read; only a process that is not of the tree can keep a pipe
/// open longer.
pub(crate) const OUTPUT_PATIENCE: Duration = Duration::from_millis(500);

/// One runner.
pub(crate) struct Runner {
    pub(crate) spec: Rc<RunnerSpec>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) origin: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) clients: Clients,
    pub(crate) logs: Rc<Logs>,
    /// None for an external service.
    pub(crate) tree: Option<Rc<Tree>>,
    pub(crate) table: Table,
    /// What the host of an agent file counts; none for a relay.
    pub(crate) sessions: Option<SessionStats>,
    /// Who serves clients now; the take-over tasks look at it for each client.
    pub(crate) backend: Rc<RefCell<Backend>>,
    pub(crate) phase: Phase,
    pub(crate) agent_pid: Option<u32>,
    /// Soft limit of open files that the agent gets back.
    pub(crate) open_files: Option<u64>,
    /// A file's workers, counted from 1.
    pub(crate) worker: u32,
    /// The present worker takes the place of one that the host gave up, and has not loaded yet. Nobody is told of that.
    pub(crate) fresh: bool,
    pub(crate) history: History,
    /// What becomes of the tree when it is cleared.
    pub(crate) ending: Option<Ending>,
    pub(crate) last_exit: Option<Exit>,
    pub(crate) ready_line_seen: bool,
    pub(crate) draining: Rc<Cell<bool>>,
    pub(crate) leaving: Leaving,
    pub(crate) stop: Option<Stop>,
    pub(crate) usage: UsageWatch,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) finished: bool,
}

/// The main process has ended, the rest of the tree is being killed; then this follows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// Nothing: the phase becomes exited.
    Exit(Exit),
    /// The next worker, at this time.
    Restart(Instant),
    /// The next worker at once: the host has given up the last one.
    Recycle,
}

impl Runner {
    /// Handles one event.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::Connected => self.usage.look_soon(),
            Event::Asked { client, line } => self.answer(client, line),
            Event::Children(ended) => self.children_ended(&ended),
            Event::Terminate => self.terminate(),
            Event::Tick => self.tick(),
            Event::News => self.tell_report(),
            Event::ReadyLine => {
                self.ready_line_seen = true;
                self.tell_status();
            }
            Event::Notice { kind, message } => self.notice(&kind, &message),
            Event::Loaded { worker, load } => self.loaded(worker, load),
            Event::Recycle { worker } => self.recycle(worker),
            Event::Cleared { survivors } => self.cleared(survivors),
            Event::RestartDue => self.restart_due(),
            Event::Drained(drained) => self.drained(drained),
            Event::Stopped { survivors } => self.stopped(&survivors),
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// Enters a phase and tells everyone.
    pub(crate) fn enter(&mut self, phase: Phase) {
        if matches!(phase, Phase::Exited { .. }) {
            // A manager may dismiss us at once: what it knows by then is what it keeps.
            self.tell_report();
        }
        self.phase = phase;
        self.tell_status();
    }

    pub(crate) fn tell_status(&self) {
        if !self.clients.is_empty() {
            self.clients.broadcast(RunnerEvent::Status(self.status()));
        }
    }

    pub(crate) fn notice(&self, kind: &str, message: &str) {
        tracing::info!(kind, message, "notice");
        self.clients.broadcast(RunnerEvent::Notice { kind: kind.to_owned(), message: message.to_owned() });
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            service_id: self.spec.service_id,
            index: self.spec.index,
            start_id: self.spec.start_id,
            agent_pid: self.agent_pid,
            started_at: self.started_at,
            phase: self.phase.clone(),
            worker_restarts: self.worker.saturating_sub(1),
            ready_line_seen: self.ready_line_seen,
            busy: self.table.busy(),
            responsive: self.backend.borrow().is_responsive(),
            draining: self.draining.get(),
            ownership: self.tree.as_ref().map_or("subreaper", |tree| tree.ownership()).to_owned(),
        }
    }

    /// Monotonic time for decisions.
    pub(crate) fn now(&self) -> Tick {
        self.origin.elapsed()
    }

    pub(crate) fn exit(&self, cause: myagent_core::instance::ExitCause) -> Exit {
        Exit { cause, at: self.clock.now() }
    }
}
