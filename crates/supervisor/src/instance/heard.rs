//! What is heard from the runner and the probes, and what it means for the state machine.

use super::task::Task;
use crate::observed::{HealthCheck, What};
use crate::probe::Found;
use myagent_core::config::ServiceConfig;
use myagent_core::health::{Change, Health, Probe, Tracker};
use myagent_core::lifecycle::{Event, State};
use myagent_core::probe::Ready;
use myagent_core::wire::control::{
    Answer, Closed, Connection, Drained, Phase, Report, Request, RunnerEvent, RunnerLine, Status,
};
use std::time::Duration;
use tokio::time::Instant;

/// A runner that leaves so many checks in a row unanswered…
const SILENT_CHECKS: u32 = 3;
/// …for at least this long hangs.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// Which connection, for an event.
fn in_words(connection: &Connection) -> String {
    format!("{} from {}", connection.connection_id, connection.client)
}

impl Task {
    pub(super) async fn line(&mut self, line: RunnerLine) {
        if let Some(runner) = &mut self.runner {
            runner.unanswered = (0, None);
        }
        if let RunnerLine::Answer { id, .. } = &line
            && let Some(asked) = self.asked.remove(id)
        {
            if let RunnerLine::Answer { answer, .. } = line {
                // Who asked may have left.
                let _ = asked.send(answer);
            }
            return;
        }
        match line {
            RunnerLine::Event { event: RunnerEvent::Status(status) }
            | RunnerLine::Answer { answer: Answer::Status(status), .. } => self.status(status).await,
            RunnerLine::Event { event: RunnerEvent::Report(report) }
            | RunnerLine::Answer { answer: Answer::Report(report), .. } => self.take_report(*report).await,
            RunnerLine::Event { event: RunnerEvent::Notice { kind, message } } => {
                self.tell(What::Record { kind: format!("instance.{kind}"), why: message }).await;
            }
            RunnerLine::Answer { id, answer: Answer::Stopped { exit, survivors } } => {
                if self.runner.as_ref().is_some_and(|runner| runner.stop_request == Some(id)) {
                    self.last_exit = exit.or(self.last_exit.take());
                    if survivors.is_empty() {
                        self.end_runner_and_check_port().await;
                    } else {
                        self.end_runner().await;
                        self.step(Event::Gone { survivors }).await;
                    }
                }
            }
            RunnerLine::Answer { id, answer } if self.is_drained(id) => self.drained(answer).await,
            RunnerLine::Answer { answer: Answer::Failed { message }, .. } => {
                tracing::warn!(instance = self.name(), message, "runner refused a request");
            }
            // Of requests that nobody waits for any more.
            RunnerLine::Answer { .. } => {}
        }
    }

    /// Whether this is the answer to the drain that was asked for.
    fn is_drained(&mut self, id: u64) -> bool {
        self.runner
            .as_mut()
            .is_some_and(|runner| runner.drain_request.take_if(|asked| *asked == id).is_some())
    }

    /// Its clients have left; one of the version before knows nothing of that, and has answered at once.
    async fn drained(&mut self, answer: Answer) {
        if let Answer::Drained(Drained { moved, closed, interrupted }) = answer {
            let why = format!(
                "{moved} connections went on in other instances, {closed} were closed, {interrupted} answers were interrupted"
            );
            self.tell(What::Record { kind: "instance.drained".into(), why }).await;
        }
        self.step(Event::Drained).await;
    }

    async fn status(&mut self, status: Status) {
        let is_left_over = status.draining
            && matches!(status.phase, Phase::Up | Phase::Restarting { .. })
            && matches!(self.machine.state, State::Starting { .. } | State::Running | State::Unhealthy);
        if is_left_over {
            // A manager that has ended wanted it to be replaced, and gave it no clients any more.
            let why = "it was being drained when its manager ended; it is restarted".to_owned();
            self.tell(What::Record { kind: "instance.restarting".into(), why }).await;
            self.step(Event::Leave { again: true }).await;
        }
        let Some(runner) = &mut self.runner else { return };
        let before = runner.status.replace(status.clone());
        let was_up = before.as_ref().is_some_and(|status| matches!(status.phase, Phase::Up));
        self.report.busy = status.busy;
        match status.phase {
            Phase::Up => {
                if !was_up {
                    self.step(Event::WorkerUp).await;
                }
                if self.wants_ready_probe {
                    self.probe_ready();
                }
            }
            Phase::Restarting { exit, .. } => {
                self.last_exit = Some(exit.clone());
                self.step(Event::WorkerDown { cause: exit.cause.to_string() }).await;
            }
            Phase::Exited { exit, last_lines, survivors } => {
                self.last_exit = Some(exit.clone());
                self.last_lines = last_lines;
                if survivors.is_empty() {
                    self.step(Event::Exited { cause: exit.cause }).await;
                } else {
                    self.step(Event::RunnerLost).await;
                    self.step(Event::Cleared { survivors }).await;
                }
            }
            Phase::Starting | Phase::Stopping => {}
        }
        if self.wants_ready_probe
            && status.ready_line_seen
            && matches!(self.wanted.service.config.ready, Ready::Log(_))
        {
            self.became_ready().await;
        }
    }

    async fn take_report(&mut self, mut report: Report) {
        if let Some(newest) = report.closed.iter().map(|closed| closed.number).max() {
            self.note_ended(&report.closed, newest).await;
            self.request(Request::AckClosed { up_to: newest }).await;
        }
        self.note_begun(&report).await;
        self.deps.clients.take(self.key, &report);
        self.deps.sessions.take(self.key, &report, self.keep_sessions());
        let (name, now) = (self.name(), self.deps.config.clock.now());
        self.deps.connections.write(|connections| connections.take(self.key, &name, &mut report, now));
        self.report = report;
    }

    /// Those of them that have ended, each once: a runner repeats what was not acknowledged in time.
    async fn note_ended(&mut self, closed: &[Closed], newest: u64) {
        let noted = self.runner.as_mut().map_or(0, |runner| {
            let noted = runner.noted;
            runner.noted = noted.max(newest);
            noted
        });
        let name = self.name();
        for closed in closed.iter().filter(|closed| closed.number > noted && !closed.moved) {
            self.deps.config.access.ended(&name, closed);
            if self.deps.sampled.take(Instant::now()) {
                let Closed { connection, code, reason, closed_at, .. } = closed;
                let seconds = closed_at.duration_since(connection.connected_at).as_secs();
                let reason = if reason.is_empty() { String::new() } else { format!(" {reason:?}") };
                let why = format!("{} after {seconds} s: {code}{reason}", in_words(connection));
                self.tell(What::Record { kind: "connection.closed".into(), why }).await;
            }
        }
    }

    /// Tells of new ones. What a runner says first after a manager's start is not new.
    async fn note_begun(&mut self, report: &Report) {
        if report.full {
            return;
        }
        for connection in &report.open {
            let id = connection.connection_id;
            let is_new =
                connection.moves == 0 && self.deps.connections.read(|known| known.owner(id).is_none());
            if is_new && self.deps.sampled.take(Instant::now()) {
                let how = match (&connection.rule, &connection.strategy) {
                    (Some(rule), _) => format!("by rule {rule:?}"),
                    (None, Some(strategy)) => format!("by {strategy}"),
                    (None, None) => "directly".to_owned(),
                };
                let why = format!("{} {how}", in_words(connection));
                self.tell(What::Record { kind: "connection.opened".into(), why }).await;
            }
        }
    }

    /// How long a session without a client is known.
    pub(super) fn keep_sessions(&self) -> Duration {
        ServiceConfig::seconds(self.wanted.service.config.session_timeout)
    }

    /// The connection broke: the runner is ending, or the machine is in trouble. Its process tells.
    pub(super) async fn link_broken(&mut self) {
        if let Some(runner) = &mut self.runner {
            runner.link = None;
            if tokio::time::timeout(Duration::from_secs(1), runner.process.exited()).await.is_err() {
                // It lives without a control connection: of no use to us, and not to be left alone either.
                tracing::warn!(
                    instance = self.name(),
                    "its runner closed the control connection; killing it"
                );
                self.kill_runner();
                return;
            }
        }
        self.runner_gone().await;
    }

    pub(super) async fn runner_gone(&mut self) {
        self.end_runner().await;
        Box::pin(self.step(Event::RunnerLost)).await;
    }

    pub(super) async fn probed(&mut self, found: Found) {
        match found {
            Found::Ready => self.became_ready().await,
            Found::NotReady(reason) => self.machine.not_ready = Some(reason),
            Found::Checked { latency, failure } => {
                let failure = failure.or_else(|| self.blocked());
                let at = self.deps.config.clock.now();
                self.last_check = Some(at);
                let probe = match &failure {
                    Some(_) => Probe::Failure,
                    None => Probe::Success { over_soft_limit: self.over_soft_limit() },
                };
                let change = self.tracker.fold(probe);
                let down = self.tracker.health() == Health::Unhealthy;
                if let Some(reason) = failure.clone().filter(|_| down) {
                    let busy = self.report.busy;
                    self.step(Event::Down { busy, reason }).await;
                } else if change == Change::Up {
                    self.step(Event::Up).await;
                }
                self.tell(What::Checked(HealthCheck { at, latency, failure })).await;
                self.check_runner().await;
            }
        }
    }

    /// Asks the runner at each check, too: whether it is busy decides what the next failure does, and one that answers
    /// nothing for several checks hangs. Its clients hang with it, and nobody but us can end that.
    async fn check_runner(&mut self) {
        let name = self.name();
        let Some(runner) = self.runner.as_mut().filter(|runner| runner.link.is_some()) else { return };
        let (checks, since) = &mut runner.unanswered;
        *checks += 1;
        let silent_for = since.get_or_insert_with(Instant::now).elapsed();
        if *checks > SILENT_CHECKS && silent_for >= SILENT_FOR {
            tracing::warn!(instance = name, ?silent_for, "its runner does not answer; killing it");
            let why = format!("its runner did not answer for {} s; it is killed", silent_for.as_secs());
            self.kill_runner();
            self.tell(What::Record { kind: "instance.runner_hangs".into(), why }).await;
            return;
        }
        self.request(Request::Status).await;
    }

    pub(super) async fn became_ready(&mut self) {
        self.wants_ready_probe = false;
        self.tracker = Tracker::ready();
        let now = self.deps.config.clock.now();
        if let Some(runner) = &mut self.runner {
            runner.record.ready_at.get_or_insert(now);
        }
        self.step(Event::Ready).await;
    }

    fn over_soft_limit(&self) -> bool {
        let config = &self.wanted.service.config;
        let usage = &self.report.usage;
        let memory =
            config.memory_limit_mb.is_some_and(|limit| usage.memory_bytes > limit * 1024 * 1024 / 5 * 4);
        let cpu = config.cpu_limit_percent.is_some_and(|limit| usage.cpu_percent > f64::from(limit) * 0.8);
        memory || cpu
    }

    /// What is wrong with a worker that does not answer.
    pub(super) fn blocked(&self) -> Option<String> {
        let status = self.runner.as_ref()?.status.as_ref()?;
        (!status.responsive).then(|| "the worker's event loop does not answer".to_owned())
    }
}
