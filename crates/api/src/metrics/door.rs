//! The front door: who came, who was handed over, who was not and why, and how long it took. Counted since the manager
//! started.

use super::table::{Kind, Metric, Sample};
use myagent_core::front_door::Turned;
use myagent_core::wire::handover::Refusal;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_front_door_accepted_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Connections that were accepted.",
        read: |seen| Sample::only(seen.door.accepted),
    },
    Metric {
        name: "myagent_front_door_handed_over_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Clients that were sent to an instance's runner; one that was given back and sent again counts twice.",
        read: |seen| Sample::only(seen.door.handed_over),
    },
    Metric {
        name: "myagent_front_door_turned_away_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Clients and plain requests that got no instance, by the reason.",
        read: |seen| {
            let counts = Turned::ALL.into_iter().zip(seen.door.turned_away);
            counts.map(|(reason, count)| Sample::new([reason.as_str()], count)).collect()
        },
    },
    Metric {
        name: "myagent_front_door_given_back_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Clients that a runner gave back, and that were routed again, by what the runner said.",
        read: |seen| {
            let counts = Refusal::ALL.into_iter().zip(seen.door.given_back);
            counts.map(|(reason, count)| Sample::new([reason.as_str()], count)).collect()
        },
    },
    Metric {
        name: "myagent_front_door_left_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Clients that left before they were sent to a runner.",
        read: |seen| Sample::only(seen.door.left),
    },
    Metric {
        name: "myagent_front_door_unreached_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Clients that could not be sent to the runner that was chosen, and were routed again.",
        read: |seen| Sample::only(seen.door.unreached),
    },
    Metric {
        name: "myagent_front_door_silent_runners_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times that a runner left a client unanswered for a second, and got no more until it answered.",
        read: |seen| Sample::only(seen.door.silent),
    },
    Metric {
        name: "myagent_front_door_ejections_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times that an instance failed several clients in a row, and got none for a while.",
        read: |seen| Sample::only(seen.door.ejected),
    },
    Metric {
        name: "myagent_front_door_hand_over_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "From a client's acceptance, or from its complete request if that came later, until it was sent to a runner; \
               waiting for an instance included.",
        read: |seen| Sample::only(&seen.door.hand_over),
    },
    Metric {
        name: "myagent_front_door_queue_wait_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "How long clients waited for an instance, whatever came of it.",
        read: |seen| Sample::only(&seen.door.queue_wait),
    },
    Metric {
        name: "myagent_front_door_waiting_clients",
        kind: Kind::Gauge,
        labels: &[],
        help: "Clients that wait for an instance.",
        read: |seen| Sample::only(seen.info.waiting_clients),
    },
    Metric {
        name: "myagent_front_door_plain_requests_total",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Plain HTTP requests for which there was an instance: served to the end, or failed because of the agent or the \
               client.",
        read: |seen| {
            let requests = seen.info.plain_requests;
            vec![Sample::new(["served"], requests.served), Sample::new(["failed"], requests.failed)]
        },
    },
    Metric {
        name: "myagent_front_door_dropped_hints_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Lines for the manager's log that the front door dropped because there were too many.",
        read: |seen| Sample::only(seen.door.hints_dropped),
    },
];
