//! The sessions of a host: who has a connection, who waits without one, and who has waited too long.

use crate::connection::Conn;
use crate::host::Inner;
use crate::line;
use crate::session::{Session, Standing, State};
use myagent_core::config::ServiceConfig;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks for sessions that nobody came back to.
const SWEEP: Duration = Duration::from_secs(5);

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
    }

    pub(crate) fn show_sessions(&self) {
        let active = u32::try_from(self.sessions.borrow().len()).unwrap_or(u32::MAX);
        self.table.set_sessions(active, self.created.get());
    }

    /// A new session on this connection.
    pub(crate) fn new_session(&self, state: State) -> Rc<Session> {
        let session = Rc::new(Session {
            id: (self.config.random_id)().to_string(),
            number: self.next_number(),
            conn: RefCell::default(),
            state: RefCell::new(state),
        });
        self.sessions.borrow_mut().insert(session.id.clone(), Rc::clone(&session));
        self.numbers.borrow_mut().insert(session.number, Rc::clone(&session));
        self.created.set(self.created.get() + 1);
        self.show_sessions();
        session
    }

    /// The session ends with this wake-up; for callers that still hold its state.
    pub(crate) fn doom(&self, session: &Rc<Session>) {
        self.doomed.borrow_mut().push(Rc::clone(session));
    }

    pub(crate) fn remove_doomed(&self) {
        while let Some(session) = self.doomed.borrow_mut().pop() {
            self.remove_session(&session);
        }
    }

    /// The session is over.
    pub(crate) fn remove_session(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().remove(&session.id);
        self.numbers.borrow_mut().remove(&session.number);
        if let Some(conn) = session.conn.borrow_mut().take() {
            conn.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
        }
        let mut state = session.state.borrow_mut();
        let before = std::mem::replace(&mut state.standing, Standing::Attached);
        self.count(before, false);
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
        let sessions = std::mem::take(&mut *conn.sessions.borrow_mut());
        for session in sessions {
            session.conn.borrow_mut().take();
            let announced = {
                let mut state = session.state.borrow_mut();
                state.last_used = Instant::now();
                self.recount(&session, &mut state);
                state.announced
            };
            if !announced {
                self.remove_session(&session);
            }
        }
        self.limit_detached();
    }

    /// Ends sessions beyond `max_detached_sessions`, least recently used first; running turns are spared.
    fn limit_detached(&self) {
        while self.detached.get() > self.config.config.max_detached_sessions {
            let oldest = self
                .sessions
                .borrow()
                .values()
                .filter(|session| session.state.borrow().standing == Standing::Detached)
                .min_by_key(|session| session.state.borrow().last_used)
                .cloned();
            let Some(session) = oldest else { return };
            self.remove_session(&session);
        }
    }
}

/// Ends sessions that nobody came back to in time.
pub(crate) async fn sweep(inner: Weak<Inner>) {
    loop {
        sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.detached.get() == 0 {
            continue;
        }
        let limit = ServiceConfig::seconds(inner.config.config.session_timeout);
        let expired: Vec<_> = inner
            .sessions
            .borrow()
            .values()
            .filter(|session| {
                let state = session.state.borrow();
                state.standing == Standing::Detached && state.last_used.elapsed() >= limit
            })
            .cloned()
            .collect();
        for session in expired {
            inner.remove_session(&session);
        }
        inner.flush();
    }
}
