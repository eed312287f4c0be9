//! The table `peaks`: the most that there was at once. The whole fleet is in it with the nil id.

use crate::columns::{Count, Id};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use myagent_core::ServiceId;
use myagent_core::wire::sums::Peaks;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

impl Store {
    /// All of them.
    pub fn peaks(&self) -> Result<BTreeMap<ServiceId, Peaks>, StoreError> {
        self.read("read peaks", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT service_id, connections, sessions FROM peaks")?;
            let row = |row: &rusqlite::Row<'_>| {
                let number =
                    |column| row.get::<_, Count>(column).map(|count| count.0.try_into().unwrap_or(u32::MAX));
                let peaks = Peaks { connections: number(1)?, sessions: number(2)? };
                Ok((ServiceId(row.get::<_, Id>(0)?.0), peaks))
            };
            Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
        })
    }
}

pub(crate) fn put(connection: &Connection, peaks: &[(ServiceId, Peaks)]) -> Result<(), Fault> {
    let sql = "INSERT OR REPLACE INTO peaks (service_id, connections, sessions) VALUES (?1, ?2, ?3)";
    let mut statement = connection.prepare_cached(sql)?;
    for (id, Peaks { connections, sessions }) in peaks {
        statement.execute(params![Id(id.0), Count(u64::from(*connections)), Count(u64::from(*sessions))])?;
    }
    Ok(())
}

pub(crate) fn delete(connection: &Connection, id: ServiceId) -> Result<(), Fault> {
    connection.execute("DELETE FROM peaks WHERE service_id = ?1", params![Id(id.0)])?;
    Ok(())
}
