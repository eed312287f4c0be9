//! What one thread of the front door counts. Each has its own, in cache lines of its own, so that counting is one relaxed
//! addition that no other thread slows down; whoever wants to see the sums adds them up.

use crate::admission::Denied;
use crate::head::HeadError;
use crate::proxy::Shared;
use myagent_core::front_door::{FrontDoorStats, Turned};
use myagent_core::spread::{SharedSpread, Spread};
use myagent_core::wire::handover::Refusal;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::Instant;

/// Bounds for times at the door, microseconds: from a hand-over at first look to a client that waited.
pub(crate) const BOUNDS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// The counters of one thread.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters {
    accepted: AtomicU64,
    handed_over: SharedSpread<{ BOUNDS.len() }>,
    left: AtomicU64,
    unreached: AtomicU64,
    ejected: AtomicU64,
    silent: AtomicU64,
    turned_away: [AtomicU64; Turned::ALL.len()],
    given_back: [AtomicU64; Refusal::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            handed_over: SharedSpread::new(&BOUNDS),
            left: AtomicU64::new(0),
            unreached: AtomicU64::new(0),
            ejected: AtomicU64::new(0),
            silent: AtomicU64::new(0),
            turned_away: Default::default(),
            given_back: Default::default(),
        }
    }
}

impl Counters {
    /// A client came.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// A client was sent to a runner, and has been on its way since then.
    pub(crate) fn handed_over(&self, since: Instant, now: Instant) {
        self.handed_over.record(now.saturating_duration_since(since));
    }

    /// A client left on its way.
    pub(crate) fn left(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// A runner could not be reached.
    pub(crate) fn unreached(&self) {
        self.unreached.fetch_add(1, Relaxed);
    }

    /// An instance gets no clients for a while.
    pub(crate) fn ejected(&self) {
        self.ejected.fetch_add(1, Relaxed);
    }

    /// A runner does not answer.
    pub(crate) fn silent(&self) {
        self.silent.fetch_add(1, Relaxed);
    }

    /// A client got no instance.
    pub(crate) fn turned_away(&self, why: Turned) {
        self.turned_away[why as usize].fetch_add(1, Relaxed);
    }

    /// A runner gave a client back.
    pub(crate) fn given_back(&self, why: Refusal) {
        self.given_back[why as usize].fetch_add(1, Relaxed);
    }

    /// A client's request could not be read.
    pub(crate) fn bad_head(&self, error: &HeadError) {
        match error {
            HeadError::Left => self.left(),
            HeadError::Late => self.turned_away(Turned::HeadTimeout),
            HeadError::SentAway => self.turned_away(Turned::Crowded),
            HeadError::Bad(_) | HeadError::Version | HeadError::TooLarge => {
                self.turned_away(Turned::BadRequest)
            }
        }
    }

    /// A client was not let in.
    pub(crate) fn denied(&self, denied: &Denied) {
        self.turned_away(match denied {
            Denied::Full(_) => Turned::MaxConnections,
            Denied::PerClient(..) => Turned::PerAddress,
            Denied::Rate(_) => Turned::AcceptRate,
        });
    }

    fn add_to(&self, stats: &mut FrontDoorStats) {
        for (sum, more) in [
            (&mut stats.accepted, &self.accepted),
            (&mut stats.left, &self.left),
            (&mut stats.unreached, &self.unreached),
            (&mut stats.ejected, &self.ejected),
            (&mut stats.silent, &self.silent),
        ]
        .into_iter()
        .chain(stats.turned_away.iter_mut().zip(&self.turned_away))
        .chain(stats.given_back.iter_mut().zip(&self.given_back))
        {
            *sum += more.load(Relaxed);
        }
        stats.hand_over.add(&self.handed_over.read());
    }
}

/// The sums of all threads.
pub(crate) fn sums(threads: &[Arc<Counters>], shared: &Shared) -> FrontDoorStats {
    let mut stats = FrontDoorStats {
        hand_over: Spread::default(),
        queue_wait: shared.queue.waits(),
        hints_dropped: shared.hints_dropped(),
        ..FrontDoorStats::default()
    };
    for thread in threads {
        thread.add_to(&mut stats);
    }
    stats.handed_over = stats.hand_over.count();
    stats
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_thing_that_happens_has_its_own_counter() {
        let counters = Counters::default();
        for why in Turned::ALL {
            counters.turned_away(why);
        }
        for why in Refusal::ALL {
            counters.given_back(why);
        }
        let heads = [HeadError::Left, HeadError::Late, HeadError::SentAway, HeadError::TooLarge];
        for error in &heads {
            counters.bad_head(error);
        }
        let client = "192.0.2.1".parse().unwrap();
        let denials = [Denied::Full(1), Denied::PerClient(client, 1), Denied::Rate(Duration::ZERO)];
        for denied in &denials {
            counters.denied(denied);
        }
        let mut stats = FrontDoorStats::default();
        counters.add_to(&mut stats);
        counters.add_to(&mut stats);
        assert_eq!(stats.left, 2);
        assert_eq!(stats.given_back, [2; Refusal::ALL.len()]);
        for (why, count) in Turned::ALL.into_iter().zip(stats.turned_away) {
            let twice = matches!(
                why,
                Turned::HeadTimeout
                    | Turned::Crowded
                    | Turned::BadRequest
                    | Turned::MaxConnections
                    | Turned::PerAddress
                    | Turned::AcceptRate
            );
            assert_eq!(count, if twice { 4 } else { 2 }, "{why:?}");
        }
    }
}
