//! Looking at open connections, closing one, and telling clients something. Looking reads the table that the instances'
//! tasks fill, and waits for nobody.

use crate::engine::Command;
use crate::handle::Handle;
use myagent_core::connections::{Filter, Found, MIN_PREFIX, Order};
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::view::{ConnectionStats, ConnectionView, DisconnectView, NotificationView, Page};
use myagent_core::{ConnectionId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest reason of a close frame, bytes.
const MAX_REASON: usize = 123;
/// Longest notification, bytes.
const MAX_MESSAGE: usize = 4096;

/// How a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// WebSocket close code: 1000, 1001, 1008, 1011 to 1014, or 3000 to 4999.
    pub code: u16,
    /// For the client, at most 123 bytes.
    pub reason: String,
    /// False: without a close frame, as if the network had gone.
    pub notify_client: bool,
}

impl Default for Disconnect {
    /// A normal end: a client that reconnects after errors stays away.
    fn default() -> Self {
        Self { code: 1000, reason: "disconnected by the operator".to_owned(), notify_client: true }
    }
}

impl Disconnect {
    fn check(&self) -> Result<(), Problem> {
        let mut errors = Vec::new();
        if !matches!(self.code, 1000 | 1001 | 1008 | 1011..=1014 | 3000..=4999) {
            let message = "must be 1000, 1001, 1008, from 1011 to 1014, or from 3000 to 4999";
            errors.push(FieldError::new("code", message));
        }
        if self.reason.len() > MAX_REASON {
            errors.push(FieldError::new("reason", format!("must be at most {MAX_REASON} bytes")));
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::fields(errors)) }
    }

    /// The code that its runner is told: 1006 is the one that never stands in a frame.
    pub(crate) fn wire_code(&self) -> u16 {
        if self.notify_client { self.code } else { 1006 }
    }
}

/// How much a notification matters to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    #[default]
    Info,
    /// Something may go wrong.
    Warning,
    /// Something goes wrong.
    Critical,
}

/// A text for clients that asked for events of our own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// The text, from 1 to 4096 bytes.
    pub message: String,
    /// Only to clients of this service, by name or id.
    #[serde(default)]
    pub service: Option<String>,
    /// Only to this connection, by id or the beginning of it.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub level: Level,
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Everyone,
    Service(ServiceId),
    Connection(ConnectionId),
}

impl Handle {
    /// A page of the open connections.
    pub fn connections(&self, filter: &Filter, order: Order, page: (usize, usize)) -> Page<ConnectionView> {
        let now = self.clock.now();
        self.connections.read(|connections| connections.page(filter, order, page, now))
    }

    /// One connection, by its id or the beginning of it.
    pub fn connection(&self, id: &str) -> Result<ConnectionView, Problem> {
        let (now, found) = (self.clock.now(), self.find_connection(id)?);
        let view = self.connections.read(|connections| connections.get(found, now));
        view.ok_or_else(|| unknown_connection(id))
    }

    /// Open connections in numbers.
    pub fn connection_stats(&self) -> ConnectionStats {
        let now = self.clock.now();
        let mut stats = self.connections.read(|connections| connections.stats(now));
        for service in self.services() {
            for (rule, traffic) in &service.stats.rules {
                stats.rules.entry(rule.clone()).or_default().add(traffic);
            }
        }
        stats
    }

    /// Closes a connection, by its id or the beginning of it; answers when it is closed, at the latest after about two seconds.
    pub async fn disconnect(&self, id: &str, what: Disconnect, who: &str) -> Result<DisconnectView, Problem> {
        what.check()?;
        // The table may be a second behind, so that a whole id need not be in it.
        let id = id.parse().map_or_else(|_| self.find_connection(id), Ok)?;
        self.ask(|answer| Command::Disconnect { what, id, who: who.to_owned(), answer }).await
    }

    /// Tells clients something; answers how many of them get it.
    pub async fn notify(&self, what: Notification, who: &str) -> Result<NotificationView, Problem> {
        if what.message.trim().is_empty() || what.message.len() > MAX_MESSAGE {
            let message = format!("must be from 1 to {MAX_MESSAGE} bytes");
            return Err(Problem::fields(vec![FieldError::new("message", message)]));
        }
        let to = match (&what.service, &what.connection_id) {
            (Some(_), Some(_)) => {
                let message = "excludes service; give one of them, or none for all clients";
                return Err(Problem::fields(vec![FieldError::new("connection_id", message)]));
            }
            (Some(service), None) => Audience::Service(self.service(service)?.service_id),
            (None, Some(id)) => {
                Audience::Connection(id.parse().map_or_else(|_| self.find_connection(id), Ok)?)
            }
            (None, None) => Audience::Everyone,
        };
        self.ask(|answer| Command::Notify { what: Box::new(what), to, who: who.to_owned(), answer }).await
    }

    fn find_connection(&self, id: &str) -> Result<ConnectionId, Problem> {
        match self.connections.read(|connections| connections.find(id)) {
            Found::One(id) => Ok(id),
            Found::Nothing => Err(unknown_connection(id)),
            Found::Several(count) => {
                let message = format!("is the beginning of {count} ids; give more of the one that is meant");
                Err(Problem::fields(vec![FieldError::new("connection_id", message)]))
            }
        }
    }
}

/// "No such connection".
pub(crate) fn unknown_connection(id: &str) -> Problem {
    let hint = if id.len() < MIN_PREFIX {
        format!("give at least {MIN_PREFIX} characters of its id")
    } else {
        "see `connections`".to_owned()
    };
    Problem::new(Code::ConnectionNotFound, format!("no connection {id:?} is open; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_can_carry_what_is_asked_for() {
        let check =
            |code, reason: &str| Disconnect { code, reason: reason.to_owned(), notify_client: true }.check();
        for code in [1000, 1001, 1008, 1011, 1012, 1014, 3000, 4001, 4999] {
            assert_eq!(check(code, ""), Ok(()), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1009, 1015, 2999, 5000] {
            assert!(check(code, "").unwrap_err().detail.starts_with("code: must be "), "{code}");
        }
        assert_eq!(check(1000, &"x".repeat(123)), Ok(()));
        assert!(
            check(1, &"ü".repeat(62)).unwrap_err().detail.ends_with("; reason: must be at most 123 bytes")
        );
        let silent = Disconnect { notify_client: false, ..Disconnect::default() };
        assert_eq!((Disconnect::default().wire_code(), silent.wire_code()), (1000, 1006));
    }
}
