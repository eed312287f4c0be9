//! The load generator: raw sockets, one thread, closed loops. It must never be what is measured, so it does as little as
//! can be done for each operation, and says how much of its core it used.

mod connect;
mod echo;
mod exchange;
mod frames;
mod http;
pub(crate) mod many;
mod poll;
mod streams;

pub(crate) use connect::{Connects, Until, open, open_until};
pub(crate) use echo::Echo;
pub(crate) use exchange::{Exchange, Talk, idle_sessions};
pub(crate) use http::{Asker, requests};
pub(crate) use poll::Poll;
pub(crate) use streams::{Pace, Streams};

use crate::procs;
use crate::report::median;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Where a client goes: an address and what it asks for there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) target: String,
}

impl Place {
    pub(crate) fn new(address: SocketAddr, target: impl Into<String>) -> Self {
        Self { address, target: target.into() }
    }
}

/// The place of a client: they take turns.
fn of(places: &[Place], number: usize) -> &Place {
    &places[number % places.len()]
}

/// What came of one round of load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Operations per second.
    pub(crate) rate: f64,
    /// Half of them were done within, µs.
    pub(crate) p50: f64,
    /// 99 of 100 were done within, µs.
    pub(crate) p99: f64,
    /// Share of a core that the generator used.
    pub(crate) generator: f64,
    /// Operations in all.
    pub(crate) count: usize,
}

impl Measured {
    /// Several short ones of equal length as one. Its percentiles are the medians of theirs.
    pub(crate) fn of_slices(slices: &[Self]) -> Self {
        let all = |value: fn(&Self) -> f64| slices.iter().map(value).collect::<Vec<_>>();
        let mean = |value| all(value).iter().sum::<f64>() / slices.len() as f64;
        Self {
            rate: mean(|slice| slice.rate),
            p50: median(&all(|slice| slice.p50)),
            p99: median(&all(|slice| slice.p99)),
            generator: mean(|slice| slice.generator),
            count: slices.iter().map(|slice| slice.count).sum(),
        }
    }
}

/// Counts operations until the round is over.
struct Meter {
    started: Instant,
    end: Instant,
    cpu: Duration,
    /// Of each operation, ns.
    took: Vec<u64>,
}

impl Meter {
    fn start(duration: Duration) -> Self {
        let started = Instant::now();
        let took = Vec::with_capacity(1 << 20);
        Self { started, end: started + duration, cpu: procs::own_cpu(), took }
    }

    /// One operation is done; false: the time is over.
    fn done(&mut self, since: Instant, now: Instant) -> bool {
        self.add(now - since);
        now < self.end
    }

    /// One operation is done.
    fn add(&mut self, took: Duration) {
        self.took.push(took.as_nanos() as u64);
    }

    fn finish(self) -> Measured {
        let count = self.took.len();
        self.finish_with(count)
    }

    /// Of so many operations, of which only some were timed.
    fn finish_with(mut self, count: usize) -> Measured {
        let elapsed = self.started.elapsed().as_secs_f64();
        let cpu = procs::own_cpu().saturating_sub(self.cpu);
        self.took.sort_unstable();
        let at = |share: f64| {
            let index = (self.took.len() as f64 * share) as usize;
            self.took
                .get(index.min(self.took.len().saturating_sub(1)))
                .map_or(f64::NAN, |took| *took as f64 / 1e3)
        };
        Measured {
            rate: count as f64 / elapsed,
            p50: at(0.5),
            p99: at(0.99),
            generator: cpu.as_secs_f64() / elapsed,
            count,
        }
    }
}
