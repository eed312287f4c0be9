//! The transition function.

use super::{Effect, Event, Instance, Policy, State, Then};
use crate::clock::Tick;
use crate::instance::ExitCause;
use crate::restart::{Decision, History, RETRY_IN_ERROR};
use std::time::Duration;

/// Beyond `drain_timeout`: for what was interrupted to end, and for those who are left to be told.
const DRAIN_SLACK: Duration = Duration::from_secs(20);

impl Instance {
    /// Takes one event. `random` is uniform in `[0, 1)`. An event that means nothing in this state changes nothing.
    pub fn step(&mut self, event: Event, policy: &Policy, now: Tick, random: f64) -> Vec<Effect> {
        match event {
            Event::Start => self.start(),
            Event::Stop => self.stop(),
            Event::Restart => self.restart(),
            Event::Leave { again } => self.leave(again, policy, now),
            Event::Drained => self.drained(),
            Event::Launched { ready } => self.launched(ready, policy, now),
            Event::LaunchFailed { cause } => self.launch_failed(cause, policy, now),
            Event::Ready => self.ready(now),
            Event::WorkerDown { cause } => self.worker_down(cause),
            Event::WorkerUp => self.worker_up(policy, now),
            Event::Exited { cause } => self.exited(&cause, policy, now, random),
            Event::RunnerLost => self.runner_lost(),
            Event::Cleared { survivors } | Event::Gone { survivors } => {
                self.nothing_left(&survivors, policy, now, random)
            }
            Event::Down { busy, reason } => self.down(busy, reason, policy, now, random),
            Event::Up => self.up(now),
            Event::Timer => self.timer(policy, now),
        }
    }

    fn start(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::Stopped | State::Error { .. } | State::Waiting { .. } => {
                *self = Self { state: State::Launching, ..Self::default() };
                vec![Effect::Launch]
            }
            State::Stopping { then } | State::Clearing { then } | State::Draining { then, .. } => {
                *then = Then::Launch;
                self.restarts = 0;
                self.history = History::default();
                self.error = None;
                vec![]
            }
            State::Launching => {
                self.leaves = false;
                vec![]
            }
            _ => vec![],
        }
    }

    fn stop(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::Stopped => vec![],
            State::Error { .. } | State::Waiting { .. } => {
                self.error = None;
                self.state = State::Stopped;
                vec![record("instance.stopped", "it was not running")]
            }
            State::Stopping { then } | State::Clearing { then } => {
                *then = Then::Stop;
                vec![]
            }
            State::Launching => {
                self.leaves = false;
                self.state = State::Stopping { then: Then::Stop };
                vec![]
            }
            _ => self.stop_and(Then::Stop),
        }
    }

    fn restart(&mut self) -> Vec<Effect> {
        match &self.state {
            State::Starting { .. }
            | State::Running
            | State::Unhealthy
            | State::Recovering
            | State::Draining { .. } => {
                self.restarts = 0;
                self.history = History::default();
                self.error = None;
                self.stop_and(Then::Launch)
            }
            _ => self.start(),
        }
    }

    fn leave(&mut self, again: bool, policy: &Policy, now: Tick) -> Vec<Effect> {
        let next = if again { Then::Launch } else { Then::Stop };
        match &mut self.state {
            State::Running | State::Unhealthy | State::Recovering => {
                let deadline = now + policy.drain_timeout + DRAIN_SLACK;
                self.state = State::Draining { then: next, deadline };
                vec![
                    Effect::StopProbing,
                    Effect::WakeAt(deadline),
                    record("instance.draining", "its clients are to leave, to other instances if they can"),
                    Effect::DrainRunner,
                ]
            }
            State::Draining { then, .. } => {
                *then = next;
                vec![]
            }
            // It may be one that is being found again, with clients.
            State::Launching if !again => {
                self.leaves = true;
                vec![]
            }
            // It has none.
            _ if again => self.restart(),
            _ => self.stop(),
        }
    }

    /// They have left, or had the time to.
    fn drained(&mut self) -> Vec<Effect> {
        match self.state {
            State::Draining { then: Then::Launch, .. } => self.restart(),
            State::Draining { then, .. } => self.stop_and(then),
            _ => vec![],
        }
    }

    fn stop_and(&mut self, then: Then) -> Vec<Effect> {
        self.leaves = false;
        self.state = State::Stopping { then };
        vec![Effect::StopProbing, Effect::StopRunner]
    }

    fn launched(&mut self, ready: bool, policy: &Policy, now: Tick) -> Vec<Effect> {
        match self.state {
            State::Launching if ready => {
                self.history.up(now);
                self.state = State::Running;
                let mut effects = vec![Effect::ProbeHealth];
                if std::mem::take(&mut self.leaves) {
                    effects.append(&mut self.leave(false, policy, now));
                }
                effects
            }
            State::Launching if self.leaves => self.stop_and(Then::Stop),
            State::Launching => self.await_ready(policy, now),
            State::Stopping { .. } => vec![Effect::StopRunner],
            _ => vec![],
        }
    }

    fn await_ready(&mut self, policy: &Policy, now: Tick) -> Vec<Effect> {
        let deadline = now + policy.start_timeout;
        self.not_ready = None;
        self.state = State::Starting { deadline };
        vec![Effect::ProbeReady, Effect::WakeAt(deadline)]
    }

    fn launch_failed(&mut self, cause: String, policy: &Policy, now: Tick) -> Vec<Effect> {
        match self.state {
            State::Launching if self.leaves => self.follow(Then::Stop),
            State::Launching => {
                let retry_at = retry_at(policy, now);
                self.give_up(cause, retry_at)
            }
            State::Stopping { then } => self.follow(then),
            _ => vec![],
        }
    }

    fn ready(&mut self, now: Tick) -> Vec<Effect> {
        if !matches!(self.state, State::Starting { .. }) {
            return vec![];
        }
        self.history.up(now);
        self.error = None;
        self.state = State::Running;
        vec![Effect::ProbeHealth, record("instance.running", "ready")]
    }

    fn worker_down(&mut self, cause: String) -> Vec<Effect> {
        match self.state {
            State::Starting { .. } | State::Running | State::Unhealthy => {
                let why = format!("worker ended ({cause}); its runner starts another");
                self.restarts = self.restarts.saturating_add(1);
                self.error = Some(cause);
                self.state = State::Recovering;
                vec![Effect::StopProbing, record("instance.worker_lost", why)]
            }
            _ => vec![],
        }
    }

    fn worker_up(&mut self, policy: &Policy, now: Tick) -> Vec<Effect> {
        if self.state == State::Recovering { self.await_ready(policy, now) } else { vec![] }
    }

    fn exited(&mut self, cause: &ExitCause, policy: &Policy, now: Tick, random: f64) -> Vec<Effect> {
        match self.state {
            State::Starting { .. } | State::Running | State::Unhealthy | State::Recovering => {
                let mut effects = vec![Effect::StopProbing, Effect::DismissRunner];
                // What cannot be loaded or run will not be better in a second: that is told at once.
                let hopeless = matches!(cause, ExitCause::SpawnFailed { .. } | ExitCause::LoadFailed { .. });
                effects.append(&mut if hopeless {
                    self.give_up(cause.to_string(), retry_at(policy, now))
                } else {
                    self.judge(&cause.to_string(), policy, now, random)
                });
                effects
            }
            // It was to end.
            State::Draining { .. } => self.drained(),
            _ => vec![],
        }
    }

    /// The restart policy decides after an end that nobody wanted.
    fn judge(&mut self, cause: &str, policy: &Policy, now: Tick, random: f64) -> Vec<Effect> {
        match self.decide(cause, policy, now, random) {
            Then::Wait(until) => {
                self.error = Some(cause.to_owned());
                self.state = State::Waiting { until };
                let delay = until.saturating_sub(now).as_secs_f64();
                vec![
                    Effect::WakeAt(until),
                    record("instance.exited", format!("{cause}; next start in {delay:.1} s")),
                ]
            }
            Then::Error { retry_at } => {
                let error = self.error.take().unwrap_or_else(|| cause.to_owned());
                self.give_up(error, retry_at)
            }
            then => self.follow(then),
        }
    }

    fn decide(&mut self, cause: &str, policy: &Policy, now: Tick, random: f64) -> Then {
        match self.history.exited(&policy.restart, now, random) {
            Decision::After(delay) => {
                self.restarts = self.restarts.saturating_add(1);
                Then::Wait(now + delay)
            }
            Decision::GiveUp { retry } => {
                let count = policy.restart.max_count;
                self.error = Some(if policy.restart.auto_restart {
                    format!("{cause}; gave up after {count} restarts in a row")
                } else {
                    format!("{cause}; auto_restart is off")
                });
                Then::Error { retry_at: retry.map(|delay| now + delay) }
            }
        }
    }

    fn give_up(&mut self, cause: String, retry_at: Option<Tick>) -> Vec<Effect> {
        self.error = Some(cause.clone());
        self.state = State::Error { retry_at };
        let mut effects: Vec<Effect> = retry_at.map(Effect::WakeAt).into_iter().collect();
        effects.push(record("instance.error", cause));
        effects
    }

    fn runner_lost(&mut self) -> Vec<Effect> {
        let then = match self.state {
            State::Launching if self.leaves => Then::Stop,
            State::Starting { .. }
            | State::Running
            | State::Unhealthy
            | State::Recovering
            | State::Launching => Then::Judge,
            State::Stopping { then } | State::Draining { then, .. } => then,
            _ => return vec![],
        };
        self.state = State::Clearing { then };
        vec![
            Effect::StopProbing,
            Effect::ClearLeftovers,
            record("instance.runner_lost", "its runner is gone; clearing up what it left"),
        ]
    }

    fn nothing_left(&mut self, survivors: &[u32], policy: &Policy, now: Tick, random: f64) -> Vec<Effect> {
        let (State::Stopping { then } | State::Clearing { then }) = self.state else { return vec![] };
        if survivors.is_empty() {
            return match then {
                Then::Judge => self.judge(&ExitCause::RunnerLost.to_string(), policy, now, random),
                then => self.follow(then),
            };
        }
        let pids = survivors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.give_up(format!("process {pids} survived KILL for 5 s; it may be stuck in the kernel"), None)
    }

    fn follow(&mut self, then: Then) -> Vec<Effect> {
        self.leaves = false;
        match then {
            Then::Stop => {
                *self = Self::default();
                vec![record("instance.stopped", "nothing of it is left")]
            }
            Then::Launch | Then::Judge => {
                self.state = State::Launching;
                vec![Effect::Launch]
            }
            Then::Wait(until) => {
                self.state = State::Waiting { until };
                vec![Effect::WakeAt(until)]
            }
            Then::Error { retry_at } => {
                let error = self.error.take().unwrap_or_default();
                self.give_up(error, retry_at)
            }
        }
    }

    fn down(&mut self, busy: bool, reason: String, policy: &Policy, now: Tick, random: f64) -> Vec<Effect> {
        match self.state {
            State::Running => {
                self.history.up_since = None;
                self.state = State::Unhealthy;
                self.error = Some(reason.clone());
                let why = if busy { format!("{reason}; busy, so it is not restarted") } else { reason };
                vec![record("instance.unhealthy", why)]
            }
            State::Unhealthy if !busy && !policy.external && policy.restart.auto_restart => {
                self.error = Some(reason.clone());
                let then = self.decide(&reason, policy, now, random);
                let mut effects = self.stop_and(then);
                effects.push(record("instance.restarting", format!("unhealthy and not busy: {reason}")));
                effects
            }
            State::Unhealthy => {
                self.error = Some(reason);
                vec![]
            }
            _ => vec![],
        }
    }

    fn up(&mut self, now: Tick) -> Vec<Effect> {
        if self.state != State::Unhealthy {
            return vec![];
        }
        self.history.up(now);
        self.error = None;
        self.state = State::Running;
        vec![record("instance.running", "healthy again")]
    }

    fn timer(&mut self, policy: &Policy, now: Tick) -> Vec<Effect> {
        match self.state {
            State::Waiting { until } | State::Error { retry_at: Some(until) } if now >= until => {
                self.state = State::Launching;
                vec![Effect::Launch]
            }
            State::Starting { deadline } if now >= deadline => {
                let seconds = policy.start_timeout.as_secs_f64();
                let seen = self.not_ready.take().map_or_else(String::new, |seen| format!(": {seen}"));
                let cause = format!("not ready within start_timeout={seconds} s{seen}");
                if policy.external {
                    self.error = Some(cause.clone());
                    self.state = State::Unhealthy;
                    return vec![Effect::ProbeHealth, record("instance.unhealthy", cause)];
                }
                self.error = Some(cause);
                let retry_at = retry_at(policy, now);
                self.stop_and(Then::Error { retry_at })
            }
            State::Draining { deadline, .. } if now >= deadline => self.drained(),
            State::Waiting { until }
            | State::Error { retry_at: Some(until) }
            | State::Draining { deadline: until, .. }
            | State::Starting { deadline: until } => {
                vec![Effect::WakeAt(until)]
            }
            _ => vec![],
        }
    }
}

fn retry_at(policy: &Policy, now: Tick) -> Option<Tick> {
    policy.restart.retry_in_error.then_some(now + RETRY_IN_ERROR)
}

fn record(kind: &'static str, why: impl Into<String>) -> Effect {
    Effect::Record { kind, why: why.into() }
}

#[cfg(test)]
mod tests;
