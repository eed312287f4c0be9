//! What is done about each frame of a client.

use crate::client_event::{BadFrame, ClientEvent};
use crate::connection::Conn;
use crate::event::{self, Event};
use crate::host::Inner;
use crate::line;
use crate::search::Missing;
use crate::session::{MAX_QUEUE, Session, parse_id};
use crate::text::{excerpt, quote};
use myagent_core::wire::handover::MovedReplay;
use myagent_core::wire::sessions::TurnEnd;
use serde_json::value::RawValue;
use std::rc::Rc;
use tokio::time::Instant;
use uuid::Uuid;

/// Sessions that one connection may have.
const MAX_SESSIONS: usize = 100;
/// When a client may ask again for a session that cannot be reached just now, milliseconds.
const RETRY_AFTER_MS: u32 = 1000;

/// Why a frame was not handled.
pub(crate) enum Stop {
    /// The client was told what is wrong.
    Told,
    /// It names a session that is not here: look for it, and then come again.
    Search(Uuid),
}

impl Inner {
    /// A text message of a client. `missing`: its session was searched, in vain.
    pub(crate) fn client_text(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        text: &[u8],
        missing: Option<&Missing>,
    ) -> Result<(), Stop> {
        if conn.probe {
            return Err(self.complain(conn, "PROBE", "a probe has no conversation", None));
        }
        let event = ClientEvent::parse(text).map_err(|error| self.bad_frame(conn, &error))?;
        let reach = |id: Option<&str>, tell: &str| {
            if let Some(key) = id.and_then(parse_id).filter(|key| conn.has_lost(*key)) {
                return Err(self.has_moved(conn, key, tell));
            }
            let session = self.reach(conn, id, tell, missing)?;
            // One that was taken over may have messages that wait for nothing but their client.
            self.pump(&session, &mut session.state.borrow_mut());
            Ok::<_, Stop>(session)
        };
        match event {
            ClientEvent::Ping => self.tell_raw(conn, b"{\"type\":\"pong\"}"),
            ClientEvent::Create { params } => self.create_session(conn, params)?,
            ClientEvent::Message { session, content, metadata } => {
                self.message(&reach(session.as_deref(), event::AGENT_ERROR)?, content, metadata);
            }
            ClientEvent::Cancel { session } => self.cancel(&reach(session.as_deref(), event::AGENT_ERROR)?),
            ClientEvent::Response { session, step, content } => {
                self.response(&reach(session.as_deref(), event::AGENT_ERROR)?, step.as_deref(), content);
            }
            ClientEvent::Ack { session, last_seq } => self.ack(conn, session.as_deref(), last_seq)?,
            ClientEvent::RequestState { session } => {
                self.export_state(&reach(session.as_deref(), event::AGENT_ERROR)?);
            }
            ClientEvent::Reconnect { session, last_seq } => {
                let session = self.reach(conn, Some(&session), event::RECOVERY_FAILED, missing)?;
                self.reconnect(conn, &session, last_seq);
            }
            ClientEvent::Other { session, name, whole } => {
                if session.is_none() && conn.only_session().is_none() {
                    return Err(self.bad_frame(conn, &BadFrame::Unknown(name.to_string())));
                }
                self.other(conn, &reach(session.as_deref(), event::SYSTEM_ERROR)?, &name, whole)?;
            }
        }
        Ok(())
    }

    /// A binary message of a client.
    pub(crate) fn client_binary(&self, conn: &Rc<Conn>) {
        let text = "events are text frames with one JSON object each, not binary frames";
        self.complain(conn, "MALFORMED", text, None);
    }

    fn bad_frame(&self, conn: &Rc<Conn>, error: &BadFrame) -> Stop {
        self.complain(conn, error.code(), &error.to_string(), None)
    }

    /// `system.error`; the socket stays open.
    fn complain(&self, conn: &Rc<Conn>, code: &str, text: &str, session: Option<&str>) -> Stop {
        let metadata = event::code(code, true, session);
        self.tell(conn, None, &Event::new(event::SYSTEM_ERROR, &quote(text)).with(&metadata));
        Stop::Told
    }

    /// The session that a frame names, or the connection's only one. It comes to this connection if it was elsewhere.
    /// Without it the client is told with this kind of event.
    fn reach(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        id: Option<&str>,
        tell: &str,
        missing: Option<&Missing>,
    ) -> Result<Rc<Session>, Stop> {
        let key = id.and_then(parse_id);
        let found = match (id, key) {
            (None, _) => conn.only_session(),
            (Some(_), Some(key)) => self.session(key),
            (Some(_), None) => None,
        };
        if conn.is_full() && key.is_some() && !found.as_ref().is_some_and(|session| conn.has(session)) {
            return Err(self.too_many(conn, tell));
        }
        if let Some(session) = found {
            self.attach(&session, conn);
            return Ok(session);
        }
        if let (Some(key), None) = (key, missing) {
            return Err(Stop::Search(key));
        }
        let (text, metadata) = match (id, missing) {
            (Some(_), Some(Missing::NotNow(why))) => {
                (why.clone(), event::not_now("SESSION_UNAVAILABLE", id, RETRY_AFTER_MS))
            }
            (Some(_), Some(Missing::Elsewhere(instance))) => (
                format!("the session is in instance {instance}: use another connection for it"),
                event::code("SESSION_ELSEWHERE", true, id),
            ),
            (Some(id), Some(Missing::Lost)) => (
                format!("session {id} is lost: its journal is damaged, or had no room for it"),
                event::code("SESSION_LOST", false, Some(id)),
            ),
            (Some(id), _) => (
                format!("session not found: {} has ended, or never was", excerpt(id)),
                event::code("SESSION_NOT_FOUND", false, Some(&excerpt(id))),
            ),
            (None, _) => (
                "no session_id: name one, or create one with user.create_session".to_owned(),
                event::code("SESSION_NOT_FOUND", true, None),
            ),
        };
        self.tell(conn, None, &Event::new(tell, &quote(&text)).with(&metadata));
        Err(Stop::Told)
    }

    /// From now on this connection gets the session's events; the one that had them is told.
    pub(crate) fn attach(self: &Rc<Self>, session: &Rc<Session>, conn: &Rc<Conn>) {
        let before = session.conn.borrow().clone();
        if before.as_ref().is_some_and(|before| Rc::ptr_eq(before, conn)) {
            return;
        }
        if let Some(before) = before {
            self.stop_replay(session, &mut session.state.borrow_mut());
            before.lose(session);
            // Whether that one ever takes what it was sent does not hold up the agent any more.
            self.settle(session);
            self.tell_moved(&before, &session.id);
        }
        *session.conn.borrow_mut() = Some(Rc::clone(conn));
        conn.gain(session);
        conn.show_session(&session.id);
        self.recount(session, &mut session.state.borrow_mut());
    }

    /// The session goes on in another connection, and this one is told.
    pub(crate) fn tell_moved(&self, conn: &Rc<Conn>, session: &str) {
        let metadata = event::code("session_moved", false, Some(session));
        let content = quote("this session goes on in another connection");
        self.tell(conn, Some(session), &Event::new(event::NOTICE, &content).with(&metadata));
    }

    /// What was under way when another connection took the session must not take it back: only a reconnect does.
    fn has_moved(&self, conn: &Rc<Conn>, key: Uuid, tell: &str) -> Stop {
        let content =
            quote("this session goes on in another connection; user.reconnect brings it back to this one");
        let metadata = event::code("SESSION_MOVED", true, Some(&key.to_string()));
        self.tell(conn, None, &Event::new(tell, &content).with(&metadata));
        Stop::Told
    }

    /// Nothing is freed by it: the journal is bounded anyway, and a client may come back further behind than it was. It
    /// moves no session either: it may be a late one.
    fn ack(&self, conn: &Rc<Conn>, id: Option<&str>, last_seq: u64) -> Result<(), Stop> {
        let key = id.and_then(parse_id);
        let session = match id {
            Some(_) => key.and_then(|key| self.sessions.borrow().get(&key).cloned()),
            None => conn.only_session(),
        };
        if let Some(session) = session {
            session.state.borrow_mut().last_used = Instant::now();
            tracing::trace!(session = %session.id, last_seq, "acknowledged");
        } else if let Some(id) = id
            && !key.is_some_and(|key| self.config.journal.contains(key))
        {
            let id = excerpt(id);
            let text = format!("session not found: {id} is not in this connection");
            return Err(self.complain(conn, "SESSION_NOT_FOUND", &text, Some(&id)));
        }
        Ok(())
    }

    fn too_many(&self, conn: &Rc<Conn>, tell: &str) -> Stop {
        let content = quote(&format!("a connection may have {MAX_SESSIONS} sessions; open another one"));
        let metadata = event::code("TOO_MANY_SESSIONS", true, None);
        self.tell(conn, None, &Event::new(tell, &content).with(&metadata));
        Stop::Told
    }

    fn create_session(self: &Rc<Self>, conn: &Rc<Conn>, params: Option<&RawValue>) -> Result<(), Stop> {
        if conn.is_full() {
            return Err(self.too_many(conn, event::SYSTEM_ERROR));
        }
        let params = params.filter(|raw| raw.get() != "null");
        let session = self.new_session(params);
        self.attach(&session, conn);
        self.open(&session, &mut session.state.borrow_mut());
        Ok(())
    }

    fn message(
        self: &Rc<Self>,
        session: &Rc<Session>,
        content: Option<&RawValue>,
        metadata: Option<&RawValue>,
    ) {
        let mut state = session.state.borrow_mut();
        state.last_used = Instant::now();
        let Some(content) = content else {
            return self.agent_error(session, &mut state, "EMPTY_MESSAGE", "the message is empty", 0);
        };
        if !state.accept(content, metadata) {
            let text = format!("busy: one message is being answered and {MAX_QUEUE} are waiting");
            return self.agent_error(session, &mut state, "BUSY", &text, 0);
        }
        self.config.journal.message(session.key, content, metadata);
        self.stats.turn_accepted();
        self.pump(session, &mut state);
    }

    fn cancel(self: &Rc<Self>, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let turn = state.turn.as_ref().map(|turn| turn.number);
        if let (Some(turn), Some(worker)) = (turn, self.worker()) {
            worker.push(|out| line::cancel(out, session.number, turn));
            state.goes_on();
        }
        // Without a worker the message is still waiting for it.
        let withdrawn = if turn.is_none() { state.withdraw() } else { None };
        if withdrawn.is_some() {
            self.config.journal.withdrawn(session.key);
            self.count_turn(&mut state, withdrawn, TurnEnd::Cancelled);
        }
        // With nothing to cancel the answer is the same: a client whose cancel crossed the end of its turn must not wait
        // for ever.
        let (text, reason) = if turn.is_some() || withdrawn.is_some() {
            ("interrupted by the client", "{\"reason\":\"user_cancel\"}")
        } else {
            ("no message was being answered", "{\"reason\":\"nothing_running\"}")
        };
        self.emit(session, &mut state, &Event::new(event::INTERRUPTED, &quote(text)).with(reason), 0);
        self.end_turn(session, &mut state, None, TurnEnd::Cancelled);
        self.pump(session, &mut state);
    }

    fn response(&self, session: &Rc<Session>, step: Option<&str>, content: Option<&RawValue>) {
        let mut state = session.state.borrow_mut();
        if let (Some(step), Some(worker)) = (state.answered_step(step), self.worker()) {
            worker.push(|out| line::answer(out, session.number, &step, content));
        } else {
            let text = match step {
                Some(step) => format!("no question of step {} is open", excerpt(step)),
                None => "no question is open, or several are: name one by its step_id".to_owned(),
            };
            self.agent_error(session, &mut state, "UNKNOWN_STEP", &text, 0);
        }
    }

    fn export_state(&self, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let metadata = format!(
            "{{\"signed_state\":{{\"state\":{{\"session_id\":\"{}\",\"last_seq\":{}}}}}}}",
            session.id,
            state.last_seq + 1
        );
        let content = quote("keep signed_state to come back with user.reconnect_with_state");
        self.emit(session, &mut state, &Event::new(event::STATE_EXPORTED, &content).with(&metadata), 0);
    }

    /// The session goes on in this connection: what was missed comes first.
    fn reconnect(&self, conn: &Rc<Conn>, session: &Rc<Session>, last_seq: u64) {
        self.stats.resumed();
        let mut state = session.state.borrow_mut();
        state.last_used = Instant::now();
        let id = &session.id;
        let missed = self.config.journal.missed(session.key, last_seq);
        let metadata = format!(
            "{{\"original_session_id\":\"{id}\",\"replaying\":{},\"last_seq\":{},\"running\":{},\"waiting\":{},\"open_steps\":{}}}",
            !missed.events.is_empty(),
            state.last_seq,
            state.turn.is_some(),
            state.waiting(),
            state.open_steps(),
        );
        let content = quote("session restored");
        self.tell(conn, Some(id), &Event::new(event::STATE_RESTORED, &content).with(&metadata));
        if last_seq > state.last_seq {
            // The machine lost its power, or somebody guesses: these numbers will be given again.
            let (from, to) = (state.last_seq + 1, last_seq);
            let metadata = format!("{{\"code\":\"events_lost\",\"from_seq\":{from},\"to_seq\":{to}}}");
            let content = quote("the events of these numbers are lost here; the numbers will be used again");
            self.tell(conn, Some(id), &Event::new(event::NOTICE, &content).with(&metadata));
        }
        let from = MovedReplay { seen: last_seq, replayed: 0 };
        self.begin_replay(conn, session, &mut state, from, missed);
    }

    /// An event that only the agent can know.
    fn other(&self, conn: &Rc<Conn>, session: &Rc<Session>, name: &str, whole: &str) -> Result<(), Stop> {
        let mut state = session.state.borrow_mut();
        if !state.takes_events {
            return Err(self.bad_frame(conn, &BadFrame::Unknown(name.to_owned())));
        }
        match self.worker() {
            Some(worker) => {
                self.ensure_open(&worker, session, &mut state);
                worker.push(|out| line::event(out, session.number, whole));
                if worker.ready.ended {
                    state.goes_on();
                }
            }
            None => self.agent_error(
                session,
                &mut state,
                "NOT_READY",
                "the agent is being restarted; try again",
                0,
            ),
        }
        Ok(())
    }
}

impl Conn {
    fn is_full(&self) -> bool {
        self.sessions.borrow().len() >= MAX_SESSIONS
    }

    fn has(&self, session: &Rc<Session>) -> bool {
        self.sessions.borrow().iter().any(|one| Rc::ptr_eq(one, session))
    }
}
