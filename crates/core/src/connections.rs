//! The open connections of all instances, as their runners last reported them: the manager's copy, to look at and to find
//! the runner of one. It is at most as large as what is open, a report costs what is in it, and a look copies only what it
//! shows. It decides nothing about connections; times are arguments.
//!
//! A connection may go on in another runner. The two report independently, so either may come first: the runner with the
//! higher number of moves has it, and one that only said that it passed the connection on keeps it shown for
//! [`MOVING`] at most.

mod select;

pub use select::{Filter, Order};

use crate::ids::{ConnectionId, InstanceKey};
use crate::view::{ConnectionStats, ConnectionStatus, ConnectionView};
use crate::wire::control::{Connection, Report};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Without a message for so long a connection is idle.
pub const IDLE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// How long a connection that was passed on is shown before its new runner has reported it.
pub const MOVING: SignedDuration = SignedDuration::from_secs(5);
/// Shortest beginning of an id by which a connection is found.
pub const MIN_PREFIX: usize = 4;

/// The table.
#[derive(Debug, Default)]
pub struct Connections {
    /// Boxed: a map that grows has two tables for a while, and leaves a hole as large as the smaller one.
    rows: HashMap<ConnectionId, Box<Row>>,
    instances: HashMap<InstanceKey, Instance>,
    /// Rows that nobody has at the moment, oldest first.
    moving: VecDeque<(Timestamp, ConnectionId)>,
}

#[derive(Debug)]
struct Row {
    owner: InstanceKey,
    /// Name of the owner.
    instance: Arc<str>,
    connection: Connection,
    /// It was asked to close.
    closing: bool,
    /// Since when it is on its way to another runner.
    moving: Option<Timestamp>,
}

#[derive(Debug)]
struct Instance {
    name: Arc<str>,
    open: HashSet<ConnectionId>,
}

/// What an id, or the beginning of one, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This one.
    One(ConnectionId),
    /// So many connections begin like this.
    Several(usize),
    /// None that is known.
    Nothing,
}

impl Connections {
    /// Takes in a report of an instance of this name. The connections are taken out of it.
    pub fn take(&mut self, key: InstanceKey, name: &str, report: &mut Report, now: Timestamp) {
        self.end_moves(now);
        let instance = self.instances.entry(key).or_insert_with(|| Instance::new(name));
        if report.full {
            let open: HashSet<_> = report.open.iter().map(|connection| connection.connection_id).collect();
            let gone: Vec<_> = instance.open.difference(&open).copied().collect();
            for id in gone {
                instance.open.remove(&id);
                self.rows.remove(&id);
            }
        }
        for closed in report.closed.drain(..) {
            self.closed(key, &closed.connection, closed.moved, now);
        }
        for connection in report.open.drain(..) {
            self.open(key, name, connection);
        }
    }

    fn open(&mut self, key: InstanceKey, name: &str, connection: Connection) {
        let id = connection.connection_id;
        let row = self.rows.get(&id);
        if row.is_some_and(|row| row.owner != key && row.connection.moves > connection.moves) {
            // It has gone on meanwhile, and that was heard first.
            return;
        }
        if let Some(before) = row.filter(|row| row.owner != key)
            && let Some(instance) = self.instances.get_mut(&before.owner)
        {
            instance.open.remove(&id);
        }
        let instance = self.instances.entry(key).or_insert_with(|| Instance::new(name));
        instance.open.insert(id);
        let closing = self.rows.get(&id).is_some_and(|row| row.owner == key && row.closing);
        let row = Row { owner: key, instance: Arc::clone(&instance.name), connection, closing, moving: None };
        self.rows.insert(id, Box::new(row));
    }

    fn closed(&mut self, key: InstanceKey, connection: &Connection, moved: bool, now: Timestamp) {
        let id = connection.connection_id;
        let Some(row) = self.rows.get_mut(&id) else { return };
        // Another one has it, or it has been here twice and this is the end of the first time.
        if row.owner != key || row.connection.moves > connection.moves {
            return;
        }
        if let Some(instance) = self.instances.get_mut(&key) {
            instance.open.remove(&id);
        }
        if !moved {
            self.rows.remove(&id);
        } else if row.moving.is_none() {
            row.moving = Some(now);
            self.moving.push_back((now, id));
        }
    }

    /// Rows that no runner has reported in time: their new runner has ended.
    fn end_moves(&mut self, now: Timestamp) {
        while let Some((since, id)) = self.moving.front().copied() {
            if is_moving(since, now) {
                break;
            }
            self.moving.pop_front();
            if self.rows.get(&id).is_some_and(|row| row.moving == Some(since)) {
                self.rows.remove(&id);
            }
        }
    }

    /// The runner of an instance has ended, and its connections with it: these.
    pub fn forget(&mut self, key: InstanceKey) -> Vec<Connection> {
        let open = self.instances.remove(&key).map(|instance| instance.open).unwrap_or_default();
        open.into_iter().filter_map(|id| Some(self.rows.remove(&id)?.connection)).collect()
    }

    /// It is closed; the runner's report of that follows.
    pub fn remove(&mut self, id: ConnectionId) {
        if let Some(row) = self.rows.remove(&id)
            && let Some(instance) = self.instances.get_mut(&row.owner)
        {
            instance.open.remove(&id);
        }
    }

    /// It was asked to close.
    pub fn set_closing(&mut self, id: ConnectionId) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.closing = true;
        }
    }

    /// Whose it is.
    pub fn owner(&self, id: ConnectionId) -> Option<InstanceKey> {
        self.rows.get(&id).map(|row| row.owner)
    }

    /// One connection.
    pub fn get(&self, id: ConnectionId, now: Timestamp) -> Option<ConnectionView> {
        self.rows.get(&id).filter(|row| row.is_there(now)).map(|row| row.view(now))
    }

    /// Finds a connection by its id, or by the beginning of it: at least [`MIN_PREFIX`] characters.
    pub fn find(&self, id: &str) -> Found {
        if let Ok(id) = id.parse::<ConnectionId>() {
            return if self.rows.contains_key(&id) { Found::One(id) } else { Found::Nothing };
        }
        let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
        if id.len() < MIN_PREFIX || !id.chars().all(plain) {
            return Found::Nothing;
        }
        let wanted = id.to_ascii_lowercase();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let mut begins =
            |id: &ConnectionId| id.0.hyphenated().encode_lower(&mut text).starts_with(wanted.as_str());
        let mut found = self.rows.keys().filter(|id| begins(id));
        match (found.next(), found.count()) {
            (None, _) => Found::Nothing,
            (Some(id), 0) => Found::One(*id),
            (Some(_), others) => Found::Several(others + 1),
        }
    }

    /// How many there are, by what.
    pub fn stats(&self, now: Timestamp) -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        for status in ConnectionStatus::ALL {
            stats.by_status.insert(status.to_string(), 0);
        }
        let add = |counts: &mut std::collections::BTreeMap<String, u64>, name: &str| {
            // Looked up first, so that a name is copied once and not for each connection.
            match counts.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(counts.insert(name.to_owned(), 1)),
            }
        };
        for row in self.rows.values().filter(|row| row.is_there(now)) {
            stats.total_connections += 1;
            add(&mut stats.by_status, row.status(now).as_str());
            add(&mut stats.by_instance, &row.instance);
            let service = row.instance.rsplit_once('-').map_or(&*row.instance, |(service, _)| service);
            add(&mut stats.by_service, service);
            add(&mut stats.by_strategy, row.connection.strategy.as_deref().unwrap_or(DIRECT));
            if let Some(rule) = &row.connection.rule {
                add(&mut stats.by_rule, rule);
            }
        }
        stats
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The strategy of a connection that came to the instance's own port.
const DIRECT: &str = "direct";

impl Instance {
    fn new(name: &str) -> Self {
        Self { name: name.into(), open: HashSet::new() }
    }
}

fn is_moving(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) < MOVING
}

impl Row {
    fn is_there(&self, now: Timestamp) -> bool {
        self.moving.is_none_or(|since| is_moving(since, now))
    }

    fn status(&self, now: Timestamp) -> ConnectionStatus {
        if self.closing {
            ConnectionStatus::Closing
        } else if now.duration_since(self.connection.last_activity) >= IDLE_AFTER {
            ConnectionStatus::Idle
        } else {
            ConnectionStatus::Active
        }
    }

    fn view(&self, now: Timestamp) -> ConnectionView {
        let connection = &self.connection;
        ConnectionView {
            connection_id: connection.connection_id,
            session_id: connection.session_id.clone(),
            client_ip: connection.client.ip().to_canonical(),
            client_port: connection.client.port(),
            user_agent: connection.user_agent.clone(),
            target_service_id: self.owner.service_id,
            instance: self.instance.to_string(),
            routing_strategy: connection.strategy.clone(),
            rule: connection.rule.clone(),
            pool: connection.pool,
            status: self.status(now),
            connected_at: connection.connected_at,
            last_activity: connection.last_activity,
            bytes_sent: connection.bytes_out,
            bytes_received: connection.bytes_in,
            message_count: connection.messages_in.saturating_add(connection.messages_out),
        }
    }
}

#[cfg(test)]
mod tests;
