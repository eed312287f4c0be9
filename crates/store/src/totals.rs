//! The tables `totals` and `instance_totals`: the sums of runners that ended, per service and per instance, so that counters
//! survive runners and managers; and `live_sums`: what runners that may still live had counted when they were last heard.

use crate::columns::{Count, Id, Json};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use myagent_core::wire::sums::{Sums, Totals};
use myagent_core::{InstanceKey, ServiceId, StartId};
use rusqlite::{OptionalExtension, Row, Transaction, named_params, params};
use std::collections::BTreeMap;

const COLUMNS: &str = "service_id, connections, sessions, messages_in, messages_out, bytes_in, bytes_out, log_lines_dropped, \
                       session_totals, rules, slow_clients, vanished_clients";

impl Store {
    /// Adds to the sums of an instance and its service what a runner has counted that is no more, and forgets its live sums.
    /// Nothing happens if the service was removed meanwhile.
    pub fn add_totals(&self, key: InstanceKey, delta: &Sums) -> Result<(), StoreError> {
        let operation = format!("add to the totals of service {}", key.service_id);
        self.write(&operation, |transaction| add(transaction, key, delta))
    }

    /// The sums of every service that has any.
    pub fn totals(&self) -> Result<BTreeMap<ServiceId, Sums>, StoreError> {
        self.read("read totals", |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM totals"))?;
            Ok(statement.query_map([], sums)?.collect::<Result<_, _>>()?)
        })
    }

    /// The sums of every instance that has any.
    pub fn instance_totals(&self) -> Result<BTreeMap<InstanceKey, Totals>, StoreError> {
        self.read("read totals of instances", |connection| {
            let sql = "SELECT service_id, idx, totals FROM instance_totals";
            let mut statement = connection.prepare_cached(sql)?;
            let totals = |row: &Row<'_>| Ok((key(row)?, row.get::<_, Json<_>>(2)?.0));
            Ok(statement.query_map([], totals)?.collect::<Result<_, _>>()?)
        })
    }

    /// Notes what runners have counted by now, in the place of what was noted of their instances.
    pub fn put_live_sums(&self, sums: &[(InstanceKey, StartId, Sums)]) -> Result<(), StoreError> {
        self.write("note the sums of runners", |transaction| {
            let sql = "INSERT OR REPLACE INTO live_sums (service_id, idx, start_id, sums) \
                       SELECT service_id, ?2, ?3, ?4 FROM services WHERE service_id = ?1";
            let mut statement = transaction.prepare_cached(sql)?;
            for (key, start_id, sums) in sums {
                statement.execute(params![Id(key.service_id.0), key.index, Id(start_id.0), Json(sums)])?;
            }
            Ok(())
        })
    }

    /// What was noted of runners whose sums were not added since.
    pub fn live_sums(&self) -> Result<Vec<(InstanceKey, StartId, Sums)>, StoreError> {
        self.read("read the sums of runners", |connection| {
            let sql = "SELECT service_id, idx, start_id, sums FROM live_sums ORDER BY service_id, idx";
            let mut statement = connection.prepare_cached(sql)?;
            let sums =
                |row: &Row<'_>| Ok((key(row)?, StartId(row.get::<_, Id>(2)?.0), row.get::<_, Json<_>>(3)?.0));
            Ok(statement.query_map([], sums)?.collect::<Result<_, _>>()?)
        })
    }
}

pub(crate) fn add(transaction: &Transaction<'_>, key: InstanceKey, delta: &Sums) -> Result<(), Fault> {
    let id = key.service_id;
    add_instance(transaction, key, &delta.totals)?;
    transaction
        .prepare_cached("DELETE FROM live_sums WHERE service_id = ?1 AND idx = ?2")?
        .execute(params![Id(id.0), key.index])?;
    let select = format!("SELECT {COLUMNS} FROM totals WHERE service_id = ?1");
    let stored = transaction.prepare_cached(&select)?.query_row([Id(id.0)], sums).optional()?;
    let mut sums = stored.map(|(_, sums)| sums).unwrap_or_default();
    sums.add(delta);
    let replace = format!(
        "INSERT OR REPLACE INTO totals ({COLUMNS}) \
         SELECT service_id, :connections, :sessions, :messages_in, :messages_out, :bytes_in, :bytes_out, \
         :log_lines_dropped, :session_totals, :rules, :slow_clients, :vanished_clients \
         FROM services WHERE service_id = :service_id"
    );
    transaction.prepare_cached(&replace)?.execute(named_params! {
        ":service_id": Id(id.0),
        ":connections": Count(sums.totals.connections),
        ":sessions": Count(sums.totals.sessions),
        ":messages_in": Count(sums.totals.messages_in),
        ":messages_out": Count(sums.totals.messages_out),
        ":bytes_in": Count(sums.totals.bytes_in),
        ":bytes_out": Count(sums.totals.bytes_out),
        ":log_lines_dropped": Count(sums.totals.log_lines_dropped),
        ":session_totals": Json(&sums.sessions),
        ":rules": Json(&sums.rules),
        ":slow_clients": Count(sums.totals.slow_clients),
        ":vanished_clients": Count(sums.totals.vanished_clients),
    })?;
    Ok(())
}

fn add_instance(transaction: &Transaction<'_>, key: InstanceKey, delta: &Totals) -> rusqlite::Result<()> {
    let select = "SELECT totals FROM instance_totals WHERE service_id = ?1 AND idx = ?2";
    let stored = transaction
        .prepare_cached(select)?
        .query_row(params![Id(key.service_id.0), key.index], |row| row.get::<_, Json<Totals>>(0))
        .optional()?;
    let mut totals = stored.map(|stored| stored.0).unwrap_or_default();
    totals.add(delta);
    let replace = "INSERT OR REPLACE INTO instance_totals (service_id, idx, totals) \
                   SELECT service_id, ?2, ?3 FROM services WHERE service_id = ?1";
    transaction.prepare_cached(replace)?.execute(params![Id(key.service_id.0), key.index, Json(&totals)])?;
    Ok(())
}

fn key(row: &Row<'_>) -> rusqlite::Result<InstanceKey> {
    Ok(InstanceKey { service_id: ServiceId(row.get::<_, Id>(0)?.0), index: row.get(1)? })
}

fn sums(row: &Row<'_>) -> rusqlite::Result<(ServiceId, Sums)> {
    let count = |column: usize| row.get::<_, Count>(column).map(|count| count.0);
    let totals = Totals {
        connections: count(1)?,
        sessions: count(2)?,
        messages_in: count(3)?,
        messages_out: count(4)?,
        bytes_in: count(5)?,
        bytes_out: count(6)?,
        log_lines_dropped: count(7)?,
        slow_clients: count(10)?,
        vanished_clients: count(11)?,
    };
    let (sessions, rules) = (row.get::<_, Json<_>>(8)?.0, row.get::<_, Json<_>>(9)?.0);
    Ok((ServiceId(row.get::<_, Id>(0)?.0), Sums { totals, sessions, rules }))
}
