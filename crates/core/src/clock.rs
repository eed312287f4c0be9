//! Time as an argument: the wall clock is a trait, monotonic time a plain number.

use jiff::Timestamp;
use std::time::Duration;

/// Monotonic time since an origin that the caller chose (the start of its process). Never goes backwards.
pub type Tick = Duration;

/// Where wall-clock time comes from. Only the composition root has the real one; tests have one that they set.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time. May jump either way: measure durations with [`Tick`].
    fn now(&self) -> Timestamp;
}
