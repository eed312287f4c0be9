//! The table `health_checks`: the history of each service's checks.

use crate::columns::{Count, Id, Time};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use jiff::Timestamp;
use myagent_core::ServiceId;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

/// One check of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// When it ended.
    pub at: Timestamp,
    /// The service.
    pub service_id: ServiceId,
    /// Which copy.
    pub index: u32,
    /// Whether it succeeded.
    pub healthy: bool,
    /// How long the answer took, milliseconds; none if there was none.
    pub latency_ms: Option<f64>,
    /// Why it failed, or what was remarkable.
    pub message: Option<String>,
}

impl Store {
    /// Stores one check. Nothing happens if the service was removed meanwhile.
    pub fn add_health_check(&self, check: &HealthCheck) -> Result<(), StoreError> {
        self.add_health_checks(std::slice::from_ref(check))
    }

    /// Stores checks, in one transaction; those of services that were removed meanwhile are left out.
    pub fn add_health_checks(&self, checks: &[HealthCheck]) -> Result<(), StoreError> {
        if checks.is_empty() {
            return Ok(());
        }
        self.write("store health checks", |transaction| insert(transaction, checks))
    }

    /// The last `limit` checks of a service, the newest first.
    pub fn health_checks(&self, id: ServiceId, limit: u32) -> Result<Vec<HealthCheck>, StoreError> {
        self.read(&format!("list health checks of service {id}"), |connection| {
            let sql = "SELECT at, service_id, idx, healthy, latency_ms, message FROM health_checks \
                       WHERE service_id = ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![Id(id.0), Count(limit.into())], check)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

pub(crate) fn insert(connection: &Connection, checks: &[HealthCheck]) -> Result<(), Fault> {
    let sql = "INSERT INTO health_checks (at, service_id, idx, healthy, latency_ms, message) \
               SELECT ?1, service_id, ?3, ?4, ?5, ?6 FROM services WHERE service_id = ?2";
    let mut insert = connection.prepare_cached(sql)?;
    for check in checks {
        let (at, id) = (Time(check.at), Id(check.service_id.0));
        insert.execute(params![at, id, check.index, check.healthy, check.latency_ms, check.message])?;
    }
    Ok(())
}

fn check(row: &Row<'_>) -> rusqlite::Result<HealthCheck> {
    Ok(HealthCheck {
        at: row.get::<_, Time>(0)?.0,
        service_id: ServiceId(row.get::<_, Id>(1)?.0),
        index: row.get(2)?,
        healthy: row.get(3)?,
        latency_ms: row.get(4)?,
        message: row.get(5)?,
    })
}
