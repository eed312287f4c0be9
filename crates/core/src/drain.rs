//! How clients leave an instance that is to end, whoever serves them there: what they are told, and how fast, so that they do not
//! all come back at once.

use std::time::Duration;

/// Close code and reason of a client that had better come back.
pub const COME_BACK: (u16, &str) = (1012, "service restart");
/// Between two connections that are closed while the window lasts, at most.
pub const PACE: Duration = Duration::from_millis(50);
/// Those that are left after the window are told over so long, at most, and have as long to end.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Between two of them, at most.
const FAREWELL_PACE: Duration = Duration::from_millis(5);

/// Between two of so many that are to be told within `left`: not longer than [`PACE`].
pub fn pace(left: Duration, count: u32) -> Duration {
    PACE.min(left / count.max(1))
}

/// Between two of so many that are left after the window.
pub fn farewell_pace(count: usize) -> Duration {
    FAREWELL_PACE.min(FAREWELL / u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_slowly_and_many_in_time() {
        assert_eq!(pace(Duration::from_mins(1), 0), PACE);
        assert_eq!(pace(Duration::from_mins(1), 6000), Duration::from_millis(10));
        assert_eq!((farewell_pace(0), farewell_pace(400)), (FAREWELL_PACE, FAREWELL_PACE));
        assert_eq!(farewell_pace(2000), Duration::from_millis(1));
    }
}
