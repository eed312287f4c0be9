//! What became of the host's sessions and turns, in numbers: hooks for the moments, and a snapshot for the runner's report.
//!
//! It measures times and counts; it knows neither sessions nor turns. The sums are `core::wire::sessions`, where their
//! meaning is told; how many sessions were ever created is counted by the table, with the connections.

use crate::host::Host;
use myagent_core::wire::sessions::{SessionEnd, SessionTotals, TurnEnd};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The numbers of one host; a cheap handle, which may outlive the host.
#[derive(Clone, Debug, Default)]
pub struct SessionStats {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    totals: RefCell<SessionTotals>,
    detached: Cell<u32>,
    /// Something is new since the last snapshot.
    changed: Cell<bool>,
}

/// A message on its way to its answer; goes with it from the queue to the turn, and back if the turn is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    accepted: Instant,
    /// The agent has said something: what it says when the turn is repeated is not its first response.
    responded: bool,
}

impl Host {
    /// What became of its sessions and turns; may be kept longer than the host.
    pub fn stats(&self) -> SessionStats {
        self.inner.stats.clone()
    }
}

impl Pending {
    /// Accepted now.
    pub(crate) fn now() -> Self {
        Self { accepted: Instant::now(), responded: false }
    }
}

impl SessionStats {
    /// Sessions without a connection, now.
    pub fn detached(&self) -> u32 {
        self.inner.detached.get()
    }

    /// The sums since the host's start.
    pub fn snapshot(&self) -> SessionTotals {
        self.inner.changed.set(false);
        self.inner.totals.borrow().clone()
    }

    /// Whether anything is new since the last snapshot.
    pub fn changed(&self) -> bool {
        self.inner.changed.get()
    }

    fn count(&self, change: impl FnOnce(&mut SessionTotals)) {
        self.inner.changed.set(true);
        change(&mut self.inner.totals.borrow_mut());
    }

    pub(crate) fn set_detached(&self, detached: u32) {
        if self.inner.detached.replace(detached) != detached {
            self.inner.changed.set(true);
        }
    }

    /// A session ended. `failed`: its last turn did. `lived`: from its creation to its last activity.
    pub(crate) fn ended(&self, how: SessionEnd, failed: bool, lived: Duration) {
        self.count(|totals| totals.ended(how, failed, lived));
    }

    /// A client came back to its session, wherever that was.
    pub(crate) fn resumed(&self) {
        self.count(|totals| totals.resumed += 1);
    }

    /// A session of another runner is here now, its owner having died. If its client has come back to it,
    /// [`SessionStats::resumed`] is for that.
    pub(crate) fn adopted(&self) {
        self.count(|totals| totals.adopted += 1);
    }

    /// A message is taken to be answered.
    pub(crate) fn turn_accepted(&self) {
        self.count(|totals| totals.turns.accepted += 1);
    }

    /// The agent says something other than `agent.thinking`; only the first time counts.
    pub(crate) fn responded(&self, pending: &mut Pending) {
        if !std::mem::replace(&mut pending.responded, true) {
            let waited = pending.accepted.elapsed();
            self.count(|totals| totals.turns.first_response.record(waited));
        }
    }

    /// The turn of this message ended.
    pub(crate) fn turn_ended(&self, pending: Pending, how: TurnEnd) {
        let took = pending.accepted.elapsed();
        self.count(|totals| totals.turns.ended(how, took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn waiting_counts_and_only_the_first_response_does() {
        let stats = SessionStats::default();
        stats.turn_accepted();
        let mut pending = Pending::now();
        advance(3 * SECOND).await;
        stats.responded(&mut pending);
        advance(4 * SECOND).await;
        // Given to another worker, it says something again.
        stats.responded(&mut pending);
        stats.turn_ended(pending, TurnEnd::Completed);
        let turns = stats.snapshot().turns;
        assert_eq!((turns.accepted, turns.completed), (1, 1));
        assert_eq!((turns.first_response.count, turns.first_response.sum), (1, 3 * SECOND));
        assert_eq!((turns.duration.count, turns.duration.sum), (1, 7 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn each_hook_moves_its_numbers() {
        let stats = SessionStats::default();
        for how in [TurnEnd::AgentError, TurnEnd::WorkerLost, TurnEnd::Interrupted, TurnEnd::Cancelled] {
            stats.turn_accepted();
            stats.turn_ended(Pending::now(), how);
        }
        stats.ended(SessionEnd::Expired, false, 5 * SECOND);
        stats.ended(SessionEnd::Evicted, true, SECOND);
        stats.resumed();
        stats.adopted();
        stats.adopted();
        stats.set_detached(4);
        let totals = stats.snapshot();
        let turns = &totals.turns;
        assert_eq!((turns.accepted, turns.failed, turns.cancelled, turns.completed), (4, 3, 1, 0));
        assert_eq!((turns.agent_error, turns.worker_lost, turns.interrupted), (1, 1, 1));
        assert_eq!((turns.duration.count, turns.first_response.count), (0, 0));
        assert_eq!((totals.completed, totals.failed, totals.expired, totals.evicted), (1, 1, 1, 1));
        assert_eq!((totals.duration.sum, totals.duration.max), (6 * SECOND, 5 * SECOND));
        assert_eq!((totals.resumed, totals.adopted, stats.detached()), (1, 2, 4));
    }

    #[tokio::test]
    async fn a_snapshot_says_all_there_was_to_say() {
        let stats = SessionStats::default();
        assert!(!stats.changed());
        stats.set_detached(0);
        assert!(!stats.changed());
        for change in [|stats: &SessionStats| stats.set_detached(1), SessionStats::resumed] {
            change(&stats);
            assert!(stats.clone().changed());
            stats.snapshot();
            assert!(!stats.changed());
        }
    }
}
