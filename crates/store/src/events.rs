//! The table `events`: the audit log. Ids grow and are never given twice, so a reader can go on after the last it saw.

use crate::columns::{Count, Id, Json, Time};
use crate::connections::Store;
use crate::error::{Fault, StoreError};
use jiff::Timestamp;
use myagent_core::ServiceId;
use myagent_core::event::Event;
use rusqlite::{Connection, Row, params};

/// An event before it has an id; see [`Event`] for its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct EventDraft {
    /// When.
    pub at: Timestamp,
    /// Who: `cli`, `api`, `manager`, `runner`.
    pub who: String,
    /// What, as a dotted word.
    pub kind: String,
    /// To which service, if to one.
    pub service_id: Option<ServiceId>,
    /// Its name then.
    pub service: Option<String>,
    /// To which instance, if to one.
    pub instance: Option<String>,
    /// One sentence: why.
    pub why: String,
}

impl EventDraft {
    /// The event with its id.
    pub fn with_id(self, id: i64) -> Event {
        let Self { at, who, kind, service_id, service, instance, why } = self;
        Event { id, at, who, kind, service_id, service, instance, why }
    }
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFilter {
    /// Only those of this service.
    pub service: Option<ServiceId>,
    /// Only those of these kinds, or whose kind begins with one that ends with a dot; none: of all.
    pub kinds: Vec<String>,
    /// Only those after this one, the oldest first; without it the newest ones.
    pub after_id: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

impl Default for EventFilter {
    fn default() -> Self {
        Self { service: None, kinds: Vec::new(), after_id: None, limit: 100 }
    }
}

impl Store {
    /// Stores an event and returns its id.
    pub fn add_event(&self, event: &EventDraft) -> Result<i64, StoreError> {
        self.write("add an event", |transaction| {
            let sql = "INSERT INTO events (at, who, kind, service_id, service, instance, why) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            transaction.prepare_cached(sql)?.execute(params![
                Time(event.at),
                event.who,
                event.kind,
                event.service_id.map(|id| Id(id.0)),
                event.service,
                event.instance,
                event.why,
            ])?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// How many events there are of that service and those kinds.
    pub fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.read("count events", |connection| {
            let (service, kinds) = conditions(filter);
            let sql = format!("SELECT count(*) FROM events WHERE {service} AND {kinds}");
            let (id, names) = (filter.service.map(|id| Id(id.0)), Json(&filter.kinds));
            let mut statement = connection.prepare_cached(&sql)?;
            // By the numbers that they have in the list, too.
            Ok(statement
                .query_row(params![None::<i64>, id, None::<i64>, names], |row| row.get::<_, Count>(0))?
                .0)
        })
    }

    /// The highest id that an event ever had.
    pub fn last_event_id(&self) -> Result<i64, StoreError> {
        self.read("find the last event", |connection| {
            let sql = "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0), \
                       coalesce((SELECT max(id) FROM events), 0))";
            Ok(connection.query_row(sql, [], |row| row.get(0))?)
        })
    }

    /// Events in the order they happened: the first `limit` after `after_id`, or the last `limit` there are.
    pub fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, StoreError> {
        self.read("list events", |connection| {
            let order = if filter.after_id.is_some() { "ASC" } else { "DESC" };
            let (service, kinds) = conditions(filter);
            let sql = format!(
                "SELECT id, at, who, kind, service_id, service, instance, why FROM events \
                 WHERE id > ?1 AND {service} AND {kinds} ORDER BY id {order} LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let service = filter.service.map(|id| Id(id.0));
            let limit = Count(filter.limit.into());
            let kinds = Json(&filter.kinds);
            let rows =
                statement.query_map(params![filter.after_id.unwrap_or(0), service, limit, kinds], event)?;
            let mut events = rows.collect::<Result<Vec<_>, _>>()?;
            if filter.after_id.is_none() {
                events.reverse();
            }
            Ok(events)
        })
    }
}

/// What is asked of the service (parameter 2) and the kind (4) of an event.
fn conditions(filter: &EventFilter) -> (&'static str, &'static str) {
    let service = if filter.service.is_some() { "service_id = ?2" } else { "?2 IS NULL" };
    let kinds = if filter.kinds.is_empty() {
        "?4 IS NOT NULL"
    } else {
        "EXISTS (SELECT 1 FROM json_each(?4) WHERE kind = value OR (substr(value, -1) = '.' \
         AND substr(kind, 1, length(value)) = value))"
    };
    (service, kinds)
}

/// Stores events with their ids; one whose id is taken (which two managers in turn could only do to each other) gets the next.
pub(crate) fn insert(connection: &Connection, events: &[Event]) -> Result<(), Fault> {
    let sql = "INSERT INTO events (id, at, who, kind, service_id, service, instance, why) VALUES \
               (CASE WHEN EXISTS (SELECT 1 FROM events WHERE id = ?1) THEN NULL ELSE ?1 END, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut insert = connection.prepare_cached(sql)?;
    for event in events {
        insert.execute(params![
            event.id,
            Time(event.at),
            event.who,
            event.kind,
            event.service_id.map(|id| Id(id.0)),
            event.service,
            event.instance,
            event.why,
        ])?;
    }
    Ok(())
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get(0)?,
        at: row.get::<_, Time>(1)?.0,
        who: row.get(2)?,
        kind: row.get(3)?,
        service_id: row.get::<_, Option<Id>>(4)?.map(|id| ServiceId(id.0)),
        service: row.get(5)?,
        instance: row.get(6)?,
        why: row.get(7)?,
    })
}
