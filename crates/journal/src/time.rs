//! The journal's own time: wall-clock time without its leaps.

use jiff::Timestamp;
use myagent_core::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Longer than this between two looks at the clock is a leap of it, or the machine slept: sessions do not expire by that.
const LEAP: Duration = Duration::from_mins(1);

/// Time that only goes forward, at most a minute at once.
pub(crate) struct OwnTime {
    clock: Arc<dyn Clock>,
    seen: Timestamp,
    elapsed: Duration,
}

impl OwnTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = clock.now();
        Self { clock, seen, elapsed: Duration::ZERO }
    }

    /// Since it was made.
    pub(crate) fn elapsed(&mut self) -> Duration {
        let now = self.clock.now();
        let passed = Duration::try_from(now.duration_since(self.seen)).unwrap_or_default();
        self.seen = now;
        self.elapsed += passed.min(LEAP);
        self.elapsed
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
