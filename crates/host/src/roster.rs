//! The sessions of a host: who has a connection, who waits without one, in memory or in the journal, and who has waited
//! too long.

use crate::connection::Conn;
use crate::host::{Host, Inner};
use crate::line;
use crate::recycle::WORKER_LOST;
use crate::session::{Session, Standing, State};
use myagent_core::wire::sessions::{SessionEnd, TurnEnd};
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Between two looks for sessions that nobody came back to.
const SWEEP: Duration = Duration::from_secs(5);
/// Looks between two times at which the journals of runners that died are cleaned up.
const CLEAN_UP: u32 = 12;

impl Host {
    /// Sessions with a connection, and without one.
    pub fn sessions(&self) -> (u32, u32) {
        let all = u32::try_from(self.inner.sessions.borrow().len()).unwrap_or(u32::MAX);
        let detached = self.inner.detached.get() + self.inner.detached_busy.get();
        (all.saturating_sub(detached), detached)
    }
}

impl Inner {
    /// Counts the session anew after its connection or its turn changed.
    pub(crate) fn recount(&self, session: &Session, state: &mut State) {
        let standing = match (&*session.conn.borrow(), state.is_busy()) {
            (Some(_), _) => Standing::Attached,
            (None, true) => Standing::DetachedBusy,
            (None, false) => Standing::Detached,
        };
        let before = std::mem::replace(&mut state.standing, standing);
        if before != standing {
            self.count(before, false);
            self.count(standing, true);
            self.config.journal.set_idle(session.key, standing == Standing::Detached);
        }
    }

    fn count(&self, standing: Standing, add: bool) {
        let counter = match standing {
            Standing::Attached => return,
            Standing::Detached => &self.detached,
            Standing::DetachedBusy => &self.detached_busy,
        };
        counter.set(if add { counter.get() + 1 } else { counter.get().saturating_sub(1) });
        self.table.set_extra_places(self.detached_busy.get());
        self.stats.set_detached(self.detached.get() + self.detached_busy.get());
    }

    pub(crate) fn show_sessions(&self) {
        let active = u32::try_from(self.sessions.borrow().len()).unwrap_or(u32::MAX);
        self.table.set_sessions(active, self.created.get());
    }

    /// A new session.
    pub(crate) fn new_session(&self, params: Option<&RawValue>) -> Rc<Session> {
        let key = (self.config.random_id)();
        self.config.journal.begin(key, params);
        self.created.set(self.created.get() + 1);
        self.enter(key, State::new(params, Instant::now()))
    }

    /// The session, from the journal if it is not in memory. None: it is not ours.
    pub(crate) fn session(&self, key: Uuid) -> Option<Rc<Session>> {
        if let Some(session) = self.sessions.borrow().get(&key) {
            return Some(Rc::clone(session));
        }
        let restored = self.config.journal.restore(key)?;
        // Whoever asks for it stays with it.
        self.config.journal.set_idle(key, false);
        let session = self.enter(key, State::restored(restored, Instant::now()));
        let mut state = session.state.borrow_mut();
        // Until the worker says so of this session's own agent.
        state.takes_events = self.said.borrow().on_event;
        // Whoever had it before is gone, and what it was answering with it.
        self.turn_lost(&session, &mut state, TurnEnd::WorkerLost, WORKER_LOST);
        drop(state);
        Some(session)
    }

    fn enter(&self, key: Uuid, state: State) -> Rc<Session> {
        let session = Rc::new(Session {
            key,
            id: key.to_string().into(),
            number: self.next_number(),
            conn: RefCell::default(),
            state: RefCell::new(state),
        });
        self.sessions.borrow_mut().insert(key, Rc::clone(&session));
        self.numbers.borrow_mut().insert(session.number, Rc::clone(&session));
        self.show_sessions();
        session
    }

    /// The session ends with this wake-up; for callers that still hold its state.
    pub(crate) fn doom(&self, session: &Rc<Session>) {
        self.doomed.borrow_mut().push(Rc::clone(session));
    }

    pub(crate) fn remove_doomed(&self) {
        while let Some(session) = self.doomed.borrow_mut().pop() {
            self.remove_session(&session, SessionEnd::Closed);
        }
    }

    /// The session is over.
    pub(crate) fn remove_session(&self, session: &Rc<Session>, how: SessionEnd) {
        self.leave_memory(session, Some(how));
        self.config.journal.end(session.key);
    }

    /// The session goes on in the journal alone, until somebody comes back to it; or it is over there, too. None: in another
    /// runner, and is counted there.
    pub(crate) fn leave_memory(&self, session: &Rc<Session>, how: Option<SessionEnd>) {
        self.sessions.borrow_mut().remove(&session.key);
        self.numbers.borrow_mut().remove(&session.number);
        if let Some(conn) = session.conn.borrow_mut().take() {
            conn.forget_session(session);
        }
        let mut state = session.state.borrow_mut();
        let before = std::mem::replace(&mut state.standing, Standing::Attached);
        self.count(before, false);
        if let Some(how) = how {
            self.stats.ended(how, state.failed, state.last_used.saturating_duration_since(state.created));
        }
        if let Some(worker) = &*self.worker.borrow()
            && worker.generation == state.opened_in
        {
            worker.push(|out| line::close(out, session.number));
        }
        self.show_sessions();
    }

    /// The connection has ended; its sessions go on without it.
    pub(crate) fn forget(&self, conn: &Rc<Conn>) {
        self.conns.borrow_mut().remove(&conn.id);
        // Who would have taken it learns that it does not come.
        drop(conn.take_order());
        self.stir();
        let sessions = std::mem::take(&mut *conn.sessions.borrow_mut());
        for session in sessions {
            session.conn.borrow_mut().take();
            let announced = {
                let mut state = session.state.borrow_mut();
                self.stop_replay(&session, &mut state);
                state.last_used = Instant::now();
                // What waited for the end of its replay goes on without it.
                self.pump(&session, &mut state);
                state.announced
            };
            if !announced {
                self.remove_session(&session, SessionEnd::Closed);
            }
        }
    }

    /// Puts sessions beyond `max_detached_sessions` out of memory, least recently used first; running turns are spared.
    pub(crate) fn limit_detached(&self) {
        let limit = self.config.config.max_detached_sessions;
        let beyond = self.detached.get().saturating_sub(limit);
        if beyond == 0 {
            return;
        }
        let mut idle: Vec<_> = self
            .sessions
            .borrow()
            .values()
            .filter(|session| session.state.borrow().standing == Standing::Detached)
            .map(|session| (session.state.borrow().last_used, Rc::clone(session)))
            .collect();
        // Some more at once, so that the next ones to leave cost nothing.
        let count = (beyond + limit / 16) as usize;
        idle.sort_unstable_by_key(|(last_used, _)| *last_used);
        for (_, session) in idle.into_iter().take(count) {
            if self.config.config.journal_max_mb == 0 {
                // There is nowhere else where it could be.
                self.remove_session(&session, SessionEnd::Evicted);
            } else {
                self.leave_memory(&session, Some(SessionEnd::Evicted));
            }
        }
    }
}

impl Inner {
    /// Ends sessions that nobody came back to in time. False: there are none.
    fn expire(&self) -> bool {
        let expired = self.config.journal.tick().expired;
        for key in &expired {
            let session = self.sessions.borrow().get(key).cloned();
            // Others had left memory before, and were counted then.
            if let Some(session) = session {
                self.leave_memory(&session, Some(SessionEnd::Expired));
            }
        }
        !expired.is_empty()
    }
}

/// Ends sessions that nobody came back to in time, and looks after the journal.
pub(crate) async fn sweep(inner: Weak<Inner>) {
    let mut problem = None;
    for round in 0u32.. {
        sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        // A tick ends so many at once; whoever has something to say comes in between.
        while inner.expire() {
            tokio::task::yield_now().await;
        }
        inner.flush();
        let found = inner.config.journal.problem();
        if found != problem {
            inner.notice(
                "journal",
                found.clone().unwrap_or_else(|| "the journal is written again".to_owned()),
            );
            problem = found;
        }
        if round % CLEAN_UP == 0 {
            let clean_up = inner.config.clean_up();
            drop(inner);
            // It deletes what the dead left behind, in its own time; it has nothing to tell.
            let _ = tokio::task::spawn_blocking(clean_up).await;
        }
    }
}
