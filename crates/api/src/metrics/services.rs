//! Services: what is wanted, and what became of sessions and turns. The latter is known of agent files only.

use super::Seen;
use super::table::{Kind, Metric, Sample, Value};
use myagent_core::service::Desired;
use myagent_core::view::ServiceView;
use myagent_core::wire::sessions::{SessionTotals, Timing};

const SERVICE: &[&str] = &["service"];

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_service_wanted_instances",
        kind: Kind::Gauge,
        labels: SERVICE,
        help: "Instances that shall run; 0 for a service that is stopped.",
        read: |seen| {
            let wanted = |service: &ServiceView| match service.desired {
                Desired::Running => service.replicas,
                Desired::Stopped => 0,
            };
            services(seen).map(|service| Sample::new([&*service.name], wanted(service))).collect()
        },
    },
    Metric {
        name: "myagent_sessions_ended_total",
        kind: Kind::Counter,
        labels: &["service", "outcome"],
        help: "Sessions of an agent file that ended: failed if their last turn had failed, otherwise completed.",
        read: sessions,
    },
    Metric {
        name: "myagent_sessions_expired_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Of the sessions that ended: nobody came back within session_timeout.",
        read: |seen| totals(seen, |totals| totals.expired),
    },
    Metric {
        name: "myagent_sessions_evicted_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Of the sessions that ended: there were more than max_detached_sessions.",
        read: |seen| totals(seen, |totals| totals.evicted),
    },
    Metric {
        name: "myagent_sessions_resumed_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Times that a client came back to its session.",
        read: |seen| totals(seen, |totals| totals.resumed),
    },
    Metric {
        name: "myagent_sessions_adopted_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Sessions that an instance took over from one that had died.",
        read: |seen| totals(seen, |totals| totals.adopted),
    },
    Metric {
        name: "myagent_turns_accepted_total",
        kind: Kind::Counter,
        labels: SERVICE,
        help: "Messages that were accepted to be answered by the agent.",
        read: |seen| totals(seen, |totals| totals.turns.accepted),
    },
    Metric {
        name: "myagent_turns_ended_total",
        kind: Kind::Counter,
        labels: &["service", "outcome", "cause"],
        help: "Turns that ended, by how; the cause is that of a failure and empty otherwise: the agent raised an error, its \
               process died, or the instance was stopped.",
        read: turns,
    },
    Metric {
        name: "myagent_session_duration_seconds",
        kind: Kind::Histogram,
        labels: SERVICE,
        help: "From a session's creation to its last activity, of those that ended.",
        read: |seen| timings(seen, |totals| &totals.duration),
    },
    Metric {
        name: "myagent_turn_duration_seconds",
        kind: Kind::Histogram,
        labels: SERVICE,
        help: "From a message's acceptance to the end of its answer, waiting included, of turns that were completed.",
        read: |seen| timings(seen, |totals| &totals.turns.duration),
    },
    Metric {
        name: "myagent_turn_first_response_seconds",
        kind: Kind::Histogram,
        labels: SERVICE,
        help: "From a message's acceptance to the agent's first event other than agent.thinking, waiting included.",
        read: |seen| timings(seen, |totals| &totals.turns.first_response),
    },
];

fn services(seen: &Seen) -> impl Iterator<Item = &ServiceView> {
    seen.services.iter().map(AsRef::as_ref)
}

/// The names and sums of services whose sessions are known.
fn files(seen: &Seen) -> impl Iterator<Item = (&str, &SessionTotals)> {
    services(seen).filter_map(|service| Some((&*service.name, service.stats.session_totals.as_deref()?)))
}

fn totals(seen: &Seen, read: impl Fn(&SessionTotals) -> u64) -> Vec<Sample<'_>> {
    files(seen).map(|(service, totals)| Sample::new([service], read(totals))).collect()
}

fn sessions(seen: &Seen) -> Vec<Sample<'_>> {
    let one = |(service, totals): (_, &SessionTotals)| {
        [
            Sample::new([service, "completed"], totals.completed),
            Sample::new([service, "failed"], totals.failed),
        ]
    };
    files(seen).flat_map(one).collect()
}

fn turns(seen: &Seen) -> Vec<Sample<'_>> {
    let one = |(service, totals): (_, &SessionTotals)| {
        let turns = &totals.turns;
        [
            Sample::new([service, "completed", ""], turns.completed),
            Sample::new([service, "cancelled", ""], turns.cancelled),
            Sample::new([service, "failed", "agent_error"], turns.agent_error),
            Sample::new([service, "failed", "worker_lost"], turns.worker_lost),
            Sample::new([service, "failed", "interrupted"], turns.interrupted),
        ]
    };
    files(seen).flat_map(one).collect()
}

fn timings(seen: &Seen, read: impl Fn(&SessionTotals) -> &Timing) -> Vec<Sample<'_>> {
    let spread = |timing: &Timing| Value::Spread(timing.sum.as_secs_f64(), timing.buckets().collect());
    files(seen).map(|(service, totals)| Sample::new([service], spread(read(totals)))).collect()
}
