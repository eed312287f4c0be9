//! Which instance has which session, as runners report it: a client that comes back with `?session_id=` goes there.
//!
//! The front door reads this for clients while reports come in, so that it is a map without a lock. It is a hint: an agent
//! file's runner passes a client on to the right one, but the agent behind a relay cannot.

use myagent_core::InstanceKey;
use myagent_core::routing::KnownSessions;
use myagent_core::wire::control::Report;
use papaya::{HashMap, Operation};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most sessions that are known; clients of others are routed as if they were new.
const MAX_SESSIONS: usize = 200_000;

/// How long a session is known for which there is only the front door's word; runners report once a second.
const UNTIL_REPORT: Duration = Duration::from_secs(10);
/// Longest id that is kept, bytes; a longer one is unknown.
const MAX_ID: usize = 200;

/// A cheap handle on the map.
#[derive(Clone, Default)]
pub struct Sessions(Arc<HashMap<Box<str>, Known>>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    key: InstanceKey,
    /// When it is forgotten; none: a client is connected to it.
    until: Option<Instant>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ids of sessions are as good as keys to them.
        f.debug_struct("Sessions").field("known", &self.0.len()).finish()
    }
}

impl Sessions {
    /// Learns from a report of an instance. `keep`: how long a session without a client is known.
    pub fn take(&self, key: InstanceKey, report: &Report, keep: Duration) {
        let until = Some(Instant::now() + keep);
        for closed in report.closed.iter().filter(|closed| !closed.moved) {
            if let Some(session) = &closed.connection.session_id {
                self.left(session, key, until);
            }
        }
        for session in &report.left_sessions {
            self.left(session, key, until);
        }
        for connection in &report.open {
            if let Some(session) = &connection.session_id {
                self.learn(session, Known { key, until: None });
            }
        }
    }

    fn learn(&self, session: &str, known: Known) {
        if self.has_room(session) {
            self.0.pin().insert(session.into(), known);
        }
    }

    fn has_room(&self, session: &str) -> bool {
        session.len() <= MAX_ID && (self.0.len() < MAX_SESSIONS || self.0.pin().contains_key(session))
    }

    /// Its client is gone. Another instance, or another client, may have it by now: then that holds.
    fn left(&self, session: &str, key: InstanceKey, until: Option<Instant>) {
        if !self.has_room(session) {
            return;
        }
        self.0.pin().compute(session.into(), |known| match known {
            Some((_, known)) if known.key != key => Operation::Abort(()),
            _ => Operation::Insert(Known { key, until }),
        });
    }

    /// The runner of an instance has ended, and with it its connections.
    pub fn runner_ended(&self, key: InstanceKey, keep: Duration) {
        let until = Some(Instant::now() + keep);
        let map = self.0.pin();
        for (session, _) in map.iter().filter(|(_, known)| known.key == key && known.until.is_none()) {
            map.update(
                session.clone(),
                |known| if known.key == key { Known { until, ..*known } } else { *known },
            );
        }
    }

    /// Forgets those whose time is over.
    pub fn expire(&self) {
        let now = Instant::now();
        self.0.pin().retain(|_, known| known.until.is_none_or(|until| until > now));
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl KnownSessions for Sessions {
    fn instance_of(&self, session_id: &str) -> Option<InstanceKey> {
        let map = self.0.pin();
        let known = map.get(session_id)?;
        known.until.is_none_or(|until| until > Instant::now()).then_some(known.key)
    }

    fn taken(&self, session_id: &str, instance: InstanceKey) {
        if self.has_room(session_id) {
            let until = Some(Instant::now() + UNTIL_REPORT);
            self.0.pin().get_or_insert_with(session_id.into(), || Known { key: instance, until });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use myagent_core::wire::control::{Closed, Connection};
    use myagent_core::{ConnectionId, ServiceId};
    use uuid::Uuid;

    const KEEP: Duration = Duration::from_mins(30);

    fn key(index: u32) -> InstanceKey {
        InstanceKey { service_id: ServiceId(Uuid::nil()), index }
    }

    fn connection(session: &str) -> Connection {
        Connection {
            connection_id: ConnectionId(Uuid::nil()),
            session_id: Some(session.to_owned()),
            client: "127.0.0.1:1".parse().unwrap(),
            user_agent: None,
            strategy: None,
            rule: None,
            pool: None,
            connected_at: Timestamp::UNIX_EPOCH,
            last_activity: Timestamp::UNIX_EPOCH,
            messages_in: 0,
            messages_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            moves: 0,
            events: false,
        }
    }

    fn open(sessions: &[&str]) -> Report {
        Report { open: sessions.iter().map(|id| connection(id)).collect(), ..Report::default() }
    }

    fn closed(session: &str, moved: bool) -> Report {
        let connection = connection(session);
        let reason = String::new();
        let closed =
            Closed { number: 1, connection, closed_at: Timestamp::UNIX_EPOCH, code: 1000, reason, moved };
        Report { closed: vec![closed], ..Report::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_known_while_it_has_a_client_and_for_a_while_after() {
        let sessions = Sessions::default();
        assert_eq!(sessions.instance_of("a"), None);
        sessions.take(key(0), &open(&["a", "b"]), KEEP);
        tokio::time::advance(KEEP * 3).await;
        sessions.expire();
        assert_eq!(sessions.instance_of("a"), Some(key(0)), "its client is still there");
        sessions.take(key(0), &closed("a", false), KEEP);
        tokio::time::advance(KEEP / 2).await;
        sessions.expire();
        assert_eq!(sessions.instance_of("a"), Some(key(0)));
        tokio::time::advance(KEEP).await;
        assert_eq!(sessions.instance_of("a"), None);
        assert_eq!(sessions.len(), 2);
        sessions.expire();
        assert_eq!(sessions.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_owner_holds() {
        let sessions = Sessions::default();
        sessions.take(key(0), &open(&["a", "b", "c"]), KEEP);
        sessions.take(key(1), &open(&["a"]), KEEP);
        sessions.take(key(0), &closed("a", true), KEEP);
        sessions.take(key(0), &closed("a", false), KEEP);
        assert_eq!(sessions.instance_of("a"), Some(key(1)));
        sessions.take(key(0), &Report { left_sessions: vec!["d".to_owned()], ..Report::default() }, KEEP);
        assert_eq!(sessions.instance_of("d"), Some(key(0)));
        sessions.runner_ended(key(0), KEEP);
        assert_eq!(sessions.instance_of("b"), Some(key(0)));
        tokio::time::advance(KEEP).await;
        sessions.expire();
        assert_eq!((sessions.instance_of("b"), sessions.instance_of("a")), (None, Some(key(1))));
        assert_eq!(format!("{sessions:?}"), "Sessions { known: 1 }");
        sessions.taken("e", key(2));
        sessions.taken("a", key(2));
        sessions.taken(&"x".repeat(MAX_ID + 1), key(2));
        assert_eq!((sessions.instance_of("e"), sessions.instance_of("a")), (Some(key(2)), Some(key(1))));
        tokio::time::advance(UNTIL_REPORT).await;
        assert_eq!((sessions.instance_of("e"), sessions.len()), (None, 2));
    }
}
