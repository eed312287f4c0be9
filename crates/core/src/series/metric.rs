//! What is measured: a fixed table, and how a tick's values are read from the views.

use super::{EntityKey, Unreadable};
use crate::instance::InstanceState;
use crate::view::{InstanceView, ServiceView};
use crate::wire::sessions::Timing;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MetricKind)]
pub enum Kind {
    /// Only grows, but for resets; kept as increments.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by bucket, and their sum; kept as increments.
    Histogram,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What it is called.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Of one of its values; a `rate` is this per second.
    pub unit: &'static str,
    /// For the reference page.
    pub meaning: &'static str,
    /// Kept for each instance; else for each service.
    pub per_instance: bool,
    /// Its first column in chunks: part of the format, never used again for something else.
    column: u8,
    /// Stored integers per unit.
    scale: u32,
}

/// Buckets of a histogram. A test holds it to what [`Timing`] has.
const BUCKETS: u8 = 14;
/// Columns of a histogram: its buckets, and the sum of its durations.
const HISTOGRAM_COLUMNS: u8 = BUCKETS + 1;
/// Columns are numbered below this.
pub const MAX_COLUMNS: u8 = 64;
/// Larger values are cut, so that the sum of an hour's cannot overflow.
pub const MAX_VALUE: i64 = 1 << 53;

const fn counter(column: u8, name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, meaning, per_instance: true, column, scale: 1 }
}

const fn gauge(column: u8, name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { kind: Kind::Gauge, ..counter(column, name, unit, meaning) }
}

/// Every metric there is.
pub const METRICS: &[Metric] = &[
    counter(0, "connections_opened", "connections", "client connections opened"),
    counter(2, "messages_in", "messages", "messages from clients"),
    counter(3, "messages_out", "messages", "messages to clients"),
    counter(4, "bytes_in", "bytes", "bytes from clients"),
    counter(5, "bytes_out", "bytes", "bytes to clients"),
    counter(1, "sessions_created", "sessions", "sessions created"),
    Metric {
        per_instance: false,
        ..counter(
            16,
            "sessions_completed",
            "sessions",
            "sessions that ended, and the last turn had not failed; agent files only",
        )
    },
    Metric {
        per_instance: false,
        ..counter(
            17,
            "sessions_failed",
            "sessions",
            "sessions that ended, and the last turn had failed; agent files only",
        )
    },
    Metric {
        per_instance: false,
        ..counter(18, "turns_completed", "turns", "messages that were answered; agent files only")
    },
    Metric {
        per_instance: false,
        ..counter(
            19,
            "turns_failed",
            "turns",
            "messages that failed by error, crash or restart; agent files only",
        )
    },
    counter(9, "restarts", "restarts", "restarts that nobody asked for"),
    counter(
        7,
        "slow_clients",
        "connections",
        "clients dropped because they took nothing of what was sent to them",
    ),
    counter(
        8,
        "vanished_clients",
        "connections",
        "clients given up because nothing of them answered any more",
    ),
    counter(6, "log_lines_dropped", "lines", "lines of output not written because there were too many"),
    gauge(10, "active_connections", "connections", "open connections"),
    gauge(11, "active_sessions", "sessions", "sessions with and without a connection"),
    gauge(12, "detached_sessions", "sessions", "sessions without a connection"),
    Metric { scale: 10, ..gauge(13, "cpu_percent", "percent", "CPU of the whole process tree, of one core") },
    Metric { scale: 10, ..gauge(14, "memory_mb", "MiB", "memory of the whole process tree") },
    gauge(15, "up", "instances", "1 while the instance is ready, else 0"),
    Metric {
        kind: Kind::Histogram,
        per_instance: false,
        scale: 1_000_000,
        ..counter(
            32,
            "first_response_seconds",
            "seconds",
            "from a message's acceptance to the first event of its answer; agent files only",
        )
    },
    Metric {
        kind: Kind::Histogram,
        per_instance: false,
        scale: 1_000_000,
        ..counter(
            48,
            "turn_duration_seconds",
            "seconds",
            "from a message's acceptance to the end of its answer; agent files only",
        )
    },
];

impl Metric {
    /// The metric of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// Its columns: one, or those of a histogram.
    pub fn columns(&self) -> std::ops::Range<u8> {
        let count = if self.kind == Kind::Histogram { HISTOGRAM_COLUMNS } else { 1 };
        self.column..self.column + count
    }

    /// Stored integers per unit.
    pub fn scale(&self) -> f64 {
        f64::from(self.scale)
    }
}

/// Whether a column's points need their sum only, having no extremes that mean anything.
pub(super) fn is_sum_only(column: u8) -> bool {
    column >= 32
}

/// Whether a column is of a counter or a histogram.
pub(super) fn is_counted(column: u8) -> bool {
    !(10..=15).contains(&column)
}

/// Upper bounds of the buckets, seconds; the last is infinite.
pub fn bucket_bounds() -> Vec<f64> {
    Timing::default().buckets().map(|(bound, _)| bound).collect()
}

/// The values of one entity, by column, each column once and ascending.
pub type Values = Vec<(u8, i64)>;

/// The values of a service and of its instances as the views have them: counters as sums.
pub fn read(view: &ServiceView) -> Vec<(EntityKey, Values)> {
    let key = |index| EntityKey { service_id: view.service_id, index };
    let mut all = Vec::with_capacity(view.instances.len() + 1);
    all.extend(view.instances.iter().map(|instance| (key(Some(instance.index)), of_instance(instance))));
    if let Some(totals) = &view.stats.session_totals {
        let mut values = vec![
            (16, whole(totals.completed)),
            (17, whole(totals.failed)),
            (18, whole(totals.turns.completed)),
            (19, whole(totals.turns.failed)),
        ];
        for (first, timing) in [(32, &totals.turns.first_response), (48, &totals.turns.duration)] {
            values.extend((first..).zip(timing.buckets()).map(|(column, (_, count))| (column, whole(count))));
            let micros = u64::try_from(timing.sum.as_micros()).unwrap_or(u64::MAX);
            values.push((first + BUCKETS, whole(micros)));
        }
        all.push((key(None), values));
    }
    all
}

fn of_instance(instance: &InstanceView) -> Values {
    let totals = &instance.totals;
    vec![
        (0, whole(totals.connections)),
        (1, whole(totals.sessions)),
        (2, whole(totals.messages_in)),
        (3, whole(totals.messages_out)),
        (4, whole(totals.bytes_in)),
        (5, whole(totals.bytes_out)),
        (6, whole(totals.log_lines_dropped)),
        (7, whole(totals.slow_clients)),
        (8, whole(totals.vanished_clients)),
        (9, whole(u64::from(instance.restart_count))),
        (10, whole(u64::from(instance.active_connections))),
        (11, whole(u64::from(instance.active_sessions))),
        (12, whole(u64::from(instance.detached_sessions))),
        (13, tenths(instance.cpu_percent)),
        (14, tenths(instance.memory_mb)),
        (15, i64::from(instance.status == InstanceState::Running)),
    ]
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(MAX_VALUE).min(MAX_VALUE)
}

/// As conversions have it: what is no number becomes 0.
fn tenths(value: f64) -> i64 {
    ((value * 10.0).round() as i64).clamp(0, MAX_VALUE)
}

/// The columns of all metrics as a bit set.
const KNOWN: u64 = {
    let (mut known, mut at) = (0, 0);
    while at < METRICS.len() {
        let metric = &METRICS[at];
        let width = if matches!(metric.kind, Kind::Histogram) { HISTOGRAM_COLUMNS } else { 1 };
        known |= ((1 << width) - 1) << metric.column;
        at += 1;
    }
    known
};

/// A column's number from a file: those that this program does not know are `None`.
pub(super) fn known_column(number: u64) -> Result<Option<u8>, Unreadable> {
    let column = u8::try_from(number).ok().filter(|column| *column < MAX_COLUMNS);
    let column = column.ok_or(Unreadable("a column has no valid number"))?;
    Ok((KNOWN & (1 << column) != 0).then_some(column))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::service::Desired;
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// A service with so many instances and nothing counted.
    pub(crate) fn view(name: &str, number: u128, instances: u32) -> ServiceView {
        let instance = |index: u32| {
            json!({
                "name": format!("{name}-{index}"), "index": index, "host": "127.0.0.1", "port": null, "endpoint": null,
                "status": "running", "pid": null, "runner_pid": null, "started_at": null, "ready_at": null,
                "restart_count": 0, "last_exit": null, "error_message": null, "next_try": null,
                "active_connections": 0, "active_sessions": 0, "cpu_percent": 0.0, "memory_mb": 0.0, "processes": 1,
                "health": "healthy", "last_health_check": null, "busy": false, "outdated": false, "ownership": null
            })
        };
        serde_json::from_value(json!({
            "service_id": uuid::Uuid::from_u128(number), "name": name, "description": "",
            "source": {"kind": "file", "path": "/a/a.py"}, "host": "127.0.0.1", "port": null, "endpoint": null,
            "tags": [], "agent_type": "file", "version": 1, "status": "running", "desired": Desired::Running,
            "replicas": instances, "created_at": "1970-01-01T00:00:00Z", "started_at": null,
            "last_health_check": null, "error_message": null, "restart_count": 0, "config": {}, "environment": {},
            "secrets": [], "health": "healthy",
            "instances": (0..instances).map(instance).collect::<Vec<_>>(),
            "stats": {
                "active_connections": 0, "active_sessions": 0, "connections": 0, "sessions": 0, "messages_in": 0,
                "messages_out": 0, "bytes_in": 0, "bytes_out": 0, "log_lines_dropped": 0, "session_totals": {}
            },
        }))
        .unwrap()
    }

    fn value(values: &Values, name: &str) -> i64 {
        let column = Metric::named(name).unwrap().columns().start;
        values.iter().find(|(number, _)| *number == column).unwrap().1
    }

    #[test]
    fn every_metric_has_its_own_columns_and_says_what_it_is() {
        let mut taken = BTreeSet::new();
        for metric in METRICS {
            assert!(
                metric.columns().all(|column| column < MAX_COLUMNS && taken.insert(column)),
                "{metric:?}"
            );
            assert!(metric.name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{metric:?}");
            assert!(!metric.unit.is_empty() && !metric.meaning.ends_with('.'), "{metric:?}");
            let column = metric.columns().start;
            assert_eq!(is_counted(column), metric.kind != Kind::Gauge, "{metric:?}");
            assert_eq!(is_sum_only(column), metric.kind == Kind::Histogram, "{metric:?}");
            assert_eq!(known_column(u64::from(column)), Ok(Some(column)));
        }
        assert_eq!(bucket_bounds().len(), usize::from(BUCKETS));
        assert_eq!(known_column(20), Ok(None));
        assert!(known_column(64).is_err() && known_column(1 << 40).is_err());
    }

    #[test]
    fn the_views_fill_every_column() {
        let mut view = view("weather", 1, 2);
        let instance = &mut view.instances[1];
        instance.totals.connections = 7;
        instance.totals.bytes_out = u64::MAX;
        (instance.cpu_percent, instance.memory_mb) = (12.34, f64::NAN);
        (instance.active_sessions, instance.restart_count) = (3, 4);
        let totals = view.stats.session_totals.as_mut().unwrap();
        totals.turns.duration.record(Duration::from_millis(300));
        totals.failed = 2;
        let all = read(&view);
        assert_eq!(all.iter().map(|(key, _)| key.index).collect::<Vec<_>>(), [Some(0), Some(1), None]);
        let columns: BTreeSet<u8> =
            all.iter().flat_map(|(_, values)| values.iter().map(|(c, _)| *c)).collect();
        let expected: BTreeSet<u8> = METRICS.iter().flat_map(Metric::columns).collect();
        assert_eq!(columns, expected);
        let (instance, service) = (&all[1].1, &all[2].1);
        assert!(all.iter().all(|(_, values)| values.is_sorted_by_key(|(column, _)| *column)));
        assert_eq!(value(instance, "connections_opened"), 7);
        assert_eq!(value(instance, "bytes_out"), MAX_VALUE);
        assert_eq!((value(instance, "cpu_percent"), value(instance, "memory_mb")), (123, 0));
        assert_eq!((value(instance, "restarts"), value(instance, "up")), (4, 1));
        assert_eq!(value(service, "sessions_failed"), 2);
        assert_eq!(
            service.iter().filter(|(c, v)| *c >= 48 && *v > 0).copied().collect::<Values>(),
            [(50, 1), (62, 300_000)]
        );
        view.stats.session_totals = None;
        assert_eq!(read(&view).len(), 2);
    }
}
