//! Connections of the whole fleet by what they do and how they were routed, and what went by rules. Only so many rules have
//! series of their own.

use super::Seen;
use super::table::{Kind, Metric, Sample};
use myagent_core::wire::sums::{OTHER_RULES, Traffic};
use std::collections::BTreeMap;

/// Most rules with series of their own: the first by name, so that it is the same ones on each scrape.
pub(super) const MAX_RULES: usize = 200;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_open_connections",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Open connections by what they do: active, idle (no message for a minute) or closing.",
        read: |seen| counts(&seen.connections.by_status),
    },
    Metric {
        name: "myagent_routed_connections",
        kind: Kind::Gauge,
        labels: &["strategy"],
        help: "Open connections by the strategy that routed them; direct came to the instance's own port.",
        read: |seen| counts(&seen.connections.by_strategy),
    },
    Metric {
        name: "myagent_rule_connections_total",
        kind: Kind::Counter,
        labels: &["rule"],
        help: "Connections that a routing rule routed. Rules beyond the first 200 by name are (others) together.",
        read: |seen| rules(seen, |traffic| traffic.connections),
    },
    Metric {
        name: "myagent_rule_received_messages_total",
        kind: Kind::Counter,
        labels: &["rule"],
        help: "Messages from clients that a routing rule routed.",
        read: |seen| rules(seen, |traffic| traffic.messages_in),
    },
    Metric {
        name: "myagent_rule_sent_messages_total",
        kind: Kind::Counter,
        labels: &["rule"],
        help: "Messages to clients that a routing rule routed.",
        read: |seen| rules(seen, |traffic| traffic.messages_out),
    },
    Metric {
        name: "myagent_rule_received_bytes_total",
        kind: Kind::Counter,
        labels: &["rule"],
        help: "Bytes from clients that a routing rule routed.",
        read: |seen| rules(seen, |traffic| traffic.bytes_in),
    },
    Metric {
        name: "myagent_rule_sent_bytes_total",
        kind: Kind::Counter,
        labels: &["rule"],
        help: "Bytes to clients that a routing rule routed.",
        read: |seen| rules(seen, |traffic| traffic.bytes_out),
    },
];

fn counts(counts: &BTreeMap<String, u64>) -> Vec<Sample<'_>> {
    counts.iter().map(|(word, count)| Sample::new([word.as_str()], *count)).collect()
}

fn rules(seen: &Seen, read: impl Fn(&Traffic) -> u64) -> Vec<Sample<'_>> {
    let (mut samples, mut others) = (Vec::new(), None);
    for (rule, traffic) in &seen.connections.rules {
        let count = read(traffic);
        if rule == OTHER_RULES || samples.len() == MAX_RULES {
            others = Some(others.unwrap_or(0_u64).saturating_add(count));
        } else {
            samples.push(Sample::new([rule.as_str()], count));
        }
    }
    samples.extend(others.map(|count| Sample::new([OTHER_RULES], count)));
    samples
}
