//! How durations are spread: counted by many threads without a lock, and read as plain numbers. What is counted costs two
//! relaxed additions and no memory. It knows no clock: how long something took is an argument.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of a spread, microseconds, rising; what is longer than the last one is counted, too.
pub type Bounds = &'static [u64];

/// Durations as they are counted. `N` is the number of bounds.
#[derive(Debug)]
pub struct SharedSpread<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    /// Those that are longer than every bound.
    longer: AtomicU64,
    /// All of them together, nanoseconds: enough for five hundred years.
    sum: AtomicU64,
}

impl<const N: usize> SharedSpread<N> {
    /// None was counted.
    pub const fn new(bounds: &'static [u64; N]) -> Self {
        let counts = [const { AtomicU64::new(0) }; N];
        Self { bounds, counts, longer: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let index = self.bounds.partition_point(|bound| bound.saturating_mul(1_000) < nanos);
        self.counts.get(index).unwrap_or(&self.longer).fetch_add(1, Relaxed);
        self.sum.fetch_add(nanos, Relaxed);
    }

    /// What was counted so far. One that is being counted may be in the counts already and not in the sum.
    pub fn read(&self) -> Spread {
        let counts = self.counts.iter().chain([&self.longer]);
        Spread {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Relaxed)).collect(),
            sum: Duration::from_nanos(self.sum.load(Relaxed)),
        }
    }
}

/// Durations that were counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The upper bounds.
    pub bounds: Bounds,
    /// How many are at most so long and longer than the bound before; the last are longer than every bound.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

impl Spread {
    /// Adds those of another thread. Both have the same bounds, or one of them is empty.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.clone_from(other);
            return;
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bounds in seconds, the last one infinite, and how many are in each bucket.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().map(|micros| *micros as f64 / 1e6);
        bounds.chain([f64::INFINITY]).zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [u64; 3] = [100, 1_000, 1_000_000];

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let shared = SharedSpread::new(&BOUNDS);
        for nanos in [0, 100_000, 100_001, 1_000_000, 999_999_999, 1_000_000_001] {
            shared.record(Duration::from_nanos(nanos));
        }
        let spread = shared.read();
        let expected = [(0.0001, 2), (0.001, 2), (1.0, 1), (f64::INFINITY, 1)];
        assert_eq!(spread.buckets().collect::<Vec<_>>(), expected);
        assert_eq!((spread.count(), spread.sum), (6, Duration::from_nanos(2_001_200_001)));
    }

    #[test]
    fn what_threads_counted_adds_up_and_nothing_is_no_obstacle() {
        let (one, other) = (SharedSpread::new(&BOUNDS), SharedSpread::new(&BOUNDS));
        one.record(Duration::from_micros(10));
        other.record(Duration::from_secs(5));
        let mut sum = Spread::default();
        assert_eq!((sum.count(), sum.buckets().count()), (0, 0));
        sum.add(&one.read());
        sum.add(&other.read());
        sum.add(&Spread::default());
        assert_eq!((sum.counts.as_slice(), sum.count()), (&[1, 0, 0, 1][..], 2));
        assert_eq!(sum.sum, Duration::from_micros(5_000_010));
    }
}
