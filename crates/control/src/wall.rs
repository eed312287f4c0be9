//! Whether the wall clock goes as time does. Records are kept by their age, so after a jump nothing is removed for a day: what seems
//! to be a year old may be of this morning.

use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// Smaller differences are corrections, not jumps.
const JUMP: Duration = Duration::from_mins(1);
/// How long a clock is not believed after a jump.
const DOUBT: Duration = Duration::from_hours(24);

/// What was seen last, and whether to believe it.
#[derive(Debug, Default)]
pub(crate) struct WallWatch {
    seen: Option<(Timestamp, Instant)>,
    jumped: Option<Instant>,
}

impl WallWatch {
    /// Looks at both clocks; the answer tells of a jump since the last look.
    pub(crate) fn look(&mut self, wall: Timestamp, now: Instant) -> Option<String> {
        let (before, then) = self.seen.replace((wall, now))?;
        let expected = before.checked_add(now.duration_since(then)).ok()?;
        let difference = wall.duration_since(expected);
        if difference.unsigned_abs() < JUMP {
            return None;
        }
        self.jumped = Some(now);
        let direction = if difference.is_negative() { "back" } else { "forward" };
        let seconds = difference.unsigned_abs().as_secs();
        Some(format!(
            "the clock was set {direction} by {seconds} s, to {wall:.0}; nothing is removed for its age for a day"
        ))
    }

    /// Whether ages can be told from it.
    pub(crate) fn is_steady(&self, now: Instant) -> bool {
        self.jumped.is_none_or(|jumped| now.duration_since(jumped) >= DOUBT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_once_and_ages_are_not_believed_for_a_day() {
        let mut watch = WallWatch::default();
        let (start, at) = (Instant::now(), |second: i64| Timestamp::from_second(second).unwrap());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(watch.look(at(1_000_000), after(0)), None);
        assert_eq!(watch.look(at(1_000_035), after(5)), None);
        assert!(watch.is_steady(after(5)));
        let jump = watch.look(at(1_003_640), after(10)).unwrap();
        assert!(jump.starts_with("the clock was set forward by 3600 s, to 1970-01-12T14:47:20Z"), "{jump}");
        assert_eq!(watch.look(at(1_003_645), after(15)), None);
        assert!(!watch.is_steady(after(86_000)));
        assert!(watch.is_steady(after(86_410)));
        let back = watch.look(at(1_000), after(20)).unwrap();
        assert!(back.starts_with("the clock was set back by "), "{back}");
    }
}
