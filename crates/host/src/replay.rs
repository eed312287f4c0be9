//! Bringing a client that came back up to date: from the journal, in portions that its socket takes.
//!
//! While a session is being replayed its new events go to the journal alone, and are replayed when it is their turn: a
//! client gets every event once and in order, and one that reads slowly costs no memory. The agent's credit waits
//! with them, so an agent cannot run away from its client either.

use crate::connection::Conn;
use crate::event::{self, Event};
use crate::host::Inner;
use crate::session::{Session, State};
use crate::text::quote;
use myagent_core::wire::handover::MovedReplay;
use myagent_journal::{Missed, Position};
use std::collections::VecDeque;
use std::rc::Rc;

/// No more is read from the journal while this much is unsent.
const WINDOW: usize = 256 * 1024;

/// A replay under way.
pub(crate) struct Replay {
    session: Rc<Session>,
    /// The newest event that the client has.
    seen: u64,
    /// Those that come next.
    events: VecDeque<Position>,
    replayed: u64,
}

impl Replay {
    /// Where it stands, if it is of this session.
    pub(crate) fn stands(&self, of: &Rc<Session>) -> Option<MovedReplay> {
        let Self { seen, replayed, .. } = *self;
        Rc::ptr_eq(&self.session, of).then_some(MovedReplay { seen, replayed })
    }
}

impl Inner {
    /// The client gets these events, and those that come meanwhile. `from`: what it has seen, and how many of them in this replay.
    pub(crate) fn begin_replay(
        &self,
        conn: &Rc<Conn>,
        session: &Rc<Session>,
        state: &mut State,
        from: MovedReplay,
        missed: Missed,
    ) {
        self.stop_replay(session, state);
        state.replaying = true;
        let mut replay = Replay {
            session: Rc::clone(session),
            seen: from.seen.min(state.last_seq),
            events: VecDeque::new(),
            replayed: from.replayed,
        };
        self.take_missed(conn, &mut replay, missed);
        conn.replays.borrow_mut().push(replay);
    }

    /// The session's client has gone, or begins anew.
    pub(crate) fn stop_replay(&self, session: &Rc<Session>, state: &mut State) {
        if !std::mem::take(&mut state.replaying) {
            return;
        }
        if let Some(conn) = &*session.conn.borrow() {
            conn.replays.borrow_mut().retain(|replay| !Rc::ptr_eq(&replay.session, session));
        }
        let bytes = std::mem::take(&mut state.unsent);
        self.give_back(session, state, bytes);
    }

    fn take_missed(&self, conn: &Rc<Conn>, replay: &mut Replay, missed: Missed) {
        if let Some((from, to)) = missed.gap {
            self.tell_gap(conn, &replay.session, from, to);
            replay.seen = replay.seen.max(to);
        }
        replay.events = missed.events.into();
    }

    fn tell_gap(&self, conn: &Rc<Conn>, session: &Session, from: u64, to: u64) {
        let metadata = format!("{{\"code\":\"replay_gap\",\"from_seq\":{from},\"to_seq\":{to}}}");
        let content = quote("these events are no longer kept");
        self.tell(conn, Some(&session.id), &Event::new(event::NOTICE, &content).with(&metadata));
    }

    /// Puts what there is room for into the client's buffer. True: there is more, once it has taken that.
    pub(crate) fn go_on_replaying(&self, conn: &Rc<Conn>) -> bool {
        loop {
            let Some(mut replay) = conn.replays.borrow_mut().pop() else { return false };
            let more = self.replay(conn, &mut replay);
            if more {
                conn.replays.borrow_mut().push(replay);
                return true;
            }
        }
    }

    fn replay(&self, conn: &Rc<Conn>, replay: &mut Replay) -> bool {
        let session = Rc::clone(&replay.session);
        let mut is_fresh = false;
        loop {
            while let Some(position) = replay.events.front() {
                if conn.unsent() >= WINDOW {
                    return true;
                }
                if self.tell_again(conn, *position, &session) {
                    replay.replayed += 1;
                } else if is_fresh {
                    // It was there a moment ago, and cannot be read all the same.
                    self.tell_gap(conn, &session, replay.seen + 1, replay.seen + 1);
                } else {
                    // It has been moved, or given up: ask again for what is left.
                    break;
                }
                replay.events.pop_front();
                replay.seen += 1;
                is_fresh = false;
            }
            let missed = self.config.journal.missed(session.key, replay.seen);
            if missed.events.is_empty() && missed.gap.is_none() {
                break;
            }
            self.take_missed(conn, replay, missed);
            is_fresh = true;
        }
        let mut state = session.state.borrow_mut();
        state.replaying = false;
        if state.unsent > 0 {
            conn.note_unsettled(&session);
        }
        let metadata = format!("{{\"code\":\"replay\",\"replayed\":{}}}", replay.replayed);
        self.tell(conn, Some(&session.id), &Event::new(event::NOTICE, &quote("replay")).with(&metadata));
        self.pump(&session, &mut state);
        false
    }
}
