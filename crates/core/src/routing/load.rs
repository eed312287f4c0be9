//! What is known of an instance's load at this moment, and how it changes: connections, latency, failures in a row, how long
//! it has been there. Pure rules; who keeps the numbers passes the time in.

mod shared;

pub use shared::SharedLoad;

use crate::clock::Tick;
use std::time::Duration;

/// Failures in a row that take an instance out of routing for a while.
pub const EJECT_AFTER: u32 = 5;
/// How long for the first time; the n-th time n times that.
pub const EJECT_FOR: Duration = Duration::from_secs(30);
/// How long at the most.
pub const EJECT_MAX: Duration = Duration::from_mins(5);
/// How long a new instance takes to get its full share.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The share it begins with.
const COLD: f32 = 0.1;
/// How fast a peak of latency is forgotten: to 37 % in this time.
const DECAY: Duration = Duration::from_secs(10);

/// What the decision asks of the loads of a snapshot's instances, by their index in it. Read at most once per instance and
/// decision; without a lock.
pub trait Loads {
    /// How an instance does.
    fn reading(&self, instance: usize, now: Tick) -> Reading;
    /// Peak-weighted average of its answer times, nanoseconds; none: nothing was measured yet.
    fn latency(&self, instance: usize, now: Tick) -> Option<f64>;
}

/// How an instance does at this moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Open connections, as far as the front door knows.
    pub active: u32,
    /// Whether it failed too often lately.
    pub is_ejected: bool,
    /// The part of its share that it gets: 1, or less while it is new.
    pub warmth: f32,
}

impl Reading {
    /// Of one of which nothing is known.
    pub const NONE: Self = Self { active: 0, is_ejected: false, warmth: 1.0 };
}

/// Nothing is known: all alike.
impl Loads for () {
    fn reading(&self, _instance: usize, _now: Tick) -> Reading {
        Reading::NONE
    }
    fn latency(&self, _instance: usize, _now: Tick) -> Option<f64> {
        None
    }
}

/// The load of one start of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Open connections.
    pub active: u32,
    /// When it became ready; none: so long ago that it does not matter.
    pub ready_at: Option<Tick>,
    /// The average as of the last measurement.
    latency: Option<Latency>,
    /// Failures since the last success.
    failures: u32,
    /// Times it was ejected since the last success.
    ejections: u32,
    /// Out of routing until then.
    ejected_until: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Latency {
    nanos: f64,
    at: Tick,
}

impl Load {
    /// A connection was handed over and taken.
    pub fn opened(&mut self) {
        self.active = self.active.saturating_add(1);
    }

    /// A connection ended.
    pub fn closed(&mut self) {
        self.active = self.active.saturating_sub(1);
    }

    /// It answered (a handshake, a first response) after this time. A slower answer than the average counts at once, a quicker
    /// one the more the older the average is.
    pub fn measured(&mut self, sample: Duration, now: Tick) {
        let sample = sample.as_secs_f64() * 1e9;
        let nanos = match self.latency {
            Some(old) if sample < old.nanos => {
                let kept = kept(now.saturating_sub(old.at));
                old.nanos * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.latency = Some(Latency { nanos, at: now });
    }

    /// The average now: it decays while nothing is measured, so that one slow answer does not keep clients out for ever.
    pub fn latency(&self, now: Tick) -> Option<f64> {
        self.latency.map(|latency| latency.nanos * kept(now.saturating_sub(latency.at)))
    }

    /// It took a client and served it: what failed before is forgotten.
    pub fn succeeded(&mut self) {
        (self.failures, self.ejections, self.ejected_until) = (0, 0, None);
    }

    /// It failed a client (could not be reached, did not answer, answered with an error of its own; being full is no failure).
    /// `has_others`: another instance of its service can serve meanwhile; the last one is never ejected. Returns whether it is
    /// ejected by this.
    pub fn failed(&mut self, now: Tick, has_others: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < EJECT_AFTER || !has_others || self.is_ejected(now) {
            return false;
        }
        // Counted anew: after its time is over it has as many tries as before.
        self.failures = 0;
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_until = Some(now + EJECT_FOR.saturating_mul(self.ejections).min(EJECT_MAX));
        true
    }

    /// Whether it is out of routing.
    pub fn is_ejected(&self, now: Tick) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// Whether it has its full share for good.
    fn is_warm(&self, now: Tick) -> bool {
        self.ready_at.is_none_or(|ready_at| now.saturating_sub(ready_at) >= SLOW_START)
    }

    /// The part of its share that it gets while it is new: from a tenth to all of it, in [`SLOW_START`].
    pub fn warmth(&self, now: Tick) -> f32 {
        self.ready_at.map_or(1.0, |ready_at| {
            (now.saturating_sub(ready_at).as_secs_f32() / SLOW_START.as_secs_f32()).clamp(COLD, 1.0)
        })
    }
}

/// What is left of an average after this time.
fn kept(age: Duration) -> f64 {
    (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
}

impl Loads for [Load] {
    fn reading(&self, instance: usize, now: Tick) -> Reading {
        self.get(instance).map_or(Reading::NONE, |load| Reading {
            active: load.active,
            is_ejected: load.is_ejected(now),
            warmth: load.warmth(now),
        })
    }
    fn latency(&self, instance: usize, now: Tick) -> Option<f64> {
        self.get(instance)?.latency(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Tick {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let mut load = Load::default();
        assert_eq!(load.latency(at(0)), None);
        load.measured(Duration::from_nanos(100), at(0));
        load.measured(Duration::from_micros(1), at(0));
        assert_eq!(load.latency(at(0)), Some(1000.0));
        assert!((load.latency(at(10)).unwrap() - 367.9).abs() < 1.0);
        load.measured(Duration::from_nanos(100), at(0));
        assert_eq!(load.latency(at(0)), Some(1000.0), "no time has passed: the peak stays");
        load.measured(Duration::from_nanos(100), at(10));
        assert!((load.latency(at(10)).unwrap() - 431.1).abs() < 1.0);
    }

    #[test]
    fn five_failures_in_a_row_eject_each_time_for_longer() {
        let mut load = Load::default();
        let mut now = at(0);
        for (round, seconds) in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300].into_iter().enumerate() {
            for failure in 1..=5 {
                assert!(!load.is_ejected(now));
                assert_eq!(load.failed(now, true), failure == 5, "round {round}");
            }
            assert!(load.is_ejected(now) && load.is_ejected(now + at(seconds - 1)));
            now += at(seconds);
            assert!(!load.is_ejected(now), "round {round}");
        }
        load.succeeded();
        assert_eq!(load, Load::default());
    }

    #[test]
    fn the_last_one_is_never_ejected_and_success_interrupts_the_row() {
        let mut load = Load::default();
        assert!((0..20).all(|_| !load.failed(at(0), false)));
        assert!(load.failed(at(0), true), "as soon as there is another");
        assert!(
            (0..20).all(|_| !load.failed(at(1), true)),
            "failures of clients that were under way count once"
        );
        load.succeeded();
        assert!(!load.is_ejected(at(1)));
        for _ in 0..3 {
            assert!((0..4).all(|_| !load.failed(at(2), true)));
            load.succeeded();
        }
    }

    #[test]
    fn a_new_instance_warms_up_in_ten_seconds() {
        let load = Load { ready_at: Some(at(100)), ..Load::default() };
        for (now, expected) in [(100, 0.1), (99, 0.1), (101, 0.1), (105, 0.5), (110, 1.0), (500, 1.0)] {
            assert!((load.warmth(at(now)) - expected).abs() < 1e-6, "{now}");
        }
        assert!((Load::default().warmth(at(0)) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn connections_are_counted() {
        let mut load = Load::default();
        load.closed();
        load.opened();
        load.opened();
        load.closed();
        let loads = [load];
        assert_eq!(loads.reading(0, at(0)), Reading { active: 1, ..Reading::NONE });
        assert_eq!(loads.reading(9, at(0)), ().reading(0, at(0)));
        assert_eq!((loads.latency(9, at(0)), ().latency(0, at(0))), (None, None));
    }
}
