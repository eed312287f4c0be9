//! The loop: one `select!` that yields an [`Input`], then a plain handler. What comes from the runner and the probes is in
//! [`super::heard`], what is done in [`super::effects`].

use super::{Command, Deps, Past, Wanted};
use crate::launch::Launched;
use crate::link::Link;
use crate::observed::{HealthCheck, Observed, RunnerRecord, Update, What};
use crate::ports::Lease;
use crate::probe::{self, Found, Target};
use crate::process::Watched;
use jiff::Timestamp;
use myagent_core::config::ServiceConfig;
use myagent_core::health::Tracker;
use myagent_core::instance::Exit;
use myagent_core::lifecycle::{self, Effect, Event, Policy};
use myagent_core::service::Source;
use myagent_core::wire::control::{Answer, Report, Request, RunnerLine, Status};
use myagent_core::wire::sessions::SessionTotals;
use myagent_core::wire::sums::Sums;
use myagent_core::{InstanceKey, Tick};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What can happen.
enum Input {
    Command(Command),
    /// The handle is gone: the manager is ending.
    Abandoned,
    Line(RunnerLine),
    LinkBroken,
    RunnerExited,
    Done(Done),
    Probed(Found),
    Timer,
}

/// Results of work in the background.
pub(super) enum Done {
    Launched(Result<Box<Launched>, String>),
    Attached(Option<Box<Launched>>),
    Cleared(Vec<u32>),
    /// After a stop: the process that still has the port, if one has.
    PortChecked(Option<String>),
    /// A stop took too long.
    StopOverdue(u64),
    /// A runner that was told to end has ended.
    Buried,
}

/// A runner that we have.
pub(super) struct Runner {
    pub(super) record: RunnerRecord,
    pub(super) process: Watched,
    pub(super) link: Option<Link>,
    pub(super) status: Option<Status>,
    pub(super) stop_request: Option<u64>,
    pub(super) drain_request: Option<u64>,
    /// Checks since it was last heard, and when the first of them was.
    pub(super) unanswered: (u32, Option<Instant>),
    /// The newest closed connection that was taken note of.
    pub(super) noted: u64,
}

pub(super) struct Task {
    pub(super) key: InstanceKey,
    pub(super) deps: Deps,
    pub(super) wanted: Wanted,
    pub(super) machine: lifecycle::Instance,
    pub(super) tracker: Tracker,
    pub(super) runner: Option<Runner>,
    pub(super) lease: Option<Lease>,
    pub(super) last_port: Option<u16>,
    pub(super) last_exit: Option<Exit>,
    pub(super) last_lines: Vec<String>,
    pub(super) last_check: Option<Timestamp>,
    pub(super) report: Report,
    pub(super) tree: Option<std::path::PathBuf>,
    pub(super) wants_ready_probe: bool,
    pub(super) work: JoinSet<Done>,
    pub(super) probing: Option<AbortHandle>,
    /// Whose health is being checked, or would be if that were switched on.
    pub(super) checked: Option<Target>,
    pub(super) found: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
    pub(super) wake_at: Option<Instant>,
    pub(super) stops: u64,
    /// How long the clients of a stop may be told.
    pub(super) spread: Duration,
    pub(super) commands_seen: u64,
    /// Requests of others that the runner has not answered.
    pub(super) asked: HashMap<u64, oneshot::Sender<Answer>>,
    commands: mpsc::Receiver<Command>,
    shown: Option<Observed>,
    origin: Instant,
    let_go: bool,
}

impl Task {
    pub(super) fn new(deps: Deps, wanted: Wanted, past: Past, commands: mpsc::Receiver<Command>) -> Self {
        let mut machine =
            lifecycle::Instance { restarts: past.restarts, error: past.error, ..Default::default() };
        let mut work = JoinSet::new();
        let last_port = past.runner.as_ref().and_then(|runner| runner.port);
        let tree = past.runner.as_ref().map(|runner| runner.tree.clone());
        if let Some(record) = past.runner {
            machine.state = lifecycle::State::Launching;
            machine.history.count = past.restarts;
            let ports = deps.ports.clone();
            work.spawn(
                async move { Done::Attached(crate::attach::attach(ports, record).await.map(Box::new)) },
            );
        }
        Self {
            key: InstanceKey { service_id: wanted.service.service_id, index: wanted.index },
            machine,
            tracker: Tracker::default(),
            runner: None,
            lease: None,
            last_port,
            last_exit: past.last_exit,
            last_lines: past.last_lines,
            last_check: None,
            report: report_of(past.sums),
            tree,
            wants_ready_probe: false,
            work,
            probing: None,
            checked: None,
            found: mpsc::channel(4),
            wake_at: None,
            stops: 0,
            spread: Duration::ZERO,
            commands_seen: 0,
            asked: HashMap::new(),
            commands,
            shown: None,
            origin: Instant::now(),
            let_go: false,
            deps,
            wanted,
        }
    }

    pub(super) async fn run(mut self) -> InstanceKey {
        self.publish().await;
        while !self.let_go {
            let input = self.next().await;
            self.handle(input).await;
            self.publish().await;
        }
        self.deps.connections.write(|connections| connections.forget(self.key));
        self.key
    }

    async fn next(&mut self) -> Input {
        let wake_at = self.wake_at;
        let timer = async {
            match wake_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let runner = &mut self.runner;
        let from_runner = async {
            let Some(Runner { process, link, .. }) = runner else { return std::future::pending().await };
            let Some(open) = link else {
                process.exited().await;
                return Input::RunnerExited;
            };
            // Lines first: what a runner said before it ended must be heard.
            tokio::select! {
                biased;
                line = open.next() => line.map_or_else(|error| {
                    tracing::debug!(%error, "control connection ended");
                    Input::LinkBroken
                }, Input::Line),
                () = process.exited() => Input::RunnerExited,
            }
        };
        tokio::select! {
            command = self.commands.recv() => command.map_or(Input::Abandoned, Input::Command),
            input = from_runner => input,
            Some(done) = self.work.join_next() => match done {
                Ok(done) => Input::Done(done),
                // A probe that was stopped.
                Err(error) if error.is_cancelled() => Input::Done(Done::Buried),
                Err(error) => {
                    tracing::error!(%error, "background work of an instance was cut short");
                    Input::Timer
                }
            },
            Some(found) = self.found.1.recv() => Input::Probed(found),
            () = timer => Input::Timer,
        }
    }

    async fn handle(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.command(command).await,
            Input::Abandoned => self.let_go = true,
            Input::Line(line) => self.line(line).await,
            Input::LinkBroken => self.link_broken().await,
            Input::RunnerExited => self.runner_gone().await,
            Input::Done(done) => self.done(done).await,
            Input::Probed(found) => self.probed(found).await,
            Input::Timer => {
                self.wake_at = None;
                self.step(Event::Timer).await;
            }
        }
    }

    async fn command(&mut self, command: Command) {
        if matches!(command, Command::Start | Command::Stop { .. } | Command::Restart | Command::Leave { .. })
        {
            self.commands_seen += 1;
            self.spread = Duration::ZERO;
        }
        match command {
            Command::Start => self.step(Event::Start).await,
            Command::Stop { spread } => {
                self.spread = spread;
                self.step(Event::Stop).await;
            }
            Command::Restart => self.step(Event::Restart).await,
            Command::Leave { again } => self.step(Event::Leave { again }).await,
            Command::Configure(wanted) => self.configure(wanted),
            Command::CheckHealth(answer) => {
                // Not on the loop's time: the check may take as long as health_check_timeout.
                let (target, clock) = (self.target(), self.deps.config.clock.clone());
                let blocked = self.blocked();
                self.work.spawn(async move {
                    let (latency, failure) = probe::check_once(&target).await;
                    let check = HealthCheck { at: clock.now(), latency, failure: failure.or(blocked) };
                    // The asker may have left.
                    let _ = answer.send(check);
                    Done::Buried
                });
            }
            Command::Ask(request, answer) => {
                // Whoever does not wait any more wants no answer.
                self.asked.retain(|_, answer| !answer.is_closed());
                if let Some(id) = self.request(request).await {
                    self.asked.insert(id, answer);
                }
            }
            Command::LetGo => self.let_go = true,
        }
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Launched(Ok(launched)) => self.adopt(*launched, false).await,
            Done::Launched(Err(cause)) => {
                self.last_lines.clear();
                self.step(Event::LaunchFailed { cause }).await;
            }
            Done::Attached(Some(launched)) => self.adopt(*launched, true).await,
            Done::Attached(None) => {
                // It ended while nobody looked: what it had counted by then is all there is.
                let sums = std::mem::take(&mut self.report).take_sums();
                self.tell(What::RunnerEnded(Box::new(sums))).await;
                self.step(Event::RunnerLost).await;
            }
            Done::Cleared(survivors) if survivors.is_empty() => {
                self.lease = None;
                self.step(Event::Cleared { survivors }).await;
            }
            Done::Cleared(survivors) => self.step(Event::Cleared { survivors }).await,
            Done::PortChecked(None) => {
                self.lease = None;
                self.step(Event::Gone { survivors: vec![] }).await;
            }
            Done::PortChecked(Some(holder)) => {
                self.lease = None;
                self.tell(What::Record { kind: "instance.port_held".into(), why: holder }).await;
                self.step(Event::Gone { survivors: vec![] }).await;
            }
            Done::StopOverdue(number) => {
                if number == self.stops
                    && self.runner.as_ref().is_some_and(|runner| runner.stop_request.is_some())
                {
                    tracing::warn!(instance = self.name(), "its runner did not stop in time; killing it");
                    self.kill_runner();
                }
            }
            Done::Buried => {}
        }
    }

    /// A runner is there: new, or from before this manager.
    async fn adopt(&mut self, launched: Launched, attached: bool) {
        let Launched { record, process, link, lease } = launched;
        let outdated = link.is_none();
        let ready = attached && (record.ready_at.is_some() || outdated);
        if !attached {
            // How it last ended is told until it ends again.
            self.last_lines.clear();
            self.report = Report::default();
        }
        self.last_port = record.port.or(self.last_port);
        self.tree = Some(record.tree.clone());
        self.lease = lease;
        self.runner = Some(Runner {
            record,
            process,
            link,
            status: None,
            stop_request: None,
            drain_request: None,
            unanswered: (0, None),
            noted: 0,
        });
        if ready {
            self.tracker = Tracker::ready();
        }
        if attached && !outdated {
            self.tell(What::Record { kind: "instance.attached".into(), why: "found running, kept".into() })
                .await;
        }
        self.step(Event::Launched { ready }).await;
        self.request(Request::Status).await;
        self.request(Request::FullReport).await;
    }

    pub(super) async fn step(&mut self, event: Event) {
        let external = matches!(self.wanted.service.source, Source::External { .. });
        let policy = Policy::of(&self.wanted.service.config, external);
        let now = self.now();
        let random = (self.deps.config.random)();
        let effects = self.machine.step(event, &policy, now, random);
        for effect in effects {
            self.perform(effect).await;
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch => self.launch(),
            Effect::ProbeReady => self.begin_ready_probe().await,
            Effect::ProbeHealth => self.probe_health(),
            Effect::StopProbing => self.stop_probing(),
            Effect::DrainRunner => self.drain_runner().await,
            Effect::StopRunner => self.stop_runner().await,
            Effect::DismissRunner => {
                self.request(Request::Dismiss).await;
                self.end_runner().await;
                self.lease = None;
            }
            Effect::ClearLeftovers => self.clear_leftovers().await,
            Effect::WakeAt(at) => self.wake_at = Some(self.origin + at),
            Effect::Record { kind, why } => self.tell(What::Record { kind: kind.to_owned(), why }).await,
        }
    }

    pub(super) fn now(&self) -> Tick {
        self.origin.elapsed()
    }

    pub(super) fn wall(&self, at: Tick) -> Timestamp {
        let ahead = at.saturating_sub(self.now());
        self.deps.config.clock.now().checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn name(&self) -> String {
        self.key.name(&self.wanted.service.name)
    }

    pub(super) fn timeout(&self) -> Duration {
        ServiceConfig::seconds(self.wanted.service.config.health_check_timeout)
    }

    async fn publish(&mut self) {
        let observed = self.show();
        if self.shown.as_ref() != Some(&observed) {
            self.shown = Some(observed.clone());
            self.tell(What::Changed(Box::new(observed))).await;
        }
    }

    pub(super) async fn tell(&self, what: What) {
        // The receiver is gone only when the manager ends.
        let _ = self.deps.updates.send(Update { key: self.key, what }).await;
    }
}

/// What a runner had counted, as a report of it.
fn report_of(sums: Sums) -> Report {
    let Sums { totals, sessions, rules } = sums;
    let session_totals = (sessions != SessionTotals::default()).then(|| Box::new(sessions));
    Report { totals, session_totals, rules, ..Report::default() }
}
