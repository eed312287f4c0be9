//! What the front door has counted, as plain numbers: who came, who was handed over, and who was not and why.

use crate::spread::Spread;
use crate::wire::handover::Refusal;

/// Why a client, or a plain request of one, got no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Its request could not be read, or is none that can be served.
    BadRequest,
    /// Its request did not come in time.
    HeadTimeout,
    /// It was slow, and there was no room left for others.
    Crowded,
    /// It is a page of an origin that may not connect.
    Origin,
    /// All connections that there may be were open.
    MaxConnections,
    /// All connections of its address were open.
    PerAddress,
    /// Too many came in one second.
    AcceptRate,
    /// Too many plain requests were under way.
    TooManyRequests,
    /// No instance serves what it asked for.
    NoInstance,
    /// The instances that were tried failed.
    InstanceFailed,
    /// It would have had to wait, and no more clients may.
    QueueFull,
    /// It waited in vain.
    QueueTimeout,
    /// The manager was about to end.
    ShuttingDown,
}

impl Turned {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::HeadTimeout,
        Self::Crowded,
        Self::Origin,
        Self::MaxConnections,
        Self::PerAddress,
        Self::AcceptRate,
        Self::TooManyRequests,
        Self::NoInstance,
        Self::InstanceFailed,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::ShuttingDown,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::HeadTimeout => "head_timeout",
            Self::Crowded => "crowded",
            Self::Origin => "origin",
            Self::MaxConnections => "max_connections",
            Self::PerAddress => "per_address",
            Self::AcceptRate => "accept_rate",
            Self::TooManyRequests => "too_many_requests",
            Self::NoInstance => "no_instance",
            Self::InstanceFailed => "instance_failed",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Everything that was counted since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontDoorStats {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Clients that were sent to a runner; one that was given back counts again.
    pub handed_over: u64,
    /// Clients that left before.
    pub left: u64,
    /// Offers that could not be sent to a runner.
    pub unreached: u64,
    /// Instances that got no clients for a while because they failed several in a row.
    pub ejected: u64,
    /// Runners that left an offer unanswered for a second.
    pub silent: u64,
    /// Clients and plain requests that got no instance, in the order of [`Turned::ALL`].
    pub turned_away: [u64; Turned::ALL.len()],
    /// Clients that runners gave back, in the order of [`Refusal::ALL`].
    pub given_back: [u64; Refusal::ALL.len()],
    /// From the acceptance of a client, or from its complete request if that took longer, until it was sent to a runner.
    pub hand_over: Spread,
    /// How long clients waited in the queue, whatever came of it.
    pub queue_wait: Spread,
    /// What the front door had to say to the log and nobody had time to hear.
    pub hints_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_at_their_own_place_and_have_words_of_their_own() {
        for (index, reason) in Turned::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
        for (index, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        let words: std::collections::BTreeSet<_> = Turned::ALL.map(Turned::as_str).into();
        assert_eq!(words.len(), Turned::ALL.len());
    }
}
