//! Which connections get an event of their own. There may be thousands in a second, and nobody reads so many: past a rate they are
//! only counted in the numbers, and the access log has those that ended.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Events of connections in a second, of all instances together.
const RATE: f64 = 20.0;
/// And at once.
const BURST: f64 = 50.0;

/// A bucket of tokens that all instances share.
#[derive(Clone, Debug, Default)]
pub struct Sampled(Arc<Mutex<Option<Bucket>>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Sampled {
    /// Takes a token, if there is one.
    pub fn take(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Bucket { tokens, at } = bucket.unwrap_or(Bucket { tokens: BURST, at: now });
        let tokens = (tokens + now.saturating_duration_since(at).as_secs_f64() * RATE).min(BURST);
        let has_one = tokens >= 1.0;
        *bucket = Some(Bucket { tokens: if has_one { tokens - 1.0 } else { tokens }, at: now });
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_and_then_so_many_in_a_second() {
        let (sampled, start) = (Sampled::default(), Instant::now());
        let taken = |at: Duration| (0..1000).filter(|_| sampled.clone().take(start + at)).count();
        assert_eq!(taken(Duration::ZERO), 50);
        assert_eq!(taken(Duration::from_secs(1)), 20);
        assert_eq!(taken(Duration::from_mins(1)), 50);
    }
}
