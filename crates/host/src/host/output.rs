//! What goes out: events to the journal and to clients, credit and lines to the worker; written once per wake-up.

use super::Inner;
use crate::connection::Conn;
use crate::event::{self, Event};
use crate::line;
use crate::session::{Session, State};
use myagent_journal::Position;
use myagent_relay::codec::{Opcode, write_frame};
use std::rc::Rc;

/// Credit is given back to the worker in portions of at least this many bytes.
const CREDIT_PORTION: usize = 64 * 1024;

impl Inner {
    /// Writes what this wake-up has put into the buffers: to the journal, to clients, and soon to the worker.
    pub(crate) fn flush(&self) {
        self.remove_doomed();
        self.limit_detached();
        let worker_is_next = || self.worker.borrow().as_ref().is_some_and(|worker| worker.flush_soon());
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        // First of all: what a client has seen must be there when it comes back.
        if !dirty.is_empty() || !worker_is_next() {
            self.config.journal.flush();
        }
        for conn in dirty.drain(..) {
            conn.flush(self);
        }
        let mut current = self.dirty.borrow_mut();
        if current.is_empty() {
            *current = dirty; // For its capacity.
        }
        // Also credit that went back just now.
        worker_is_next();
    }

    /// Appends bytes to a client's buffer.
    pub(crate) fn push(&self, conn: &Rc<Conn>, write: impl FnOnce(&mut Vec<u8>)) {
        if conn.push(self, write) {
            self.dirty.borrow_mut().push(Rc::clone(conn));
        }
    }

    fn push_text(&self, conn: &Rc<Conn>, text: &[u8]) {
        if conn.push_text(self, text) {
            self.dirty.borrow_mut().push(Rc::clone(conn));
        }
    }

    /// An event of a session: numbered, in the journal, and then on its way to whoever listens. `cost` is what it took of
    /// the worker's credit.
    pub(crate) fn emit(&self, session: &Rc<Session>, state: &mut State, event: &Event<'_>, cost: usize) {
        let seq = event.is_numbered().then(|| state.last_seq + 1);
        let marked;
        let mut event = *event;
        if let Some(turn) = state.turn.as_mut().filter(|turn| turn.unmarked && seq.is_some()) {
            turn.unmarked = false;
            marked = event::marked(event.metadata, "turn_restarted");
            event.metadata = &marked;
        }
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let now = self.config.clock.now();
        event.write(&mut scratch, Some(&session.id), self.stamp.borrow_mut().write(now), seq);
        if let Some(seq) = seq {
            state.last_seq = seq;
            let said = state.turn.as_ref().is_some_and(|turn| turn.answered);
            self.config.journal.event(session.key, seq, &scratch, said);
        }
        let conn = session.conn.borrow();
        match &*conn {
            None => self.give_back(session, state, cost),
            // It comes from the journal when its turn comes; the worker gets its credit back then.
            Some(_) if state.replaying && seq.is_some() => state.unsent += cost,
            Some(conn) => {
                event::finish(&mut scratch, conn.id);
                self.push_text(conn, &scratch);
                if cost > 0 {
                    if state.unsent == 0 {
                        conn.note_unsettled(session);
                    }
                    state.unsent += cost;
                }
            }
        }
    }

    /// An event without a session, or about one without being part of it.
    pub(crate) fn tell(&self, conn: &Rc<Conn>, session: Option<&str>, event: &Event<'_>) {
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        event.write(&mut scratch, session, self.stamp.borrow_mut().write(self.config.clock.now()), None);
        event::finish(&mut scratch, conn.id);
        self.push_text(conn, &scratch);
    }

    /// An event as the journal has it.
    pub(crate) fn tell_again(&self, conn: &Rc<Conn>, position: Position, session: &Session) -> bool {
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        let found = self.config.journal.read(session.key, position, &mut scratch);
        if found {
            event::finish(&mut scratch, conn.id);
            self.push_text(conn, &scratch);
        }
        found
    }

    /// What there is to say of our own to this client; no part of any session, and not counted.
    pub(crate) fn push_notices(&self, conn: &Rc<Conn>) {
        while let Some(text) = conn.take_notice() {
            self.push(conn, |out| write_frame(out, Opcode::Text, text.as_bytes()));
        }
    }

    /// A message that is no event.
    pub(crate) fn tell_raw(&self, conn: &Rc<Conn>, text: &[u8]) {
        self.push_text(conn, text);
    }

    pub(crate) fn heartbeat(&self, conn: &Rc<Conn>) {
        self.tell(conn, None, &Event::new(event::HEARTBEAT, "\"\""));
    }

    /// What was in the buffer of the session's client is written.
    pub(crate) fn settle(&self, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let bytes = std::mem::take(&mut state.unsent);
        self.give_back(session, &mut state, bytes);
    }

    /// The worker may send so much more for this session.
    pub(crate) fn give_back(&self, session: &Session, state: &mut State, bytes: usize) {
        state.owed += bytes;
        if state.owed >= CREDIT_PORTION {
            let bytes = std::mem::take(&mut state.owed);
            if let Some(worker) = &*self.worker.borrow()
                && worker.generation == state.opened_in
            {
                worker.push(|out| line::credit(out, session.number, bytes));
            }
        }
    }
}
