//! How a connection moves with its sessions to another runner, and how it arrives there (`docs/design/failover.md`).
//!
//! The socket is the giver's until it has heard that it was taken, and the taker says so before it touches it. The sessions are
//! released in the journal before the socket is sent, and adopted before it is taken: whoever dies or refuses in between
//! leaves sessions that anybody may adopt, the giver too, and a socket that is still its.

use crate::connection::Conn;
use crate::host::Inner;
use crate::neighbour::{Brought, Willing};
use crate::search::Missing;
use crate::session::Session;
use crate::text::quote;
use jiff::Timestamp;
use myagent_core::StartId;
use myagent_core::drain::COME_BACK;
use myagent_core::wire::control::Connection;
use myagent_core::wire::handover::{MAX_UNREAD, Moved, MovedReplay, MovedSession};
use myagent_journal::{Owner, ReleaseError};
use myagent_relay::codec::{MessageReader, Opcode, write_frame};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// An owner that is dying, or just letting go, may still look alive for so long.
const DYING: Duration = Duration::from_millis(500);
/// How long it is tried to take over what should be free.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(10);

/// Somebody would take a connection.
pub(crate) struct Order {
    /// Who.
    pub(crate) willing: Willing,
    /// Name of its instance.
    pub(crate) instance: String,
    /// Is told what came of it.
    pub(crate) done: oneshot::Sender<Outcome>,
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The connection is there.
    Moved,
    /// It cannot move just now: something of it runs again, or it is ending.
    NotNow,
    /// It was not taken, or could not be let go of, and is here as before.
    Failed,
    /// It had to be cut off.
    Cut,
}

impl Inner {
    /// Whether a connection may go to a session that is elsewhere: it has none here.
    pub(crate) fn may_move(conn: &Conn) -> bool {
        !conn.probe && conn.sessions.borrow().is_empty()
    }

    /// Whether a turn of this connection runs.
    pub(crate) fn is_answered_in(conn: &Conn) -> bool {
        conn.sessions.borrow().iter().any(|session| session.state.borrow().turn.is_some())
    }

    /// Whether nothing of this connection runs, so that it may move.
    pub(crate) fn nothing_runs(conn: &Conn) -> bool {
        let announced = |session: &Rc<Session>| {
            let state = session.state.borrow();
            state.announced && state.is_quiet()
        };
        !conn.is_ending() && conn.sessions.borrow().iter().all(announced)
    }

    /// Whether the agent would go on with these sessions in another process: it gets what it knows, or it knows nothing yet.
    pub(crate) fn can_go_on(&self, conn: &Conn) -> bool {
        let said = self.said.borrow();
        let sessions = conn.sessions.borrow();
        let keeps = said.state || said.context;
        let is_new = |session: &Rc<Session>| session.state.borrow().last_seq <= 1;
        sessions.is_empty() || self.config.config.journal_max_mb > 0 && (keeps || sessions.iter().all(is_new))
    }

    /// Moves a connection to the one who would take it. True: it is gone.
    pub(crate) async fn move_out(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        reader: &MessageReader,
        order: Order,
    ) -> bool {
        let Order { willing, instance, done } = order;
        let outcome = self.try_to_move(conn, reader, willing, &instance).await;
        conn.moving.set(false);
        // Whoever gave the order may have left.
        let _ = done.send(match outcome {
            Ok(true) => Outcome::Moved,
            Ok(false) => Outcome::NotNow,
            Err(Cut(false)) => Outcome::Failed,
            Err(Cut(true)) => Outcome::Cut,
        });
        matches!(outcome, Ok(true) | Err(Cut(true)))
    }

    /// True: it is there. False: not now. An error: it was tried in vain.
    async fn try_to_move(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        reader: &MessageReader,
        willing: Willing,
        instance: &str,
    ) -> Result<bool, Cut> {
        self.push_notices(conn);
        self.flush();
        let unread = reader.unread();
        if !Self::nothing_runs(conn) || unread.len() > MAX_UNREAD || conn.unsent() > MAX_UNREAD {
            return Ok(false);
        }
        let sessions: Vec<_> = conn.sessions.borrow().clone();
        let brings: Vec<_> = sessions.iter().map(|session| describe(conn, session)).collect();
        let Some(packed) = conn.pack() else { return Ok(false) };
        let mut released = 0;
        for session in &sessions {
            if let Err(error) = self.release(session) {
                tracing::warn!(%error, "a session could not be released: its client stays");
                break;
            }
            released += 1;
        }
        let mut came = Brought::Ours;
        if released == sessions.len() {
            let moved = Moved {
                unread: unread.len(),
                unsent: packed.unsent.len(),
                brings: Some(brings.clone()),
                lost: conn.lost(),
                ..self.moved(&packed.connection)
            };
            let raw = [unread.as_slice(), &packed.unsent].concat();
            came = willing.bring(packed.socket.as_ref().as_fd(), &moved, &raw).await;
        }
        match came {
            Brought::Taken => {
                conn.has_gone(packed, instance);
                Ok(true)
            }
            Brought::Ours => {
                for session in brings.iter().take(released) {
                    self.regain(session.id).await;
                }
                conn.stays(self, packed);
                for session in brings.iter().take(released) {
                    self.settle_in(conn, session);
                }
                self.flush();
                Err(Cut(false))
            }
            Brought::Unclear => {
                tracing::warn!(
                    instance,
                    "an instance does not say whether it has taken a client; it is cut off"
                );
                conn.is_cut(&packed, &format!("instance {instance} did not say whether it has taken it"));
                Err(Cut(true))
            }
        }
    }

    /// Hands a connection that has no session here to the runner of the one that it wants, with what is unread. After `Ok`
    /// nothing of it is left here.
    pub(crate) async fn pass(
        &self,
        conn: &Conn,
        willing: Willing,
        instance: &str,
        unread: &[u8],
    ) -> Result<(), Missing> {
        let not_now =
            |why: &str| Missing::NotNow(format!("the session is in instance {instance}, {why}; try again"));
        // What was said here comes before what is said there.
        self.flush();
        if conn.unsent() > 0 && willing.places.is_none() {
            return Err(not_now("and this connection has not taken what was sent to it"));
        }
        let Some(packed) = conn.pack() else {
            return Err(not_now("and this connection is being closed"));
        };
        let moved = Moved {
            unread: unread.len(),
            unsent: packed.unsent.len(),
            lost: conn.lost(),
            ..self.moved(&packed.connection)
        };
        let raw = [unread, &packed.unsent].concat();
        match willing.hand_over(packed.socket.as_ref().as_fd(), &moved, &raw).await {
            Ok(()) => {
                conn.has_gone(packed, instance);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(instance, %error, "a client could not be handed over");
                conn.stays(self, packed);
                Err(not_now("which does not answer"))
            }
        }
    }

    /// What another runner is told of a connection in any case.
    pub(crate) fn moved(&self, connection: &Connection) -> Moved {
        Moved {
            connection_id: connection.connection_id,
            client: connection.client,
            user_agent: connection.user_agent.clone(),
            strategy: connection.strategy.clone(),
            rule: connection.rule.clone(),
            pool: connection.pool,
            unread: 0,
            so_far: Some(Box::new(connection.clone())),
            from: Some(self.config.instance.clone()),
            unsent: 0,
            brings: None,
            lost: Vec::new(),
        }
    }

    /// Lets go of a session: from now on anybody may adopt it. Its client, if it has one, loses it without a word.
    pub(crate) fn release(&self, session: &Rc<Session>) -> Result<(), ReleaseError> {
        self.config.journal.release(session.key, StartId((self.config.random_id)()))?;
        self.stop_replay(session, &mut session.state.borrow_mut());
        self.leave_memory(session, None);
        Ok(())
    }

    /// Lets go of a session that somebody wants to go on with elsewhere, if nothing of it runs. True: it is anybody's.
    pub(crate) fn give_away(self: &Rc<Self>, key: Uuid) -> bool {
        let session = self.sessions.borrow().get(&key).cloned();
        let result = match &session {
            Some(session) => {
                let state = session.state.borrow();
                if !(state.announced && state.is_quiet()) {
                    return false;
                }
                drop(state);
                let conn = session.conn.borrow().clone();
                self.release(session).map(|()| {
                    if let Some(conn) = conn {
                        conn.note_lost(key);
                        self.tell_moved(&conn, &session.id);
                        self.flush();
                    }
                })
            }
            None => self.config.journal.release(key, StartId((self.config.random_id)())),
        };
        if let Err(error) = &result {
            tracing::warn!(%error, "a session that is wanted elsewhere could not be released");
        }
        result.is_ok()
    }

    /// Takes over a session that was released, or whose owner is dying. If somebody else has it, or it cannot be, that is seen
    /// by whoever asks for it next.
    pub(crate) async fn regain(&self, key: Uuid) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match self.config.journal.locate(key) {
                Owner::Here | Owner::Unknown => return,
                Owner::Live { .. } if began.elapsed() >= DYING => return,
                Owner::Live { .. } | Owner::Unclear => {}
                Owner::Dead(estate) => match self.inherit(key, estate).await {
                    Ok(true) | Err(Missing::Lost) => return,
                    Ok(false) | Err(_) => {}
                },
            }
            sleep(AGAIN).await;
        }
    }

    /// A session goes on in this connection, as it was where the connection comes from. To be called in the order in which
    /// they were there.
    pub(crate) fn settle_in(self: &Rc<Self>, conn: &Rc<Conn>, moved: &MovedSession) {
        let known = self.session(moved.id).filter(|session| session.conn.borrow().is_none());
        let Some(session) = known else {
            return self.is_not_here(conn, moved.id);
        };
        self.attach(&session, conn);
        let mut state = session.state.borrow_mut();
        let age = Duration::try_from_secs_f64(moved.age).unwrap_or_default();
        state.created = Instant::now().checked_sub(age).unwrap_or(state.created);
        state.failed = moved.failed;
        if let Some(replay) = moved.replay {
            let missed = self.config.journal.missed(session.key, replay.seen);
            self.begin_replay(conn, &session, &mut state, replay, missed);
        }
        if !state.announced {
            self.open(&session, &mut state);
        }
        self.pump(&session, &mut state);
    }

    /// A session did not come along with its connection.
    fn is_not_here(self: &Rc<Self>, conn: &Rc<Conn>, key: Uuid) {
        match self.config.journal.locate(key) {
            Owner::Dead(_) | Owner::Unclear => {
                // It is there, and could not be taken: coming back is all that a client can do.
                let (code, reason) = COME_BACK;
                conn.close(self, code, reason);
            }
            Owner::Here | Owner::Live { .. } | Owner::Unknown => {
                conn.note_lost(key);
                self.tell_moved(conn, &key.to_string());
            }
        }
    }

    /// A client that wants such events is told that it goes on here.
    pub(crate) fn tell_switched(&self, conn: &Rc<Conn>, moved: &Moved) {
        if !conn.wants_events() {
            return;
        }
        let (service, to) = (&self.config.service, &self.config.instance);
        let from = moved.from.as_deref().unwrap_or_default();
        let text = switched(&conn.id.to_string(), service, from, to, self.config.clock.now());
        self.push(conn, |out| write_frame(out, Opcode::Text, text.as_bytes()));
    }
}

/// It was tried to move a connection, in vain. True: it is cut off.
struct Cut(bool);

fn describe(conn: &Conn, session: &Rc<Session>) -> MovedSession {
    let state = session.state.borrow();
    let replay: Option<MovedReplay> = conn.replays.borrow().iter().find_map(|replay| replay.stands(session));
    MovedSession { id: session.key, age: state.created.elapsed().as_secs_f64(), failed: state.failed, replay }
}

/// The event `service_switched`.
fn switched(connection: &str, service: &str, from: &str, to: &str, now: Timestamp) -> String {
    let content = quote(&format!("this connection goes on in instance {to}"));
    let [service, from, to] = [service, from, to].map(quote);
    format!(
        "{{\"event\":\"service_switched\",\"connection_id\":\"{connection}\",\"timestamp\":\"{now}\",\"content\":{content},\
        \"metadata\":{{\"service\":{service},\"from\":{from},\"to\":{to}}}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_event_names_both_instances() {
        let text = switched("c", "a\"b", "a-0", "a-1", Timestamp::UNIX_EPOCH);
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "event": "service_switched", "connection_id": "c", "timestamp": "1970-01-01T00:00:00Z",
                "content": "this connection goes on in instance a-1",
                "metadata": {"service": "a\"b", "from": "a-0", "to": "a-1"}
            })
        );
    }
}
