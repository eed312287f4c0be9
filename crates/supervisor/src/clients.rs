//! Open connections by client address, for the front door's limit per address. Like [`crate::Sessions`] a map that is read
//! and written without a lock. Where there is no such limit nothing is counted.

use myagent_core::clients::{OpenClients, counts_as};
use myagent_core::wire::control::Report;
use myagent_core::{ConnectionId, InstanceKey};
use papaya::{Compute, HashMap, Operation};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection counts for which there is only the front door's word; runners report once a second.
const UNTIL_REPORT: Duration = Duration::from_secs(10);

/// A cheap handle on the counts.
#[derive(Clone, Debug, Default)]
pub struct Clients(Option<Arc<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<ConnectionId, Open>,
    counts: HashMap<IpAddr, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    client: IpAddr,
    /// The instance whose runner has reported it; none: until this time it counts by the front door's word.
    owner: Result<InstanceKey, Instant>,
}

impl Clients {
    /// Counts.
    pub fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    /// Learns from a report of an instance.
    pub fn take(&self, key: InstanceKey, report: &Report) {
        let Some(inner) = &self.0 else { return };
        // One that moved is told by its new runner.
        for closed in report.closed.iter().filter(|closed| !closed.moved) {
            inner.remove_if(closed.connection.connection_id, |open| {
                open.owner.is_ok_and(|owner| owner == key) || open.owner.is_err()
            });
        }
        for connection in &report.open {
            let client = counts_as(connection.client.ip());
            inner.put(connection.connection_id, Open { client, owner: Ok(key) });
        }
        if report.full {
            let open: HashSet<_> = report.open.iter().map(|connection| connection.connection_id).collect();
            inner.remove_all(|id, entry| entry.owner == Ok(key) && !open.contains(id));
        }
    }

    /// The runner of an instance has ended, and with it its connections.
    pub fn runner_ended(&self, key: InstanceKey) {
        if let Some(inner) = &self.0 {
            inner.remove_all(|_, entry| entry.owner == Ok(key));
        }
    }

    /// Forgets those that no runner has reported in time.
    pub fn expire(&self) {
        if let Some(inner) = &self.0 {
            let now = Instant::now();
            inner.remove_all(|_, entry| entry.owner.is_err_and(|until| until <= now));
        }
    }
}

impl Inner {
    fn put(&self, id: ConnectionId, open: Open) {
        let map = self.open.pin();
        match map.compute(id, |_| Operation::Insert::<_, ()>(open)) {
            Compute::Inserted(..) => self.count(open.client, true),
            Compute::Updated { old: (_, old), .. } if old.client != open.client => {
                self.count(old.client, false);
                self.count(open.client, true);
            }
            _ => {}
        }
    }

    fn remove_if(&self, id: ConnectionId, condition: impl Fn(&Open) -> bool) {
        let map = self.open.pin();
        let removed = map.compute(id, |entry| match entry {
            Some((_, open)) if condition(open) => Operation::Remove,
            _ => Operation::Abort(()),
        });
        if let Compute::Removed(_, open) = removed {
            self.count(open.client, false);
        }
    }

    fn remove_all(&self, condition: impl Fn(&ConnectionId, &Open) -> bool) {
        let map = self.open.pin();
        for (id, _) in map.iter().filter(|(id, open)| condition(id, open)) {
            self.remove_if(*id, |open| condition(id, open));
        }
    }

    fn count(&self, client: IpAddr, opened: bool) {
        self.counts.pin().compute(client, |entry| {
            let count = entry.map_or(0, |(_, count)| *count);
            match if opened { count.saturating_add(1) } else { count.saturating_sub(1) } {
                0 if entry.is_none() => Operation::Abort(()),
                0 => Operation::Remove,
                count => Operation::Insert(count),
            }
        });
    }
}

impl OpenClients for Clients {
    fn count_of(&self, client: IpAddr) -> u32 {
        let count = |inner: &Arc<Inner>| inner.counts.pin().get(&counts_as(client)).copied();
        self.0.as_ref().and_then(count).unwrap_or_default()
    }

    fn handed_over(&self, id: ConnectionId, client: IpAddr) {
        if let Some(inner) = &self.0 {
            inner.put(id, Open { client: counts_as(client), owner: Err(Instant::now() + UNTIL_REPORT) });
        }
    }

    fn given_back(&self, id: ConnectionId) {
        if let Some(inner) = &self.0 {
            inner.remove_if(id, |open| open.owner.is_err());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use myagent_core::ServiceId;
    use myagent_core::wire::control::{Closed, Connection};
    use uuid::Uuid;

    fn key(index: u32) -> InstanceKey {
        InstanceKey { service_id: ServiceId(Uuid::nil()), index }
    }

    fn id(number: u128) -> ConnectionId {
        ConnectionId(Uuid::from_u128(number))
    }

    fn connection(number: u128, client: &str) -> Connection {
        let value = serde_json::json!({
            "connection_id": id(number), "session_id": null, "client": format!("{client}:1"), "user_agent": null,
            "strategy": null, "rule": null, "connected_at": Timestamp::UNIX_EPOCH, "last_activity": Timestamp::UNIX_EPOCH,
            "messages_in": 0, "messages_out": 0, "bytes_in": 0, "bytes_out": 0,
        });
        serde_json::from_value(value).unwrap()
    }

    fn closed(number: u128, moved: bool) -> Closed {
        let (connection, reason) = (connection(number, "10.0.0.1"), String::new());
        Closed { number: 1, connection, closed_at: Timestamp::UNIX_EPOCH, code: 1000, reason, moved }
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_counts_once_and_until_its_end() {
        let clients = Clients::counting();
        let one = "10.0.0.1".parse().unwrap();
        let check = |expected| assert_eq!(clients.count_of(one), expected);
        for number in 1..=4 {
            clients.handed_over(id(number), one);
        }
        check(4);
        let open = vec![connection(1, "10.0.0.1"), connection(2, "10.0.0.1"), connection(9, "10.0.0.2")];
        clients.take(key(0), &Report { open, ..Report::default() });
        check(4);
        clients.given_back(id(3));
        check(3);
        // Told by nobody: it counts for a while.
        tokio::time::advance(UNTIL_REPORT).await;
        clients.expire();
        check(2);
        clients.take(key(0), &Report { closed: vec![closed(1, false)], ..Report::default() });
        check(1);
        // Moved: its new runner has it, and the end of the old one does not end it.
        clients.take(key(1), &Report { open: vec![connection(2, "10.0.0.1")], ..Report::default() });
        clients
            .take(key(0), &Report { closed: vec![closed(2, true), closed(2, false)], ..Report::default() });
        check(1);
        clients.take(key(0), &Report { full: true, ..Report::default() });
        assert_eq!(clients.count_of("10.0.0.2".parse().unwrap()), 0);
        clients.runner_ended(key(1));
        check(0);
        assert!(clients.0.as_ref().unwrap().counts.is_empty());
        // Opened and closed before a report.
        clients.handed_over(id(7), one);
        clients.take(key(0), &Report { closed: vec![closed(7, false)], ..Report::default() });
        check(0);
        let none = Clients::default();
        none.handed_over(id(1), one);
        assert_eq!(none.count_of(one), 0);
    }
}
