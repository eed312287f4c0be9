//! Restart policy: exponential back-off with jitter, a cap, and a limit of restarts in a row.
//!
//! The delay is that of a capped exponential back-off (`delay · 2^n`, at most [`MAX_DELAY`]) with ±25 % of jitter, so that
//! the instances of one service do not come back in step. Used by the manager for instances and by a runner for the
//! worker of an agent file.

use crate::clock::Tick;
use std::time::Duration;

/// No delay is longer than this, jitter included.
pub const MAX_DELAY: Duration = Duration::from_mins(1);
/// After this long in health the count starts again.
pub const STABLE_AFTER: Duration = Duration::from_mins(1);
/// How often an instance in `error` is tried again.
pub const RETRY_IN_ERROR: Duration = Duration::from_mins(5);

/// What the user set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Restart at all?
    pub auto_restart: bool,
    /// First delay.
    pub delay: Duration,
    /// Restarts in a row.
    pub max_count: u32,
    /// Try again from `error`.
    pub retry_in_error: bool,
}

impl Policy {
    /// The policy in a service's settings.
    pub fn of(config: &crate::config::ServiceConfig) -> Self {
        Self {
            auto_restart: config.auto_restart,
            delay: crate::config::ServiceConfig::seconds(config.restart_delay),
            max_count: config.max_restart_count,
            retry_in_error: config.retry_in_error,
        }
    }
}

/// Restarts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Restarts in a row, without [`STABLE_AFTER`] of health between them.
    pub count: u32,
    /// Since when it has been up; none while it is not.
    pub up_since: Option<Tick>,
}

/// What to do after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start again after this delay.
    After(Duration),
    /// Give up; if set, try again after this delay.
    GiveUp {
        /// Until the next try.
        retry: Option<Duration>,
    },
}

impl History {
    /// It became ready.
    pub fn up(&mut self, now: Tick) {
        self.up_since = Some(now);
    }

    /// It ended: what now? `random` is uniform in `[0, 1)`.
    pub fn exited(&mut self, policy: &Policy, now: Tick, random: f64) -> Decision {
        if self.up_since.take().is_some_and(|since| now.saturating_sub(since) >= STABLE_AFTER) {
            self.count = 0;
        }
        if !policy.auto_restart {
            return Decision::GiveUp { retry: None };
        }
        if self.count >= policy.max_count {
            return Decision::GiveUp { retry: policy.retry_in_error.then_some(RETRY_IN_ERROR) };
        }
        let delay = delay(policy.delay, self.count, random);
        self.count += 1;
        Decision::After(delay)
    }
}

/// The delay before restart number `count` (from 0).
pub fn delay(first: Duration, count: u32, random: f64) -> Duration {
    let doubled = first.as_secs_f64() * 2f64.powi(count.min(32).cast_signed());
    let capped = doubled.min(MAX_DELAY.as_secs_f64());
    let jittered = capped * (0.75 + 0.5 * random.clamp(0.0, 1.0));
    Duration::from_secs_f64(jittered.min(MAX_DELAY.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy =
        Policy { auto_restart: true, delay: Duration::from_secs(1), max_count: 3, retry_in_error: true };

    #[test]
    fn delays_double_and_then_it_gives_up_and_retries_later() {
        let mut history = History::default();
        let at = Duration::ZERO;
        let decisions: Vec<_> = (0..5).map(|_| history.exited(&POLICY, at, 0.5)).collect();
        let after = |seconds| Decision::After(Duration::from_secs(seconds));
        let give_up = Decision::GiveUp { retry: Some(RETRY_IN_ERROR) };
        assert_eq!(decisions, [after(1), after(2), after(4), give_up, give_up]);
    }

    #[test]
    fn a_minute_of_health_resets_the_count() {
        let mut history = History { count: 3, up_since: None };
        history.up(Duration::from_secs(10));
        let mut soon = history;
        assert_eq!(
            soon.exited(&POLICY, Duration::from_secs(69), 0.5),
            Decision::GiveUp { retry: Some(RETRY_IN_ERROR) }
        );
        assert_eq!(
            history.exited(&POLICY, Duration::from_secs(70), 0.5),
            Decision::After(Duration::from_secs(1))
        );
    }

    #[test]
    fn what_the_user_switched_off_stays_off() {
        let off = Policy { auto_restart: false, ..POLICY };
        assert_eq!(History::default().exited(&off, Duration::ZERO, 0.0), Decision::GiveUp { retry: None });
        let no_retry = Policy { retry_in_error: false, max_count: 0, ..POLICY };
        assert_eq!(
            History::default().exited(&no_retry, Duration::ZERO, 0.0),
            Decision::GiveUp { retry: None }
        );
        let config = crate::config::ServiceConfig::default();
        assert_eq!(Policy::of(&config), POLICY);
    }

    proptest! {
        #[test]
        fn no_delay_exceeds_the_cap_and_none_is_shorter_than_three_quarters(
            first in 0.1f64..60.0, count in 0u32..2000, random in 0.0f64..1.0,
        ) {
            let delay = delay(Duration::from_secs_f64(first), count, random);
            prop_assert!(delay <= MAX_DELAY);
            prop_assert!(delay.as_secs_f64() >= first * 0.75 - 1e-6);
        }

        #[test]
        fn it_gives_up_after_exactly_max_count(max_count in 0u32..50, random in 0.0f64..1.0) {
            let policy = Policy { max_count, ..POLICY };
            let mut history = History::default();
            for _ in 0..max_count {
                prop_assert!(matches!(history.exited(&policy, Duration::ZERO, random), Decision::After(_)));
            }
            let gave_up = matches!(history.exited(&policy, Duration::ZERO, random), Decision::GiveUp { .. });
            prop_assert!(gave_up);
        }
    }
}
