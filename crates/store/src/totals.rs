//! The table `totals`: the sums of connections that ended, per service, so that counters survive runners and managers.

use crate::columns::{Count, Id};
use crate::connections::Store;
use crate::error::StoreError;
use myagent_core::ServiceId;
use myagent_core::wire::control::Totals;
use rusqlite::{OptionalExtension, Row, named_params};
use std::collections::BTreeMap;

const COLUMNS: &str =
    "service_id, connections, sessions, messages_in, messages_out, bytes_in, bytes_out, log_lines_dropped";

impl Store {
    /// Adds to the sums of a service. Nothing happens if the service was removed meanwhile.
    pub fn add_totals(&self, id: ServiceId, delta: &Totals) -> Result<(), StoreError> {
        self.write(&format!("add to the totals of service {id}"), |transaction| {
            let select = format!("SELECT {COLUMNS} FROM totals WHERE service_id = ?1");
            let stored = transaction.prepare_cached(&select)?.query_row([Id(id.0)], totals).optional()?;
            let old = stored.map(|(_, totals)| totals).unwrap_or_default();
            let replace = format!(
                "INSERT OR REPLACE INTO totals ({COLUMNS}) \
                 SELECT service_id, :connections, :sessions, :messages_in, :messages_out, :bytes_in, :bytes_out, \
                 :log_lines_dropped FROM services WHERE service_id = :service_id"
            );
            transaction.prepare_cached(&replace)?.execute(named_params! {
                ":service_id": Id(id.0),
                ":connections": Count(old.connections.saturating_add(delta.connections)),
                ":sessions": Count(old.sessions.saturating_add(delta.sessions)),
                ":messages_in": Count(old.messages_in.saturating_add(delta.messages_in)),
                ":messages_out": Count(old.messages_out.saturating_add(delta.messages_out)),
                ":bytes_in": Count(old.bytes_in.saturating_add(delta.bytes_in)),
                ":bytes_out": Count(old.bytes_out.saturating_add(delta.bytes_out)),
                ":log_lines_dropped": Count(old.log_lines_dropped.saturating_add(delta.log_lines_dropped)),
            })?;
            Ok(())
        })
    }

    /// The sums of every service that has any.
    pub fn totals(&self) -> Result<BTreeMap<ServiceId, Totals>, StoreError> {
        self.read("read totals", |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM totals"))?;
            Ok(statement.query_map([], totals)?.collect::<Result<_, _>>()?)
        })
    }
}

fn totals(row: &Row<'_>) -> rusqlite::Result<(ServiceId, Totals)> {
    let count = |column: usize| row.get::<_, Count>(column).map(|count| count.0);
    let totals = Totals {
        connections: count(1)?,
        sessions: count(2)?,
        messages_in: count(3)?,
        messages_out: count(4)?,
        bytes_in: count(5)?,
        bytes_out: count(6)?,
        log_lines_dropped: count(7)?,
    };
    Ok((ServiceId(row.get::<_, Id>(0)?.0), totals))
}
