//! The table `totals`: the sums of runners that ended, per service, so that counters survive runners and managers.

use crate::columns::{Count, Id, Json};
use crate::connections::Store;
use crate::error::StoreError;
use myagent_core::ServiceId;
use myagent_core::wire::control::{Sums, Totals};
use rusqlite::{OptionalExtension, Row, named_params};
use std::collections::BTreeMap;

const COLUMNS: &str = "service_id, connections, sessions, messages_in, messages_out, bytes_in, bytes_out, log_lines_dropped, \
                       session_totals";

impl Store {
    /// Adds to the sums of a service. Nothing happens if the service was removed meanwhile.
    pub fn add_totals(&self, id: ServiceId, delta: &Sums) -> Result<(), StoreError> {
        self.write(&format!("add to the totals of service {id}"), |transaction| {
            let select = format!("SELECT {COLUMNS} FROM totals WHERE service_id = ?1");
            let stored = transaction.prepare_cached(&select)?.query_row([Id(id.0)], sums).optional()?;
            let mut sums = stored.map(|(_, sums)| sums).unwrap_or_default();
            sums.add(delta);
            let replace = format!(
                "INSERT OR REPLACE INTO totals ({COLUMNS}) \
                 SELECT service_id, :connections, :sessions, :messages_in, :messages_out, :bytes_in, :bytes_out, \
                 :log_lines_dropped, :session_totals FROM services WHERE service_id = :service_id"
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
            })?;
            Ok(())
        })
    }

    /// The sums of every service that has any.
    pub fn totals(&self) -> Result<BTreeMap<ServiceId, Sums>, StoreError> {
        self.read("read totals", |connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM totals"))?;
            Ok(statement.query_map([], sums)?.collect::<Result<_, _>>()?)
        })
    }
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
    };
    Ok((ServiceId(row.get::<_, Id>(0)?.0), Sums { totals, sessions: row.get::<_, Json<_>>(8)?.0 }))
}
