//! Instances: whether they are up and well, what they use, and what went through them. Sums last as long as the service has
//! an instance of that number, also across restarts of the instance and of the manager.

use super::Seen;
use super::table::{Kind, Metric, Sample, Value};
use myagent_core::health::Health;
use myagent_core::instance::InstanceState;
use myagent_core::view::InstanceView;

const INSTANCE: &[&str] = &["service", "instance"];
const HEALTHS: [Health; 4] = [Health::Unknown, Health::Healthy, Health::Degraded, Health::Unhealthy];
const MEBIBYTE: f64 = 1_048_576.0;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "myagent_instance_up",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "1 if the instance is running: ready, and not failing its health checks.",
        read: |seen| each(seen, |instance| instance.status == InstanceState::Running),
    },
    Metric {
        name: "myagent_instance_health",
        kind: Kind::Gauge,
        labels: &["service", "instance", "state"],
        help: "1 for the state of the instance's health, 0 for the others.",
        read: |seen| {
            let samples = all(seen).flat_map(|(service, instance)| {
                let is_now = |state: Health| instance.health == state;
                HEALTHS.map(|state| Sample::new([service, &*instance.name, state.as_str()], is_now(state)))
            });
            samples.collect()
        },
    },
    Metric {
        name: "myagent_instance_last_health_check_timestamp_seconds",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "When the instance was last checked, in seconds since 1970.",
        read: |seen| some(seen, |instance| Some(instance.last_health_check?.as_duration().as_secs_f64())),
    },
    Metric {
        name: "myagent_instance_start_time_seconds",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "When the instance was started, in seconds since 1970.",
        read: |seen| some(seen, |instance| Some(instance.started_at?.as_duration().as_secs_f64())),
    },
    Metric {
        name: "myagent_instance_restarts_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Restarts since the service was last started by its user.",
        read: |seen| each(seen, |instance| instance.restart_count),
    },
    Metric {
        name: "myagent_instance_cpu_usage_ratio",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Processor time of the instance's processes over the last seconds; 1 is one core.",
        read: |seen| each(seen, |instance| instance.cpu_percent / 100.0),
    },
    Metric {
        name: "myagent_instance_memory_bytes",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Memory of the instance's processes.",
        read: |seen| each(seen, |instance| (instance.memory_mb * MEBIBYTE) as u64),
    },
    Metric {
        name: "myagent_instance_processes",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Processes of the instance.",
        read: |seen| each(seen, |instance| instance.processes),
    },
    Metric {
        name: "myagent_instance_active_connections",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Open connections.",
        read: |seen| each(seen, |instance| instance.active_connections),
    },
    Metric {
        name: "myagent_instance_active_sessions",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Sessions, with and without a connection.",
        read: |seen| each(seen, |instance| instance.active_sessions),
    },
    Metric {
        name: "myagent_instance_detached_sessions",
        kind: Kind::Gauge,
        labels: INSTANCE,
        help: "Sessions without a connection.",
        read: |seen| each(seen, |instance| instance.detached_sessions),
    },
    Metric {
        name: "myagent_instance_connections_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Connections that were opened.",
        read: |seen| each(seen, |instance| instance.totals.connections),
    },
    Metric {
        name: "myagent_instance_sessions_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Sessions that were created.",
        read: |seen| each(seen, |instance| instance.totals.sessions),
    },
    Metric {
        name: "myagent_instance_received_messages_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Messages from clients.",
        read: |seen| each(seen, |instance| instance.totals.messages_in),
    },
    Metric {
        name: "myagent_instance_sent_messages_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Messages to clients.",
        read: |seen| each(seen, |instance| instance.totals.messages_out),
    },
    Metric {
        name: "myagent_instance_received_bytes_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Bytes from clients.",
        read: |seen| each(seen, |instance| instance.totals.bytes_in),
    },
    Metric {
        name: "myagent_instance_sent_bytes_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Bytes to clients.",
        read: |seen| each(seen, |instance| instance.totals.bytes_out),
    },
    Metric {
        name: "myagent_instance_slow_clients_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Clients that were dropped because they took nothing of what was sent to them.",
        read: |seen| each(seen, |instance| instance.totals.slow_clients),
    },
    Metric {
        name: "myagent_instance_vanished_clients_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Clients that were given up because they, or their network, did not answer any more.",
        read: |seen| each(seen, |instance| instance.totals.vanished_clients),
    },
    Metric {
        name: "myagent_instance_dropped_log_lines_total",
        kind: Kind::Counter,
        labels: INSTANCE,
        help: "Lines of the agent's output that were not written because there were too many.",
        read: |seen| each(seen, |instance| instance.totals.log_lines_dropped),
    },
];

/// All instances, with the names of their services.
fn all(seen: &Seen) -> impl Iterator<Item = (&str, &InstanceView)> {
    seen.services
        .iter()
        .flat_map(|service| service.instances.iter().map(|instance| (&*service.name, instance)))
}

fn each<V: Into<Value>>(seen: &Seen, read: impl Fn(&InstanceView) -> V) -> Vec<Sample<'_>> {
    all(seen).map(|(service, instance)| Sample::new([service, &*instance.name], read(instance))).collect()
}

/// Only of instances of which it is known.
fn some(seen: &Seen, read: impl Fn(&InstanceView) -> Option<f64>) -> Vec<Sample<'_>> {
    let known = all(seen)
        .filter_map(|(service, instance)| Some(Sample::new([service, &*instance.name], read(instance)?)));
    known.collect()
}
