//! Stories of the statistics: measured, stored, restarted and asked, with a real file and a clock that is an argument.

mod cost;
mod model;
mod stories;
mod task;

use super::ask::Selection;
use super::memory::Taken;
use super::writer::Writer;
use super::{FILE_LIMIT, Statistics};
use crate::handle::Views;
use jiff::Timestamp;
use myagent_core::series::{TimeseriesQuery, TimeseriesView};
use myagent_core::view::{InstanceView, ServiceView};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Ten o'clock some day, the fifth hour of a chunk of minutes.
const START: i64 = 1_800_007_200;

/// A manager's statistics, without the manager.
struct Rig {
    dir: tempfile::TempDir,
    statistics: Arc<Statistics>,
    writer: Writer,
    views: Views,
}

impl Rig {
    fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), FILE_LIMIT)
    }

    fn with(dir: tempfile::TempDir, limit: u64) -> Self {
        let statistics = Statistics::limited(dir.path().join("metrics.db"), limit);
        let mut writer = Writer::new(Arc::clone(&statistics));
        writer.open();
        Self { dir, statistics, writer, views: Views::new() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("metrics.db")
    }

    fn put(&mut self, view: ServiceView) {
        self.views.insert(view.name.clone(), Arc::new(view));
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut ServiceView)) {
        change(Arc::make_mut(self.views.get_mut(name).unwrap()));
    }

    /// The end of the slot that began ten seconds before `now`; the file is written each minute.
    fn tick(&mut self, now: i64) -> Taken {
        let taken = self.statistics.memory().take(now, &self.views);
        if now % 60 < 10 {
            self.writer.flush(false);
        }
        taken
    }

    /// Another manager goes on with the file. `killed`: this one could not write anything more.
    fn restart(self, killed: bool) -> Self {
        let Self { dir, statistics, mut writer, views } = self;
        let limit = statistics.limit;
        if !killed {
            writer.flush(true);
        }
        drop((writer, statistics));
        Self { views, ..Self::with(dir, limit) }
    }

    fn ask(&self, now: i64, fields: &[(&str, &str)]) -> TimeseriesView {
        let fields: serde_json::Map<_, _> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), json_of(name, value))).collect();
        let query: TimeseriesQuery = serde_json::from_value(fields.into()).unwrap();
        let plan = query.plan(Timestamp::from_second(now).unwrap()).unwrap();
        let services =
            self.views.values().filter(|view| query.service.as_ref().is_none_or(|name| *name == view.name));
        let services = services.map(|view| (view.service_id, Arc::clone(view))).collect();
        self.statistics.answer(plan, &Selection { services, instance: None }).unwrap()
    }

    /// The values of the only series.
    fn values(&self, now: i64, fields: &[(&str, &str)]) -> Vec<Option<f64>> {
        let answer = self.ask(now, fields);
        assert_eq!((answer.series.len(), &answer.warning), (1, &None));
        answer.series[0].points.iter().map(|(_, value)| *value).collect()
    }
}

/// The value of a field of a query.
fn json_of(name: &str, value: &str) -> serde_json::Value {
    if name == "top" { value.parse::<usize>().unwrap().into() } else { value.into() }
}

fn instance(service: &str, index: u32) -> InstanceView {
    serde_json::from_value(json!({
        "name": format!("{service}-{index}"), "index": index, "host": "127.0.0.1", "port": null, "endpoint": null,
        "status": "running", "pid": null, "runner_pid": null, "started_at": null, "ready_at": null,
        "restart_count": 0, "last_exit": null, "error_message": null, "next_try": null,
        "active_connections": 0, "active_sessions": 0, "cpu_percent": 0.0, "memory_mb": 40.0, "processes": 1,
        "health": "healthy", "last_health_check": null, "busy": false, "outdated": false, "ownership": null
    }))
    .unwrap()
}

/// A running service that was registered long ago.
fn service(name: &str, number: u128, instances: u32) -> ServiceView {
    serde_json::from_value(json!({
        "service_id": uuid::Uuid::from_u128(number), "name": name, "description": "",
        "source": {"kind": "file", "path": "/a/a.py"}, "host": "127.0.0.1", "port": null, "endpoint": null,
        "tags": [], "agent_type": "file", "version": 1, "status": "running", "desired": "running",
        "replicas": instances, "created_at": "1970-01-01T00:00:00Z", "started_at": null,
        "last_health_check": null, "error_message": null, "restart_count": 0, "config": {}, "environment": {},
        "secrets": [], "health": "healthy",
        "instances": (0..instances).map(|index| instance(name, index)).collect::<Vec<_>>(),
        "stats": {
            "active_connections": 0, "active_sessions": 0, "connections": 0, "sessions": 0, "messages_in": 0,
            "messages_out": 0, "bytes_in": 0, "bytes_out": 0, "log_lines_dropped": 0, "session_totals": {}
        },
    }))
    .unwrap()
}

/// Random enough, and the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Bytes of the file and of what is beside it.
fn size(path: &Path) -> u64 {
    let of = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    of("") + of("-wal")
}
