//! The manager's own process, and the fleet by state.

use super::Seen;
use super::table::{Kind, Metric, Sample};
use myagent_core::instance::InstanceState;
use myagent_core::process::ProcessStats;
use std::collections::BTreeMap;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_build_info",
        kind: Kind::Info,
        labels: &["version"],
        help: "The version of the manager that answers.",
        read: |seen| vec![Sample::new([&*seen.info.version], 1_u64)],
    },
    Metric {
        name: "myagent_uptime_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long this manager has been running; an upgrade begins anew.",
        read: |seen| Sample::only(seen.uptime.as_secs_f64()),
    },
    Metric {
        name: "myagent_storage_ok",
        kind: Kind::Gauge,
        labels: &[],
        help: "1, or 0 while nothing can be stored and changes are refused: the disk is full, or the database locked.",
        read: |seen| Sample::only(u64::from(seen.storage_ok)),
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system time of the manager's process.",
        read: |seen| process(seen, |process| Sample::only(process.cpu_seconds)),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory that the manager's process has.",
        read: |seen| process(seen, |process| Sample::only(process.resident_bytes)),
    },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Address space that the manager's process has.",
        read: |seen| process(seen, |process| Sample::only(process.virtual_bytes)),
    },
    Metric {
        name: "process_threads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Threads of the manager's process.",
        read: |seen| process(seen, |process| Sample::only(process.threads)),
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Files and sockets that the manager's process has open.",
        read: |seen| process(seen, |process| Sample::only(process.open_files)),
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Files and sockets that the manager's process may have open.",
        read: |seen| process(seen, |process| process.max_files.map_or_else(Vec::new, Sample::only)),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the manager's process was started, in seconds since 1970.",
        read: |seen| process(seen, |process| Sample::only(process.started_at)),
    },
    Metric {
        name: "myagent_services",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Registered services by state: running if one instance is, else the worst of its instances.",
        read: |seen| by_state(&seen.fleet.services),
    },
    Metric {
        name: "myagent_instances",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Instances by state.",
        read: |seen| by_state(&seen.fleet.instances),
    },
    Metric {
        name: "myagent_routing_rules",
        kind: Kind::Gauge,
        labels: &[],
        help: "Routing rules that there are.",
        read: |seen| Sample::only(seen.rules as u64),
    },
];

fn process<'a>(seen: &'a Seen, read: impl Fn(&'a ProcessStats) -> Vec<Sample<'a>>) -> Vec<Sample<'a>> {
    seen.process.as_ref().map_or_else(Vec::new, read)
}

/// All states, so that one that is left shows as zero and does not stay as it was.
fn by_state(counts: &BTreeMap<String, u32>) -> Vec<Sample<'static>> {
    let count = |state: InstanceState| counts.get(state.as_str()).copied().unwrap_or_default();
    InstanceState::ALL.map(|state| Sample::new([state.as_str()], count(state))).into()
}
