//! What runners have counted, and how it adds up: connections, messages and bytes of an instance and of each rule, beside the
//! sums of its sessions.

use crate::wire::sessions::SessionTotals;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Most rules with sums of their own; those of others are in [`OTHER_RULES`].
pub const MAX_RULES: usize = 1_000;
/// In place of the names of rules beyond [`MAX_RULES`].
pub const OTHER_RULES: &str = "(others)";

/// Sums since the runner's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Totals {
    /// Connections ever opened.
    pub connections: u64,
    /// Sessions ever created.
    pub sessions: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients.
    pub messages_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Lines of output not written because there were too many.
    pub log_lines_dropped: u64,
    /// Clients dropped because they took nothing of what was sent to them (1013 `slow_client`).
    pub slow_clients: u64,
    /// Clients given up because their network, or they themselves, did not answer any more.
    pub vanished_clients: u64,
}

impl Totals {
    /// Adds those of another runner.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.connections, other.connections),
            (&mut self.sessions, other.sessions),
            (&mut self.messages_in, other.messages_in),
            (&mut self.messages_out, other.messages_out),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.log_lines_dropped, other.log_lines_dropped),
            (&mut self.slow_clients, other.slow_clients),
            (&mut self.vanished_clients, other.vanished_clients),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What the connections of one rule amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Traffic {
    /// Connections ever opened.
    pub connections: u64,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients.
    pub messages_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

impl Traffic {
    /// Adds that of others.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.connections, other.connections),
            (&mut self.messages_in, other.messages_in),
            (&mut self.messages_out, other.messages_out),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The most that there was at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Peaks {
    /// Open connections.
    pub connections: u32,
    /// Sessions with and without a connection.
    pub sessions: u32,
}

impl Peaks {
    /// There are so many now; whether that is more than ever.
    pub fn raise(&mut self, connections: u32, sessions: u32) -> bool {
        let before = *self;
        self.connections = self.connections.max(connections);
        self.sessions = self.sessions.max(sessions);
        *self != before
    }
}

/// Everything that is summed: what is left of a runner when it has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sums {
    /// Connections, messages, bytes.
    pub totals: Totals,
    /// Sessions and turns.
    pub sessions: SessionTotals,
    /// By the name of the rule that routed them.
    pub rules: BTreeMap<String, Traffic>,
}

impl Sums {
    /// Adds those of another runner.
    pub fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        self.sessions.add(&other.sessions);
        for (rule, traffic) in &other.rules {
            let known = self.rules.len() < MAX_RULES || self.rules.contains_key(rule);
            let rule = if known { rule } else { OTHER_RULES };
            self.rules.entry(rule.to_owned()).or_default().add(traffic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_what_there_was_most_of() {
        let mut peaks = Peaks::default();
        assert!(peaks.raise(3, 1) && peaks.raise(2, 5));
        assert!(!peaks.raise(3, 5) && !peaks.raise(0, 0));
        assert_eq!(peaks, Peaks { connections: 3, sessions: 5 });
    }

    #[test]
    fn sums_of_runners_add_up_and_do_not_wrap() {
        let one = Sums {
            totals: Totals { connections: 2, bytes_in: u64::MAX, ..Totals::default() },
            sessions: SessionTotals { completed: 1, adopted: 2, ..SessionTotals::default() },
            rules: [("eu".to_owned(), Traffic { connections: 1, ..Traffic::default() })].into(),
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.totals.connections, sum.totals.bytes_in), (4, u64::MAX));
        assert_eq!((sum.sessions.completed, sum.sessions.adopted), (2, 4));
        assert_eq!(sum.rules["eu"].connections, 2);
        let stored = serde_json::to_string(&sum).unwrap();
        assert_eq!(serde_json::from_str::<Sums>(&stored).unwrap(), sum);
    }
}
