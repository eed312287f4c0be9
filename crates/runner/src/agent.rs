//! The agent's life in this runner: start, loading, the end of its main process, and for an agent file the next worker.
//!
//! A command is started once; when its main process ends the rest of its tree is killed and the runner stays, with the
//! exit and the last lines, until the manager dismisses it. An agent file's worker is started again here, so that its
//! clients' sockets stay open meanwhile. An external service has no process: it is up at once.

use crate::event::{Event, Load};
use crate::exec_agent::{CANNOT_JOIN, FAILURE_PREFIX, NOT_FOUND};
use crate::reap::{Ended, How};
use crate::runner::{Ending, LAST_LINES, OUTPUT_PATIENCE, Runner};
use crate::spawn::{self, Launch};
use crate::tree::KILL_PATIENCE;
use myagent_core::config::ServiceConfig;
use myagent_core::instance::ExitCause;
use myagent_core::restart::{Decision, Policy};
use myagent_core::wire::control::Phase;
use myagent_core::wire::launch::AgentLaunch;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a worker that closed its socket may take to end.
const HUNG_UP_PATIENCE: Duration = Duration::from_secs(1);
/// How long a worker that was given up may take to end, at most: its clients wait for the next one.
const RECYCLE_GRACE: Duration = Duration::from_secs(2);

impl Runner {
    /// Starts what there is to start.
    pub(crate) fn start(&mut self) {
        let spec = Rc::clone(&self.spec);
        match &spec.agent {
            AgentLaunch::External { .. } => self.serve_by_relay(),
            AgentLaunch::Command { argv, cwd, .. } => {
                let argv = argv.iter().map(OsString::from).collect();
                self.warn_of_missing_limits();
                if self.start_process(argv, cwd, None) {
                    self.serve_by_relay();
                }
            }
            AgentLaunch::File { .. } => {
                self.warn_of_missing_limits();
                match self.make_host() {
                    Ok(()) => self.start_worker(),
                    Err(message) => self.exited(ExitCause::SpawnFailed { message }, Vec::new()),
                }
            }
        }
    }

    fn serve_by_relay(&mut self) {
        match self.make_relay() {
            Ok(()) => self.enter(Phase::Up),
            Err(message) => self.exited(ExitCause::SpawnFailed { message }, Vec::new()),
        }
    }

    fn warn_of_missing_limits(&self) {
        let Some(tree) = &self.tree else { return };
        if self.spec.config.cpu_limit_percent.is_some() && !tree.kernel_limits().1 {
            self.notice(
                "cpu_limit_unavailable",
                "cpu_limit_percent needs a control group, and none can be made here",
            );
        }
    }

    /// Starts the main process; false: it could not be, and the phase says why.
    fn start_process(&mut self, argv: Vec<OsString>, cwd: &Path, worker: Option<UnixStream>) -> bool {
        let spec = Rc::clone(&self.spec);
        let join = self.tree.as_ref().map(|tree| tree.join_files()).unwrap_or_default();
        let launch = Launch { spec: &spec, argv, cwd, join, open_files: self.open_files, worker };
        let started = spawn::spawn(&launch).and_then(|started| {
            // From here on the process exists, and its end will be seen.
            self.agent_pid = Some(started.pid);
            self.logs.follow(started.stdout, started.stderr)
        });
        if let Some(tree) = &self.tree {
            tree.save();
        }
        if let Err(error) = started {
            self.exited(
                ExitCause::SpawnFailed { message: format!("failed to start a process: {error}") },
                Vec::new(),
            );
        }
        self.agent_pid.is_some()
    }

    /// Starts the next worker of an agent file.
    fn start_worker(&mut self) {
        let spec = Rc::clone(&self.spec);
        let AgentLaunch::File { path, python, worker } = &spec.agent else { return };
        let (ours, theirs) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => {
                let message = format!("failed to make the worker's socket: {error}");
                return self.exited(ExitCause::SpawnFailed { message }, Vec::new());
            }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let argv = match worker {
            Some(worker) => vec![worker.into(), path.into()],
            None => myagent_host::worker_argv(python),
        };
        self.worker += 1;
        if self.start_process(argv, folder, Some(theirs)) {
            self.attach_worker(ours);
            if self.fresh {
                self.tell_status();
            } else {
                self.enter(Phase::Starting);
            }
        }
    }

    /// The host has given up its worker.
    pub(crate) fn recycle(&mut self, worker: u32) {
        if worker != self.worker || self.stop.is_some() || self.ending.is_some() || self.agent_pid.is_none() {
            return;
        }
        self.ending = Some(Ending::Recycle);
        self.clear_after(ServiceConfig::seconds(self.spec.config.stop_grace).min(RECYCLE_GRACE));
    }

    /// The worker loaded the agent file, or could not.
    pub(crate) fn loaded(&mut self, worker: u32, load: Load) {
        if worker != self.worker || self.stop.is_some() || matches!(self.phase, Phase::Exited { .. }) {
            return;
        }
        let fresh = std::mem::take(&mut self.fresh);
        match load {
            Load::Done if self.agent_pid.is_some() => {
                if !fresh {
                    self.history.up(self.now());
                }
                self.enter(Phase::Up);
            }
            // It died at once; its end is dealt with like any other.
            Load::Done => {}
            Load::Failed(message) => {
                // The end of the process may have been seen first, but it says less.
                let is_clearing = self.ending.is_some();
                self.ending = Some(Ending::Exit(self.exit(ExitCause::LoadFailed { message })));
                self.enter(Phase::Stopping);
                if !is_clearing {
                    self.clear();
                }
            }
            // The end of the process says why. If it does not end by itself, it is of no use.
            Load::Ended => {
                if let (Some(tree), Some(_)) = (self.tree.clone(), self.agent_pid) {
                    self.tasks.spawn_local(async move {
                        let deadline = Instant::now() + HUNG_UP_PATIENCE;
                        if !tree.gone_before(|| deadline).await {
                            tree.kill(KILL_PATIENCE).await;
                        }
                    });
                }
            }
        }
    }

    /// Children ended; one of them may be the main process.
    pub(crate) fn children_ended(&mut self, ended: &[Ended]) {
        if let Some(main) = ended.iter().find(|ended| Some(ended.pid) == self.agent_pid) {
            self.agent_pid = None;
            self.main_ended(main.how);
        }
    }

    fn main_ended(&mut self, how: How) {
        // Told to end, or told by the end of its socket: that is no crash, whichever of the two was seen first.
        if !self.fresh && self.backend.borrow().replaces_worker() {
            if self.stop.is_none() && self.ending.is_none() {
                self.ending = Some(Ending::Recycle);
                self.clear();
            }
            return;
        }
        self.fresh = false;
        let cause = self.cause_of_end(how);
        let exit = self.exit(cause);
        self.last_exit = Some(exit.clone());
        self.backend.borrow().worker_lost();
        // Who stops or clears the tree already will see that it is gone.
        if self.stop.is_some() || self.ending.is_some() {
            return;
        }
        let is_file = matches!(self.spec.agent, AgentLaunch::File { .. });
        if !is_file {
            // At once: their connections have just ended, and they wait for a word why.
            self.table.close_all(1012, "agent ended");
        }
        let restart = is_file && (self.history.up_since.is_some() || self.history.count > 0);
        self.ending = Some(Ending::Exit(exit.clone()));
        if restart {
            let (policy, now) = (Policy::of(&self.spec.config), self.now());
            if let Decision::After(delay) = self.history.exited(&policy, now, crate::random::fraction()) {
                self.ending = Some(Ending::Restart(Instant::now() + delay));
                self.enter(Phase::Restarting { next_try: self.clock.now() + delay, exit });
                return self.clear();
            }
        }
        self.enter(Phase::Stopping);
        self.clear();
    }

    /// Kills what is left of the tree and reads what is left of its output; [`Event::Cleared`] follows.
    fn clear(&mut self) {
        self.clear_after(Duration::ZERO);
    }

    /// The same; what still runs may first end by itself for so long.
    fn clear_after(&mut self, grace: Duration) {
        let (tree, logs, events) = (self.tree.clone(), Rc::clone(&self.logs), self.events.clone());
        let deadline = Instant::now() + grace;
        self.tasks.spawn_local(async move {
            if let Some(tree) = tree.as_ref().filter(|_| !grace.is_zero()) {
                tree.terminate();
                tree.gone_before(|| deadline).await;
            }
            let survivors = match &tree {
                Some(tree) => tree.kill(KILL_PATIENCE).await,
                None => Vec::new(),
            };
            logs.drained(OUTPUT_PATIENCE).await;
            let _ = events.send(Event::Cleared { survivors }).await;
        });
    }

    /// The tree is gone, and its output read: what follows?
    pub(crate) fn cleared(&mut self, survivors: Vec<u32>) {
        if self.stop.is_some() {
            return;
        }
        match self.ending.take() {
            Some(Ending::Exit(exit)) => match self.explain(exit.cause) {
                Explained::CannotJoin(message) => self.start_without_groups(&message),
                Explained::Cause(cause) => self.exited(cause, survivors),
            },
            Some(Ending::Recycle) => {
                self.fresh = true;
                self.start_worker();
            }
            Some(Ending::Restart(at)) => {
                if let Phase::Restarting { exit, .. } = &self.phase
                    && let Explained::CannotJoin(message) = self.explain(exit.cause.clone())
                {
                    return self.start_without_groups(&message);
                }
                let events = self.events.clone();
                self.tasks.spawn_local(async move {
                    tokio::time::sleep_until(at).await;
                    let _ = events.send(Event::RestartDue).await;
                });
            }
            None => {}
        }
    }

    /// It is time for the next worker.
    pub(crate) fn restart_due(&mut self) {
        if self.stop.is_none() && matches!(self.phase, Phase::Restarting { .. }) {
            self.start_worker();
        }
    }

    fn start_without_groups(&mut self, message: &str) {
        if let Some(tree) = &self.tree {
            tree.drop_group();
        }
        self.notice("cgroup_unavailable", &format!("{message}; the tree is held without control groups"));
        let spec = Rc::clone(&self.spec);
        if let AgentLaunch::Command { argv, cwd, .. } = &spec.agent {
            let argv = argv.iter().map(OsString::from).collect();
            if self.start_process(argv, cwd, None) {
                self.enter(Phase::Up);
            }
        } else {
            self.start_worker();
        }
    }

    /// The step before the agent's program says in the output why it failed.
    fn explain(&self, cause: ExitCause) -> Explained {
        let ExitCause::Code { code: code @ CANNOT_JOIN..=NOT_FOUND } = cause else {
            return Explained::Cause(cause);
        };
        let last = self.logs.last(1);
        let Some(message) = last.first().and_then(|line| line.strip_prefix(FAILURE_PREFIX)) else {
            return Explained::Cause(cause);
        };
        let has_groups = self.tree.as_ref().is_some_and(|tree| !tree.join_files().is_empty());
        if code == CANNOT_JOIN && has_groups {
            Explained::CannotJoin(message.to_owned())
        } else {
            Explained::Cause(ExitCause::SpawnFailed { message: message.to_owned() })
        }
    }

    /// The agent has ended for good; the runner stays to tell.
    pub(crate) fn exited(&mut self, cause: ExitCause, survivors: Vec<u32>) {
        let exit = self.exit(cause);
        self.last_exit = Some(exit.clone());
        let backend = self.backend.take();
        let (table, tree) = (self.table.clone(), self.tree.clone());
        let gone = survivors.clone();
        self.tasks.spawn_local(async move {
            backend.stop(1012, "agent ended", Duration::ZERO).await;
            table.close_all(1012, "agent ended");
            if let Some(tree) = tree {
                tree.finish(&gone).await;
            }
        });
        let last_lines = self.logs.last(LAST_LINES);
        self.enter(Phase::Exited { exit, last_lines, survivors });
    }
}

/// What an exit means.
enum Explained {
    /// This.
    Cause(ExitCause),
    /// The agent was not started, because it could not join a control group.
    CannotJoin(String),
}
