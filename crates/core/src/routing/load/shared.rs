//! A load that several threads read and change without a lock.
//!
//! The number of connections is exact. The rest follows the rules of [`Load`] as each thread sees it: two threads that change it
//! in the same moment may lose one of the changes, which an average and a count of failures can bear.

use super::{Latency, Load, Loads, Reading};
use crate::clock::Tick;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The load of one start of one instance, shared.
#[derive(Debug)]
pub struct SharedLoad {
    active: AtomicU32,
    /// Plain requests that the front door carries itself, and that no runner reports.
    requests: AtomicU32,
    /// [`NEW`] and [`EJECTED`]: mostly neither, and then a reading looks no further.
    marks: AtomicU32,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Ticks in nanoseconds (enough for 580 years); [`NONE`] for none.
    ready_at: AtomicU64,
    ejected_until: AtomicU64,
    measured_at: AtomicU64,
    /// Bits of an `f64`.
    latency: AtomicU64,
}

const NONE: u64 = u64::MAX;
/// Perhaps not warm yet.
const NEW: u32 = 1;
/// Perhaps still ejected.
const EJECTED: u32 = 2;

impl Default for SharedLoad {
    fn default() -> Self {
        Self::new(None)
    }
}

impl SharedLoad {
    /// One that became ready then; none: long ago.
    pub fn new(ready_at: Option<Tick>) -> Self {
        Self {
            active: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            marks: AtomicU32::new(if ready_at.is_some() { NEW } else { 0 }),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ready_at: AtomicU64::new(to_nanos(ready_at)),
            ejected_until: AtomicU64::new(NONE),
            measured_at: AtomicU64::new(NONE),
            latency: AtomicU64::new(0),
        }
    }

    /// What it is now.
    pub fn get(&self) -> Load {
        let measured_at = from_nanos(self.measured_at.load(Relaxed));
        Load {
            active: self.open(),
            ready_at: from_nanos(self.ready_at.load(Relaxed)),
            latency: measured_at.map(|at| Latency { nanos: f64::from_bits(self.latency.load(Relaxed)), at }),
            failures: self.failures.load(Relaxed),
            ejections: self.ejections.load(Relaxed),
            ejected_until: from_nanos(self.ejected_until.load(Relaxed)),
        }
    }

    /// Sets the number of connections to what the runner counts.
    pub fn set_active(&self, active: u32) {
        self.active.store(active, Relaxed);
    }

    /// Connections and requests.
    fn open(&self) -> u32 {
        self.active.load(Relaxed).saturating_add(self.requests.load(Relaxed))
    }

    /// A plain request begins: it counts as a connection until [`SharedLoad::request_ended`], whatever the runner counts.
    pub fn request_began(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// It is over.
    pub fn request_ended(&self) {
        // As in `closed`.
        let _ = self.requests.fetch_update(Relaxed, Relaxed, |requests| requests.checked_sub(1));
    }

    /// See [`Load::opened`].
    pub fn opened(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    /// See [`Load::closed`].
    pub fn closed(&self) {
        // The closure never returns none for more than zero, and zero stays.
        let _ = self.active.fetch_update(Relaxed, Relaxed, |active| active.checked_sub(1));
    }

    /// See [`Load::measured`].
    pub fn measured(&self, sample: Duration, now: Tick) {
        let mut load = self.get();
        load.measured(sample, now);
        if let Some(latency) = load.latency {
            self.latency.store(latency.nanos.to_bits(), Relaxed);
            self.measured_at.store(to_nanos(Some(latency.at)), Relaxed);
        }
    }

    /// See [`Load::succeeded`].
    pub fn succeeded(&self) {
        // Nearly always there is nothing to forget: then the cache line stays shared.
        if self.failures.load(Relaxed) != 0 || self.ejections.load(Relaxed) != 0 {
            self.change(Load::succeeded);
        }
    }

    /// See [`Load::failed`].
    pub fn failed(&self, now: Tick, has_others: bool) -> bool {
        self.change(|load| load.failed(now, has_others))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Load) -> T) -> T {
        let mut load = self.get();
        let result = change(&mut load);
        self.failures.store(load.failures, Relaxed);
        self.ejections.store(load.ejections, Relaxed);
        self.ejected_until.store(to_nanos(load.ejected_until), Relaxed);
        if load.ejected_until.is_some() {
            self.marks.fetch_or(EJECTED, Relaxed);
        } else {
            self.marks.fetch_and(!EJECTED, Relaxed);
        }
        result
    }
}

fn to_nanos(tick: Option<Tick>) -> u64 {
    tick.map_or(NONE, |tick| u64::try_from(tick.as_nanos()).unwrap_or(NONE - 1))
}

fn from_nanos(nanos: u64) -> Option<Tick> {
    (nanos != NONE).then(|| Duration::from_nanos(nanos))
}

impl Loads for [Arc<SharedLoad>] {
    #[inline]
    fn reading(&self, instance: usize, now: Tick) -> Reading {
        let Some(shared) = self.get(instance) else { return Reading::NONE };
        let active = shared.open();
        if shared.marks.load(Relaxed) == 0 {
            return Reading { active, ..Reading::NONE };
        }
        let load = shared.get();
        if load.is_warm(now) {
            shared.marks.fetch_and(!NEW, Relaxed);
        }
        Reading { active, is_ejected: load.is_ejected(now), warmth: load.warmth(now) }
    }
    fn latency(&self, instance: usize, now: Tick) -> Option<f64> {
        self.get(instance)?.get().latency(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Tick {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_does_what_a_plain_load_does() {
        let shared = Arc::new(SharedLoad::new(Some(at(3))));
        let mut plain = Load { ready_at: Some(at(3)), ..Load::default() };
        let loads = [Arc::clone(&shared)];
        let check = |plain: &Load, now| {
            assert_eq!(shared.get(), *plain);
            assert_eq!(loads.reading(0, now), [*plain].reading(0, now));
            assert_eq!(loads.latency(0, now), plain.latency(now));
        };
        check(&plain, at(4));
        for round in 0..30_u64 {
            let now = at(round * 7);
            let sample = Duration::from_millis(round * 13 % 100);
            shared.measured(sample, now);
            plain.measured(sample, now);
            if round == 20 {
                shared.succeeded();
                plain.succeeded();
            } else {
                assert_eq!(shared.failed(now, true), plain.failed(now, true));
            }
            shared.opened();
            plain.opened();
            check(&plain, now);
        }
        shared.set_active(1);
        shared.closed();
        shared.closed();
        assert_eq!(loads.reading(0, at(0)).active, 0);
        shared.request_began();
        shared.set_active(2);
        assert_eq!(loads.reading(0, at(0)).active, 3);
        shared.request_ended();
        shared.request_ended();
        assert_eq!(loads.reading(0, at(0)).active, 2);
        assert_eq!(SharedLoad::default().get(), Load::default());
        assert_eq!((loads.reading(5, at(0)), loads.latency(5, at(0))), (Reading::NONE, None));
    }
}
