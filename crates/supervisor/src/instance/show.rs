//! What an instance's task shows of itself.

use super::task::Task;
use crate::observed::Observed;
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::lifecycle::State;
use myagent_core::reconcile;
use myagent_core::wire::control::Phase;

impl Task {
    pub(super) fn show(&self) -> Observed {
        let state = self.machine.state.shown();
        let runner = self.runner.as_ref();
        let outdated = runner.is_some_and(|runner| runner.link.is_none() && runner.stop_request.is_none());
        let status = runner.and_then(|runner| runner.status.as_ref());
        let activity = match (&self.machine.state, state) {
            (State::Stopped, _) => reconcile::Observed::Stopped,
            (State::Draining { .. }, _) if self.machine.state.is_wanted() => reconcile::Observed::Active,
            (_, InstanceState::Stopping) => reconcile::Observed::Stopping,
            _ => reconcile::Observed::Active,
        };
        // Its main process has ended; what the restart policy makes of that is known when the rest of its tree is gone.
        let ending =
            self.machine.state.eligible() && status.is_some_and(|status| !matches!(status.phase, Phase::Up));
        let running = matches!(state, InstanceState::Running | InstanceState::Unhealthy);
        Observed {
            state,
            activity,
            eligible: self.machine.state.eligible()
                && !outdated
                && !ending
                && status.is_none_or(|status| !status.draining),
            may_become_eligible: self.machine.state.may_become_eligible() || ending,
            runner: runner.map(|runner| runner.record.clone()),
            port: runner.and_then(|runner| runner.record.port),
            agent_pid: status.and_then(|status| status.agent_pid),
            restarts: self.machine.restarts,
            last_exit: self.last_exit.clone(),
            last_lines: self.last_lines.clone(),
            error: self.machine.error.clone(),
            next_try: self.machine.state.next_try().map(|at| self.wall_second(at)),
            health: if running { self.tracker.health() } else { Health::Unknown },
            last_check: self.last_check,
            report: self.report.clone(),
            outdated,
            commands_seen: self.commands_seen,
            ownership: status.map(|status| status.ownership.clone()),
        }
    }

    /// In whole seconds, so that the same moment is shown the same each time.
    fn wall_second(&self, at: myagent_core::Tick) -> jiff::Timestamp {
        let time = self.wall(at);
        jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
    }
}
