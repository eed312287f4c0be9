//! What is done about each frame of a client.

use crate::client_event::{BadFrame, ClientEvent};
use crate::connection::Conn;
use crate::event::{self, Event};
use crate::host::Inner;
use crate::line;
use crate::session::{MAX_QUEUE, Session, State};
use crate::text::quote;
use serde_json::value::RawValue;
use std::rc::Rc;
use tokio::time::Instant;

/// Sessions that one connection may have.
const MAX_SESSIONS: usize = 100;

impl Inner {
    /// A text message of a client.
    pub(crate) fn client_text(self: &Rc<Self>, conn: &Rc<Conn>, text: &[u8]) {
        if conn.probe {
            return self.complain(conn, "PROBE", "a probe has no conversation", None);
        }
        let event = match ClientEvent::parse(text) {
            Ok(event) => event,
            Err(error) => return self.bad_frame(conn, &error),
        };
        match event {
            ClientEvent::Ping => self.tell_raw(conn, b"{\"type\":\"pong\"}"),
            ClientEvent::Create { params } => self.create_session(conn, params),
            ClientEvent::Message { session, content } => {
                if let Some(session) = self.session_of(conn, session.as_deref(), event::AGENT_ERROR) {
                    self.message(&session, content);
                }
            }
            ClientEvent::Cancel { session } => {
                if let Some(session) = self.session_of(conn, session.as_deref(), event::AGENT_ERROR) {
                    self.cancel(&session);
                }
            }
            ClientEvent::Response { session, step, content } => {
                if let Some(session) = self.session_of(conn, session.as_deref(), event::AGENT_ERROR) {
                    self.response(&session, step.as_deref(), content);
                }
            }
            ClientEvent::Ack { session, last_seq } => self.ack(conn, session.as_deref(), last_seq),
            ClientEvent::RequestState { session } => {
                if let Some(session) = self.session_of(conn, session.as_deref(), event::AGENT_ERROR) {
                    self.export_state(&session);
                }
            }
            ClientEvent::Reconnect { session, last_seq } => self.reconnect(conn, &session, last_seq),
            ClientEvent::Other { session, name, whole } => self.other(conn, session.as_deref(), &name, whole),
        }
    }

    /// A binary message of a client.
    pub(crate) fn client_binary(&self, conn: &Rc<Conn>) {
        self.complain(
            conn,
            "MALFORMED",
            "events are text frames with one JSON object each, not binary frames",
            None,
        );
    }

    fn bad_frame(&self, conn: &Rc<Conn>, error: &BadFrame) {
        self.complain(conn, error.code(), &error.to_string(), None);
    }

    /// `system.error`; the socket stays open.
    fn complain(&self, conn: &Rc<Conn>, code: &str, text: &str, session: Option<&str>) {
        let metadata = event::code(code, true, session);
        self.tell(conn, None, &Event::new(event::SYSTEM_ERROR, &quote(text)).with(&metadata));
    }

    /// The session that a frame names, or the connection's only one. It comes to this connection if it was elsewhere.
    /// Without it the client is told with this kind of event.
    fn session_of(self: &Rc<Self>, conn: &Rc<Conn>, id: Option<&str>, tell: &str) -> Option<Rc<Session>> {
        let found = match id {
            Some(id) => self.sessions.borrow().get(id).cloned(),
            None => conn.only_session(),
        };
        if let Some(session) = found {
            self.attach(&session, conn);
            return Some(session);
        }
        let text = match id {
            Some(id) => format!("session not found: {id}"),
            None => "no session_id: name one, or create one with user.create_session".to_owned(),
        };
        let metadata = event::code("SESSION_NOT_FOUND", true, id);
        self.tell(conn, None, &Event::new(tell, &quote(&text)).with(&metadata));
        None
    }

    /// From now on this connection gets the session's events; the one that had them is told.
    fn attach(self: &Rc<Self>, session: &Rc<Session>, conn: &Rc<Conn>) {
        let before = session.conn.borrow().clone();
        if before.as_ref().is_some_and(|before| Rc::ptr_eq(before, conn)) {
            return;
        }
        if let Some(before) = before {
            before.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
            let metadata = event::code("session_moved", false, Some(&session.id));
            let content = quote("this session goes on in another connection");
            self.tell(&before, Some(&session.id), &Event::new(event::NOTICE, &content).with(&metadata));
        }
        *session.conn.borrow_mut() = Some(Rc::clone(conn));
        conn.sessions.borrow_mut().push(Rc::clone(session));
        conn.show_session(&session.id);
        self.recount(session, &mut session.state.borrow_mut());
    }

    fn create_session(self: &Rc<Self>, conn: &Rc<Conn>, params: Option<&RawValue>) {
        if conn.sessions.borrow().len() >= MAX_SESSIONS {
            let text = format!("a connection may have {MAX_SESSIONS} sessions; open another one");
            return self.complain(conn, "TOO_MANY_SESSIONS", &text, None);
        }
        let params = params.filter(|raw| raw.get() != "null").map(ToOwned::to_owned);
        let session = self.new_session(State::new(params, Instant::now()));
        self.attach(&session, conn);
        self.open(&session, &mut session.state.borrow_mut());
    }

    fn message(self: &Rc<Self>, session: &Rc<Session>, content: Option<&RawValue>) {
        let mut state = session.state.borrow_mut();
        state.last_used = Instant::now();
        let Some(content) = content else {
            return self.agent_error(session, &mut state, "EMPTY_MESSAGE", "the message is empty", 0);
        };
        if !state.accept(content) {
            let text = format!("busy: one message is being answered and {MAX_QUEUE} are waiting");
            return self.agent_error(session, &mut state, "BUSY", &text, 0);
        }
        self.pump(session, &mut state);
    }

    fn cancel(self: &Rc<Self>, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let turn = state.abandon();
        if let (Some(turn), Some(worker)) = (turn, self.worker()) {
            worker.push(|out| line::cancel(out, session.number, turn));
        }
        // Without a worker the message is still waiting for it. With nothing to cancel the answer is the same: a client
        // whose cancel crossed the end of its turn must not wait for ever.
        let (text, reason) = if turn.is_some() || state.withdraw() {
            ("interrupted by the client", "{\"reason\":\"user_cancel\"}")
        } else {
            ("no message was being answered", "{\"reason\":\"nothing_running\"}")
        };
        self.emit(session, &mut state, &Event::new(event::INTERRUPTED, &quote(text)).with(reason), 0);
        self.pump(session, &mut state);
    }

    fn response(&self, session: &Rc<Session>, step: Option<&str>, content: Option<&RawValue>) {
        let mut state = session.state.borrow_mut();
        if let (Some(step), Some(worker)) = (state.answered_step(step), self.worker()) {
            worker.push(|out| line::answer(out, session.number, &step, content));
        } else {
            let text = match step {
                Some(step) => format!("no question of step {step} is open"),
                None => "no question is open, or several are: name one by its step_id".to_owned(),
            };
            self.agent_error(session, &mut state, "UNKNOWN_STEP", &text, 0);
        }
    }

    /// Nothing is freed by it: the log is bounded anyway, and a client may come back further behind than it was.
    fn ack(self: &Rc<Self>, conn: &Rc<Conn>, id: Option<&str>, last_seq: u64) {
        // Without a session the client has nothing to acknowledge yet, which is no error: `system.connected` came.
        if id.is_none() && conn.only_session().is_none() {
            return;
        }
        if let Some(session) = self.session_of(conn, id, event::SYSTEM_ERROR) {
            tracing::trace!(session = session.id, last_seq, "acknowledged");
        }
    }

    fn export_state(&self, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let metadata = format!(
            "{{\"signed_state\":{{\"state\":{{\"session_id\":\"{}\",\"last_seq\":{}}}}}}}",
            session.id,
            state.log.last_seq() + 1
        );
        let content = quote("keep signed_state to come back with user.reconnect_with_state");
        self.emit(session, &mut state, &Event::new(event::STATE_EXPORTED, &content).with(&metadata), 0);
    }

    /// The session goes on in this connection: what was missed comes first.
    fn reconnect(self: &Rc<Self>, conn: &Rc<Conn>, id: &str, last_seq: u64) {
        let Some(session) = self.session_of(conn, Some(id), event::RECOVERY_FAILED) else { return };
        let mut state = session.state.borrow_mut();
        state.last_used = Instant::now();
        let missed = state.log.after(last_seq);
        let metadata = format!(
            "{{\"original_session_id\":\"{id}\",\"replaying\":{},\"last_seq\":{}}}",
            !missed.events.is_empty(),
            state.log.last_seq()
        );
        let content = quote("session restored");
        self.tell(conn, Some(id), &Event::new(event::STATE_RESTORED, &content).with(&metadata));
        if let Some((from, to)) = missed.gap {
            let metadata = format!("{{\"code\":\"replay_gap\",\"from_seq\":{from},\"to_seq\":{to}}}");
            let content = quote("these events are no longer kept");
            self.tell(conn, Some(id), &Event::new(event::NOTICE, &content).with(&metadata));
        }
        self.replay(conn, &missed.events);
        let metadata = format!("{{\"code\":\"replay\",\"replayed\":{}}}", missed.events.len());
        self.tell(conn, Some(id), &Event::new(event::NOTICE, &quote("replay")).with(&metadata));
    }

    /// An event that only the agent can know.
    fn other(self: &Rc<Self>, conn: &Rc<Conn>, id: Option<&str>, name: &str, whole: &str) {
        if id.is_none() && conn.only_session().is_none() {
            return self.bad_frame(conn, &BadFrame::Unknown(name.to_owned()));
        }
        let Some(session) = self.session_of(conn, id, event::SYSTEM_ERROR) else { return };
        let mut state = session.state.borrow_mut();
        if !state.takes_events {
            return self.bad_frame(conn, &BadFrame::Unknown(name.to_owned()));
        }
        match self.worker() {
            Some(worker) => {
                self.ensure_open(&worker, &session, &mut state);
                worker.push(|out| line::event(out, session.number, whole));
            }
            None => self.agent_error(
                &session,
                &mut state,
                "NOT_READY",
                "the agent is being restarted; try again",
                0,
            ),
        }
    }
}
