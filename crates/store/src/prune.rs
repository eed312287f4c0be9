//! What is removed when it is old: nothing in the database grows without a bound.

use crate::columns::{Count, Time};
use crate::connections::Store;
use crate::error::StoreError;
use jiff::Timestamp;
use rusqlite::params;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

/// How much of something is kept: what is older, and the oldest beyond the count, goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// At most so many.
    pub count: u64,
    /// None older than this.
    pub age: Duration,
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events, all together.
    pub events: Keep,
    /// Events of connections: there are many, and they must not push out the others.
    pub connections: Keep,
    /// Health checks, of each service.
    pub health: Keep,
}

impl Default for Retention {
    /// 10,000 events for 30 days and 5,000 of connections, 1,000 health checks of each service for 7 days.
    fn default() -> Self {
        Self {
            events: Keep { count: 10_000, age: 30 * DAY },
            connections: Keep { count: 5_000, age: 30 * DAY },
            health: Keep { count: 1_000, age: 7 * DAY },
        }
    }
}

impl Store {
    /// Removes what is not to be kept any longer and returns how many rows that were.
    pub fn prune(&self, now: Timestamp, retention: &Retention) -> Result<usize, StoreError> {
        self.write("remove old events and health checks", |transaction| {
            let events = "DELETE FROM events WHERE kind NOT LIKE 'connection.%' AND (at < ?1 OR id <= (SELECT id FROM \
                          events WHERE kind NOT LIKE 'connection.%' ORDER BY id DESC LIMIT 1 OFFSET ?2))";
            let clients = "DELETE FROM events WHERE kind LIKE 'connection.%' AND (at < ?1 OR id <= (SELECT id FROM \
                           events WHERE kind LIKE 'connection.%' ORDER BY id DESC LIMIT 1 OFFSET ?2))";
            let health = "DELETE FROM health_checks WHERE at < ?1 OR id IN (SELECT id FROM (SELECT id, row_number() \
                          OVER (PARTITION BY service_id ORDER BY id DESC) AS place FROM health_checks) \
                          WHERE place > ?2)";
            let mut removed = 0;
            for (sql, keep) in
                [(events, retention.events), (clients, retention.connections), (health, retention.health)]
            {
                let oldest = Time::before(now, keep.age);
                removed += transaction.prepare_cached(sql)?.execute(params![oldest, Count(keep.count)])?;
            }
            Ok(removed)
        })
    }
}
