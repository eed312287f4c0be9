//! A worker with turns that do not end after their cancel: when it is given up for a fresh one, and how nothing is lost by
//! that (`docs/design/worker-protocol.md`, "Recycling").
//!
//! The worker says which of its turns are stuck. When nothing else runs, or it has waited long enough for that, the host
//! gives it no more turns and asks it to retire; once it says that it has, its sessions wait for the next worker, and
//! whoever started its process learns it from [`crate::Host::worker_gone`].

use crate::host::Inner;
use crate::line::{self, WorkerLine};
use crate::link::Worker;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// With so many stuck turns (a worker has 64 threads) nobody waits for a quiet moment.
const MANY: u64 = 32;
/// So many times as long as a turn takes to count as stuck is waited for a quiet moment, and then again for what still
/// runs: five minutes each.
const PATIENCE: u32 = 10;
/// Longest that a worker may say that a turn takes to count as stuck, in seconds.
const MAX_AFTER: f64 = 3600.0;

/// Code and sentence for the client of a turn whose worker died.
pub(crate) const WORKER_LOST: (&str, &str) =
    ("WORKER_LOST", "the agent's process died while it answered; send the message again");

/// What is known about a worker's stuck turns.
#[derive(Debug, Default)]
pub(crate) struct Recycling {
    stuck: Cell<u64>,
    since: Cell<Option<Instant>>,
    patience: Cell<Duration>,
    /// Sessions with a stuck turn; the next one waits for it inside the worker.
    sessions: RefCell<Vec<u64>>,
    asked: Cell<Option<Asked>>,
    over: Cell<Option<Over>>,
    gone: Notify,
}

/// It was asked to retire.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    force: bool,
}

/// Why a worker is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It has retired: nothing ran in it any more.
    Retired,
    /// What ran in it did not end in time.
    OutOfTime,
}

impl Recycling {
    /// It gets no more turns.
    pub(crate) fn holds_turns(&self) -> bool {
        self.asked.get().is_some()
    }

    /// The host gave it up, and wants a fresh one.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get().is_some()
    }

    /// Code and sentence for the clients of turns that end with their worker.
    pub(crate) fn last_words(&self) -> (&'static str, &'static str) {
        match self.over.get() {
            None => WORKER_LOST,
            Some(_) => {
                ("INTERRUPTED_BY_RESTART", "the agent's process had to be replaced; send the message again")
            }
        }
    }

    /// The worker is detached from the host.
    pub(crate) fn left(&self) {
        self.gone.notify_waiters();
    }

    /// Waits for [`Recycling::left`]; to be asked before it.
    pub(crate) async fn until_left(&self) {
        self.gone.notified().await;
    }

    /// What to do about it now. `quiet`: no turn runs but the stuck ones.
    fn decide(&self, quiet: impl FnOnce() -> bool) -> Option<Step> {
        let (since, patience) = (self.since.get()?, self.patience.get());
        let urgent = self.stuck.get() >= MANY || since.elapsed() >= patience;
        match self.asked.get() {
            Some(Asked { at, force: true }) => (at.elapsed() >= patience).then_some(Step::GiveUp),
            Some(Asked { force: false, .. }) => urgent.then_some(Step::Ask { force: true }),
            None if urgent => Some(Step::Ask { force: true }),
            None => quiet().then_some(Step::Ask { force: false }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ask { force: bool },
    GiveUp,
}

impl Inner {
    /// The worker says how many of its turns are stuck now.
    pub(crate) fn worker_stuck(&self, worker: &Rc<Worker>, line: &WorkerLine<'_>) {
        let state = &worker.recycling;
        let before = state.stuck.replace(line.count);
        let after = Duration::from_secs_f64(line.seconds.clamp(0.0, MAX_AFTER));
        state.patience.set(after * PATIENCE);
        state.sessions.replace(line.sessions.clone());
        match line.count {
            0 => state.since.set(None),
            _ if state.since.get().is_none() => state.since.set(Some(Instant::now())),
            _ => {}
        }
        if line.count > before {
            let message = format!("{} cancelled turns still run after {} s", line.count, after.as_secs_f64());
            self.notice("thread_stuck", message);
        }
        self.look_at_stuck(worker);
    }

    /// Is it time to give up this worker? Cheap if nothing is stuck. Not to be called while a session's state is borrowed.
    pub(crate) fn look_at_stuck(&self, worker: &Rc<Worker>) {
        match worker.recycling.decide(|| self.is_quiet(worker)) {
            Some(Step::Ask { force }) => {
                worker.recycling.asked.set(Some(Asked { at: Instant::now(), force }));
                worker.push(|out| line::retire(out, force));
            }
            Some(Step::GiveUp) => self.give_up(worker, Over::OutOfTime),
            None => {}
        }
    }

    fn is_quiet(&self, worker: &Worker) -> bool {
        let stuck = worker.recycling.sessions.borrow();
        let sessions = self.sessions.borrow();
        sessions
            .values()
            .all(|session| session.state.borrow().turn.is_none() || stuck.contains(&session.number))
    }

    /// It cannot retire now: the next quiet moment will come.
    pub(crate) fn worker_busy(&self, worker: &Rc<Worker>) {
        if worker.recycling.asked.get().is_some_and(|asked| !asked.force) {
            worker.recycling.asked.set(None);
            self.worker_attached();
        }
    }

    /// Nothing runs in it: turns that it was given have not begun.
    pub(crate) fn worker_retired(&self, worker: &Rc<Worker>) {
        if !worker.recycling.holds_turns() {
            return self.notice("worker_protocol", "the worker retired without being asked to".to_owned());
        }
        for session in self.sessions.borrow().values() {
            let mut state = session.state.borrow_mut();
            if state.opened_in == worker.generation && state.put_back() {
                self.config.journal.turn_again(session.key, false);
            }
        }
        self.give_up(worker, Over::Retired);
    }

    fn give_up(&self, worker: &Rc<Worker>, over: Over) {
        worker.recycling.over.set(Some(over));
        let count = worker.recycling.stuck.get();
        self.notice("worker_recycled", format!("the worker is replaced: {count} of its turns did not end"));
        self.worker_ended(worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn stuck(count: u64) -> Recycling {
        let state = Recycling::default();
        state.stuck.set(count);
        state.since.set(Some(Instant::now()));
        state.patience.set(300 * SECOND);
        state
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_moment_is_used_and_not_waited_for_for_ever() {
        let decide = |state: &Recycling, quiet| state.decide(|| quiet);
        assert_eq!(decide(&Recycling::default(), true), None);
        let state = stuck(1);
        assert_eq!(decide(&state, false), None);
        assert_eq!(decide(&state, true), Some(Step::Ask { force: false }));
        advance(299 * SECOND).await;
        assert_eq!(decide(&state, false), None);
        advance(SECOND).await;
        assert_eq!(decide(&state, false), Some(Step::Ask { force: true }));
        assert_eq!(decide(&stuck(MANY - 1), false), None);
        assert_eq!(decide(&stuck(MANY), false), Some(Step::Ask { force: true }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_has_as_long_again() {
        let state = stuck(MANY);
        state.asked.set(Some(Asked { at: Instant::now(), force: true }));
        assert!(state.holds_turns());
        advance(299 * SECOND).await;
        assert_eq!(state.decide(|| true), None);
        advance(SECOND).await;
        assert_eq!(state.decide(|| true), Some(Step::GiveUp));
        // Asked politely, it is asked again when it takes too long.
        let state = stuck(1);
        state.asked.set(Some(Asked { at: Instant::now(), force: false }));
        assert_eq!(state.decide(|| true), None);
        advance(300 * SECOND).await;
        assert_eq!(state.decide(|| true), Some(Step::Ask { force: true }));
    }
}
