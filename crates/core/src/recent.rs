//! What has happened within the last minute, from the statistics over time; and what follows from sums: shares and means.

use crate::wire::sessions::SessionTotals;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Numbers of the last whole minute that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recent {
    /// How much of the minute was measured, seconds; 0: nothing, so that the rest says nothing.
    pub measured_seconds: u32,
    /// Connections opened.
    pub connections: f64,
    /// Messages from clients.
    pub messages_in: f64,
    /// Messages to clients.
    pub messages_out: f64,
    /// Bytes from clients.
    pub bytes_in: f64,
    /// Bytes to clients.
    pub bytes_out: f64,
    /// Turns of agent files that were answered.
    pub turns_completed: f64,
    /// Turns of agent files that failed.
    pub turns_failed: f64,
}

/// What follows from the sums of agent files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Shares {
    /// The share of turns that failed, of those that ended and were not cancelled, from 0 to 1; none without any.
    pub turn_error_rate: Option<f64>,
    /// Mean duration of a session that ended, seconds.
    pub average_session_seconds: Option<f64>,
    /// Mean time from a message to the first response, seconds.
    pub average_first_response_seconds: Option<f64>,
}

impl Shares {
    /// Of these sums.
    pub fn of(totals: &SessionTotals) -> Self {
        let (failed, ended) =
            (totals.turns.failed, totals.turns.failed.saturating_add(totals.turns.completed));
        Self {
            turn_error_rate: (ended > 0).then(|| failed as f64 / ended as f64),
            average_session_seconds: totals.duration.average().map(|average| average.as_secs_f64()),
            average_first_response_seconds: totals
                .turns
                .first_response
                .average()
                .map(|average| average.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sessions::TurnEnd;
    use std::time::Duration;

    #[test]
    fn shares_follow_from_sums_and_of_nothing_there_are_none() {
        let mut totals = SessionTotals::default();
        assert_eq!(Shares::of(&totals), Shares::default());
        for end in [TurnEnd::Completed, TurnEnd::Completed, TurnEnd::Cancelled, TurnEnd::AgentError] {
            totals.turns.ended(end, Duration::from_secs(1));
        }
        totals.turns.first_response.record(Duration::from_millis(500));
        let shares = Shares::of(&totals);
        assert_eq!(shares.turn_error_rate.map(|rate| (rate * 3.0).round()), Some(1.0));
        assert_eq!(
            (shares.average_session_seconds, shares.average_first_response_seconds),
            (None, Some(0.5))
        );
    }
}
