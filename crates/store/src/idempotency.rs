//! The table `idempotency_keys`: what was made for whom, so that a creation that is asked for again is done once, also after
//! the manager was killed between the doing and the answer.

use crate::columns::{Count, Time};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// How long a key is known.
const KEPT: Duration = Duration::from_hours(24);
/// Most keys that are known; the oldest go first.
const MOST: u64 = 10_000;

/// A creation that was asked for with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The asker's own.
    pub key: String,
    /// Of what was asked for: the same key with another one is a mistake of the asker.
    pub fingerprint: String,
    /// The id of what was made.
    pub subject: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// What was made when `key` was used; none after a day.
    pub fn creation(&self, key: &str, now: Timestamp) -> Result<Option<Creation>, StoreError> {
        self.read("look up an idempotency key", |connection| {
            let sql =
                "SELECT key, fingerprint, subject, at FROM idempotency_keys WHERE key = ?1 AND at >= ?2";
            let row = |row: &rusqlite::Row<'_>| {
                Ok(Creation {
                    key: row.get(0)?,
                    fingerprint: row.get(1)?,
                    subject: row.get(2)?,
                    at: row.get::<_, Time>(3)?.0,
                })
            };
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_row(params![key, Time::before(now, KEPT)], row).optional()?)
        })
    }
}

/// Notes a creation, in the transaction that makes it, and forgets old ones.
pub(crate) fn note(connection: &Connection, creation: Option<&Creation>) -> Result<(), Fault> {
    let Some(Creation { key, fingerprint, subject, at }) = creation else { return Ok(()) };
    let old = "DELETE FROM idempotency_keys WHERE at < ?1 OR key IN (SELECT key FROM idempotency_keys ORDER BY at DESC \
               LIMIT -1 OFFSET ?2)";
    connection.prepare_cached(old)?.execute(params![Time::before(*at, KEPT), Count(MOST - 1)])?;
    let sql =
        "INSERT OR REPLACE INTO idempotency_keys (key, fingerprint, subject, at) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![key, fingerprint, subject, Time(*at)])?;
    Ok(())
}
