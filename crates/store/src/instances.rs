//! The table `instances`: what a new manager needs to find a runner again, and what it must know of an instance's past.

use crate::columns::{Count, FilePath, Id, Json, Time};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use jiff::Timestamp;
use myagent_core::instance::Exit;
use myagent_core::{InstanceKey, ServiceId, StartId};
use rusqlite::{Connection, Row, named_params, params};
use std::path::PathBuf;

/// An instance as the manager left it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredInstance {
    /// The service it is a copy of.
    pub service_id: ServiceId,
    /// Which copy.
    pub index: u32,
    /// Its last start.
    pub start_id: StartId,
    /// The runner of that start, if one may live.
    pub runner_pid: Option<u32>,
    /// When the runner's process started, in clock ticks since boot as `/proc/PID/stat` has it; with the number it names
    /// a process for certain.
    pub runner_start_time: u64,
    /// The runner's control socket.
    pub control: PathBuf,
    /// The runner's take-over socket.
    pub takeover: PathBuf,
    /// The list of the processes in its tree.
    pub tree: PathBuf,
    /// The port of the agent; 0 for an external service.
    pub port: u16,
    /// When that start was.
    pub started_at: Timestamp,
    /// When the agent became ready, if it did.
    pub ready_at: Option<Timestamp>,
    /// Restarts in a row.
    pub restart_count: u32,
    /// How the agent last ended.
    pub last_exit: Option<Exit>,
    /// The last lines of its output before that.
    pub last_lines: Vec<String>,
    /// The cause, if it is in `error`.
    pub error: Option<String>,
    /// The version of the service that it was started from.
    pub version: u64,
}

impl StoredInstance {
    /// Which instance it is.
    pub fn key(&self) -> InstanceKey {
        InstanceKey { service_id: self.service_id, index: self.index }
    }
}

impl Store {
    /// All instances, by service and index; also those of services that were removed meanwhile.
    pub fn instances(&self) -> Result<Vec<StoredInstance>, StoreError> {
        self.read("list instances", |connection| {
            let sql = "SELECT service_id, idx, start_id, runner_pid, runner_start_time, control, takeover, tree, port, \
                       started_at, restart_count, last_exit, last_lines, error, version, ready_at \
                       FROM instances ORDER BY service_id, idx";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_map([], instance)?.collect::<Result<_, _>>()?)
        })
    }

    /// Stores an instance, in the place of what was stored of it.
    pub fn put_instance(&self, instance: &StoredInstance) -> Result<(), StoreError> {
        let operation = format!("store instance {} of service {}", instance.index, instance.service_id);
        self.write(&operation, |transaction| put(transaction, instance))
    }

    /// Forgets an instance; false if nothing was stored of it.
    pub fn delete_instance(&self, key: InstanceKey) -> Result<bool, StoreError> {
        let operation = format!("forget instance {} of service {}", key.index, key.service_id);
        self.write(&operation, |transaction| delete(transaction, key))
    }
}

pub(crate) fn put(connection: &Connection, instance: &StoredInstance) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO instances (service_id, idx, start_id, runner_pid, runner_start_time, control, \
               takeover, tree, port, started_at, restart_count, last_exit, last_lines, error, version, ready_at) \
               VALUES (:service_id, :idx, :start_id, :runner_pid, :runner_start_time, :control, :takeover, :tree, :port, \
               :started_at, :restart_count, :last_exit, :last_lines, :error, :version, :ready_at)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":service_id": Id(instance.service_id.0),
        ":idx": instance.index,
        ":start_id": Id(instance.start_id.0),
        ":runner_pid": instance.runner_pid,
        ":runner_start_time": Count(instance.runner_start_time),
        ":control": FilePath(&instance.control),
        ":takeover": FilePath(&instance.takeover),
        ":tree": FilePath(&instance.tree),
        ":port": instance.port,
        ":started_at": Time(instance.started_at),
        ":restart_count": instance.restart_count,
        ":last_exit": instance.last_exit.as_ref().map(Json),
        ":last_lines": Json(&instance.last_lines),
        ":error": instance.error,
        ":version": Count(instance.version),
        ":ready_at": instance.ready_at.map(Time),
    })?;
    Ok(())
}

pub(crate) fn delete(connection: &Connection, key: InstanceKey) -> Result<bool, Fault> {
    let sql = "DELETE FROM instances WHERE service_id = ?1 AND idx = ?2";
    Ok(connection.execute(sql, params![Id(key.service_id.0), key.index])? > 0)
}

fn instance(row: &Row<'_>) -> rusqlite::Result<StoredInstance> {
    Ok(StoredInstance {
        service_id: ServiceId(row.get::<_, Id>(0)?.0),
        index: row.get(1)?,
        start_id: StartId(row.get::<_, Id>(2)?.0),
        runner_pid: row.get(3)?,
        runner_start_time: row.get::<_, Count>(4)?.0,
        control: row.get::<_, FilePath<_>>(5)?.0,
        takeover: row.get::<_, FilePath<_>>(6)?.0,
        tree: row.get::<_, FilePath<_>>(7)?.0,
        port: row.get(8)?,
        started_at: row.get::<_, Time>(9)?.0,
        restart_count: row.get(10)?,
        last_exit: row.get::<_, Option<Json<_>>>(11)?.map(|exit| exit.0),
        last_lines: row.get::<_, Json<_>>(12)?.0,
        error: row.get(13)?,
        version: row.get::<_, Count>(14)?.0,
        ready_at: row.get::<_, Option<Time>>(15)?.map(|time| time.0),
    })
}
