//! Health: the results of probes folded into one word. Down after 3 failures in a row, up after 2 successes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// Failures in a row that make an instance unhealthy.
pub const DOWN_AFTER: u32 = 3;
/// Successes in a row that make it healthy again.
pub const UP_AFTER: u32 = 2;

/// The word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not checked yet, or not running.
    #[default]
    Unknown,
    /// The last checks succeeded.
    Healthy,
    /// They succeed, and a soft limit is passed.
    Degraded,
    /// They failed.
    Unhealthy,
}

impl Health {
    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It answered.
    Success {
        /// Memory or processor use is over the soft limit (80 %).
        over_soft_limit: bool,
    },
    /// It did not.
    Failure,
}

/// What a fold changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that matters to routing.
    None,
    /// It went down.
    Down,
    /// It came up again.
    Up,
}

/// The state of the fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    health: Health,
    failures: u32,
    successes: u32,
}

impl Tracker {
    /// An instance that has just become ready: its readiness probe was a success.
    pub fn ready() -> Self {
        Self { health: Health::Healthy, failures: 0, successes: 1 }
    }

    /// The word now.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Folds one check in.
    pub fn fold(&mut self, probe: Probe) -> Change {
        match probe {
            Probe::Failure => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                if self.failures >= DOWN_AFTER && self.health != Health::Unhealthy {
                    self.health = Health::Unhealthy;
                    return Change::Down;
                }
            }
            Probe::Success { over_soft_limit } => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                let up = if over_soft_limit { Health::Degraded } else { Health::Healthy };
                if self.health != Health::Unhealthy {
                    self.health = up;
                } else if self.successes >= UP_AFTER {
                    self.health = up;
                    return Change::Up;
                }
            }
        }
        Change::None
    }
}

/// One health check, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthRecord {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `weather-0`.
    pub instance: String,
    /// Did it succeed?
    pub healthy: bool,
    /// How long it took, milliseconds.
    pub latency_ms: f64,
    /// What went wrong.
    pub message: Option<String>,
}

/// Past checks in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthSummary {
    /// How many checks.
    pub checks: u32,
    /// How many failed.
    pub failures: u32,
    /// The share that succeeded, from 0 to 1; none without checks.
    pub success_rate: Option<f64>,
    /// Half of the answers took at most so long, milliseconds; of checks that succeeded.
    pub latency_p50_ms: Option<f64>,
    /// Nine of ten.
    pub latency_p90_ms: Option<f64>,
    /// 99 of 100.
    pub latency_p99_ms: Option<f64>,
}

impl HealthSummary {
    /// Of checks: whether each succeeded, and how long it took, milliseconds.
    pub fn of(checks: impl IntoIterator<Item = (bool, f64)>) -> Self {
        let mut summary = Self::default();
        let mut latencies = Vec::new();
        for (healthy, latency) in checks {
            summary.checks += 1;
            if healthy {
                latencies.push(latency);
            } else {
                summary.failures += 1;
            }
        }
        if summary.checks > 0 {
            summary.success_rate = Some(1.0 - f64::from(summary.failures) / f64::from(summary.checks));
        }
        latencies.sort_by(f64::total_cmp);
        // The nearest rank: a latency that there was.
        let rank = |share: f64| (latencies.len() as f64 * share).ceil().max(1.0) as usize - 1;
        let quantile = |share: f64| latencies.get(rank(share)).copied();
        summary.latency_p50_ms = quantile(0.5);
        summary.latency_p90_ms = quantile(0.9);
        summary.latency_p99_ms = quantile(0.99);
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OK: Probe = Probe::Success { over_soft_limit: false };
    const SOFT: Probe = Probe::Success { over_soft_limit: true };
    const BAD: Probe = Probe::Failure;

    fn check(probes: &[Probe], health: Health, last: Change) {
        let mut tracker = Tracker::ready();
        let change = probes.iter().map(|probe| tracker.fold(*probe)).last().unwrap_or(Change::None);
        assert_eq!((tracker.health(), change), (health, last), "{probes:?}");
    }

    #[test]
    fn down_after_three_up_after_two() {
        check(&[], Health::Healthy, Change::None);
        check(&[BAD, BAD], Health::Healthy, Change::None);
        check(&[BAD, BAD, BAD], Health::Unhealthy, Change::Down);
        check(&[BAD, BAD, BAD, BAD], Health::Unhealthy, Change::None);
        check(&[BAD, BAD, OK, BAD, BAD], Health::Healthy, Change::None);
        check(&[BAD, BAD, BAD, OK], Health::Unhealthy, Change::None);
        check(&[BAD, BAD, BAD, OK, OK], Health::Healthy, Change::Up);
        check(&[BAD, BAD, BAD, OK, BAD, OK], Health::Unhealthy, Change::None);
        check(&[SOFT], Health::Degraded, Change::None);
        check(&[SOFT, OK], Health::Healthy, Change::None);
        check(&[BAD, BAD, BAD, SOFT, SOFT], Health::Degraded, Change::Up);
        assert_eq!(Tracker::default().health(), Health::Unknown);
    }

    proptest! {
        #[test]
        fn down_and_up_alternate(failures in proptest::collection::vec(any::<bool>(), 0..200)) {
            let mut tracker = Tracker::ready();
            let mut down = false;
            for failed in failures {
                match tracker.fold(if failed { BAD } else { OK }) {
                    Change::Down => { prop_assert!(!down); down = true; }
                    Change::Up => { prop_assert!(down); down = false; }
                    Change::None => {}
                }
                prop_assert_eq!(tracker.health() == Health::Unhealthy, down);
                prop_assert!(tracker.failures() < DOWN_AFTER || down);
            }
        }
    }

    #[test]
    fn past_checks_are_summed_up_by_nearest_rank() {
        assert_eq!(HealthSummary::of([]), HealthSummary::default());
        let checks = (1..=100).map(|number| (number != 50, f64::from(number)));
        let summary = HealthSummary::of(checks.chain([(false, 1e6)]));
        assert_eq!((summary.checks, summary.failures), (101, 2));
        assert_eq!(summary.success_rate.map(|rate| (rate * 1000.0).round()), Some(980.0));
        let latencies = [summary.latency_p50_ms, summary.latency_p90_ms, summary.latency_p99_ms];
        assert_eq!(latencies, [Some(51.0), Some(91.0), Some(100.0)]);
    }
}
