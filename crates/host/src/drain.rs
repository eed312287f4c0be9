//! A runner that is to end gives its clients away (`docs/design/failover.md`): to siblings if they can go on there, else they
//! are closed in a quiet moment, a few at a time.
//!
//! One task looks at all connections whenever something has changed, and says what is to become of each; connections do it
//! themselves. It needs no manager: siblings are found in the folder of the journals.

mod siblings;

use crate::connection::Conn;
use crate::host::{Host, Inner};
use crate::moving::{Order, Outcome};
use crate::session::Session;
use myagent_core::ConnectionId;
use myagent_core::drain::{COME_BACK, FAREWELL, farewell_pace, pace};
use myagent_core::wire::control::Drained;
use siblings::Siblings;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

/// Connections that are on their way at once.
const AT_ONCE: usize = 16;
/// When a connection that nobody took is offered again.
const AGAIN: Duration = Duration::from_secs(1);
/// A connection that is held, and of which nothing runs, must be on its way after this; else its messages are answered here.
const HELD: Duration = Duration::from_secs(1);
/// Without any sibling for so long there is none, if the window is that long: one that died is mostly back by then.
const ALONE: Duration = Duration::from_secs(10);
const ALONE_SHARE: u32 = 30;
/// Shortest time between two looks, and the longest.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(200);
/// After the window: for turns that were interrupted to end in the worker, so that their clients can move.
const SETTLE: Duration = Duration::from_secs(3);

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is none.
    #[default]
    None,
    /// Connections leave; turns go on.
    Moving,
    /// The window is over: no turn begins any more.
    Ending,
}

impl Host {
    /// Gives all clients away within this time; then what still runs is interrupted, and what is left is closed. Returns when
    /// nobody is left, or when it is taken back ([`Host::undrain`]).
    pub async fn drain(&self, window: Duration) -> Drained {
        Drain::new(Rc::clone(&self.inner), window).run().await
    }

    /// Clients stay, and may come again.
    pub fn undrain(&self) {
        let inner = &self.inner;
        if inner.drain.replace(Stage::None) == Stage::None {
            return;
        }
        inner.drain_wake.notify_one();
        let conns: Vec<_> = inner.conns.borrow().values().cloned().collect();
        for conn in conns {
            conn.held.set(false);
        }
        let sessions: Vec<_> = inner.sessions.borrow().values().cloned().collect();
        for session in sessions {
            inner.pump(&session, &mut session.state.borrow_mut());
        }
        inner.flush();
    }
}

impl Inner {
    /// No turn of this session begins just now.
    pub(crate) fn holds(&self, session: &Session) -> bool {
        match self.drain.get() {
            Stage::None => false,
            Stage::Moving => session.conn.borrow().as_ref().is_some_and(|conn| conn.held.get()),
            Stage::Ending => true,
        }
    }

    /// Something has changed that a drain may wait for.
    pub(crate) fn stir(&self) {
        if self.drain.get() != Stage::None {
            self.drain_wake.notify_one();
        }
    }

    /// Messages of this connection are answered here again.
    fn let_go(self: &Rc<Self>, conn: &Rc<Conn>) {
        if conn.held.replace(false) {
            let sessions = conn.sessions.borrow().clone();
            for session in sessions {
                self.pump(&session, &mut session.state.borrow_mut());
            }
            self.flush();
        }
    }

    /// Closes a connection whose client can only come back, and lets go of its sessions, so that it can do so anywhere.
    fn send_away(self: &Rc<Self>, conn: &Rc<Conn>) {
        let sessions = conn.sessions.borrow().clone();
        conn.close(self, COME_BACK.0, COME_BACK.1);
        for session in sessions {
            let may_go = {
                let state = session.state.borrow();
                state.announced && state.is_quiet()
            };
            if may_go && let Err(error) = self.release(&session) {
                tracing::debug!(%error, "a session stays with this runner until it ends");
            }
        }
    }
}

/// A drain under way.
struct Drain {
    inner: Rc<Inner>,
    deadline: Instant,
    siblings: Rc<Siblings>,
    /// Those that are on their way, and siblings that are asked for the first time.
    attempts: JoinSet<()>,
    meetings: JoinSet<()>,
    /// What is known of connections that are still here.
    known: HashMap<ConnectionId, Known>,
    /// Since when there is no sibling.
    alone_since: Option<Instant>,
    alone_after: Duration,
    next_close: Instant,
    moved: Rc<Cell<u32>>,
    closed: u32,
    interrupted: u32,
}

#[derive(Default)]
struct Known {
    /// Nobody took it; not before this again.
    again: Rc<Cell<Option<Instant>>>,
    /// Since when it is held without a turn.
    held_since: Option<Instant>,
}

impl Drain {
    fn new(inner: Rc<Inner>, window: Duration) -> Self {
        inner.drain.set(Stage::Moving);
        let now = Instant::now();
        Self {
            inner,
            deadline: now + window,
            siblings: Rc::default(),
            attempts: JoinSet::new(),
            meetings: JoinSet::new(),
            known: HashMap::new(),
            alone_since: None,
            alone_after: ALONE.min(window / ALONE_SHARE),
            next_close: now,
            moved: Rc::default(),
            closed: 0,
            interrupted: 0,
        }
    }

    async fn run(mut self) -> Drained {
        let deadline = self.deadline;
        self.until(deadline).await;
        if self.inner.drain.get() == Stage::Moving {
            self.inner.drain.set(Stage::Ending);
            self.interrupted = self.inner.interrupt_turns();
            self.inner.flush();
            self.until(Instant::now() + SETTLE).await;
            self.say_farewell().await;
        }
        // What is on its way arrives.
        while self.attempts.join_next().await.is_some() {}
        Drained { moved: self.moved.get(), closed: self.closed, interrupted: self.interrupted }
    }

    /// Looks again and again, until nobody is left, or it is time, or the drain is taken back.
    async fn until(&mut self, deadline: Instant) {
        let stage = self.inner.drain.get();
        while self.inner.drain.get() == stage && !self.is_over() && Instant::now() < deadline {
            self.look();
            // Much may change at once.
            sleep(SOON).await;
            let inner = Rc::clone(&self.inner);
            tokio::select! {
                () = inner.drain_wake.notified() => {}
                Some(_) = self.attempts.join_next() => {}
                Some(_) = self.meetings.join_next() => {}
                () = sleep_until((Instant::now() + LATER).min(deadline)) => {}
            }
        }
    }

    fn is_over(&mut self) -> bool {
        while self.attempts.try_join_next().is_some() {}
        let inner = &self.inner;
        self.attempts.is_empty()
            && inner.conns.borrow().values().all(|conn| conn.probe)
            && !inner
                .sessions
                .borrow()
                .values()
                .any(|session| session.state.borrow().is_running(inner.drain.get()))
    }

    fn clients(&self) -> Vec<Rc<Conn>> {
        let conns = self.inner.conns.borrow();
        conns.values().filter(|conn| !conn.probe && !conn.is_ending()).cloned().collect()
    }

    /// Says what is to become of each connection.
    fn look(&mut self) {
        let now = Instant::now();
        let conns = self.clients();
        self.known.retain(|id, _| conns.iter().any(|conn| conn.id == *id));
        for sibling in self.siblings.refresh(&self.inner.config.journal) {
            let siblings = Rc::clone(&self.siblings);
            self.meetings.spawn_local(async move { siblings.meet(&sibling).await });
        }
        if self.siblings.is_empty() {
            self.alone_since.get_or_insert(now);
        } else {
            self.alone_since = None;
        }
        let is_alone = self.alone_since.is_some_and(|since| since + self.alone_after <= now);
        let left = conns.len();
        for conn in conns {
            if is_alone || !self.inner.can_go_on(&conn) {
                self.let_stay(&conn, left, now);
            } else {
                self.let_move(&conn, now);
            }
        }
    }

    /// It can only be closed, in a quiet moment.
    fn let_stay(&mut self, conn: &Rc<Conn>, left: usize, now: Instant) {
        self.inner.let_go(conn);
        if now >= self.next_close && !conn.moving.get() && Inner::nothing_runs(conn) {
            self.inner.send_away(conn);
            self.closed += 1;
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.next_close = now + pace(self.deadline.saturating_duration_since(now), left);
        }
    }

    /// It goes as soon as nothing of it runs.
    fn let_move(&mut self, conn: &Rc<Conn>, now: Instant) {
        if conn.moving.get() || !self.siblings.is_met() {
            return;
        }
        let known = self.known.entry(conn.id).or_default();
        if known.again.get().is_some_and(|again| now < again) {
            return;
        }
        known.again.set(None);
        conn.held.set(true);
        if Inner::is_answered_in(conn) {
            known.held_since = None;
            return;
        }
        let since = *known.held_since.get_or_insert(now);
        if Inner::nothing_runs(conn) && self.attempts.len() < AT_ONCE {
            known.held_since = None;
            conn.moving.set(true);
            let again = Rc::clone(&known.again);
            let attempt = Attempt {
                inner: Rc::clone(&self.inner),
                siblings: Rc::clone(&self.siblings),
                conn: Rc::clone(conn),
                moved: Rc::clone(&self.moved),
                again,
            };
            self.attempts.spawn_local(attempt.run());
        } else if since + HELD <= now && self.attempts.len() < AT_ONCE {
            // Something of it goes on that is no turn: its messages need not wait for that.
            known.held_since = None;
            known.again.set(Some(now + AGAIN));
            self.inner.let_go(conn);
        }
    }

    /// Time is over: those who are left are told, one after the other.
    async fn say_farewell(&mut self) {
        while self.attempts.join_next().await.is_some() {}
        let conns = self.clients();
        let pace = farewell_pace(conns.len());
        for conn in conns {
            self.inner.send_away(&conn);
            self.closed += 1;
            sleep(pace).await;
        }
        let inner = Rc::clone(&self.inner);
        let gone = async {
            while !inner.conns.borrow().values().all(|conn| conn.probe) {
                inner.drain_wake.notified().await;
            }
        };
        // Whoever does not take its last bytes is cut off when the runner ends.
        let _ = timeout(FAREWELL, gone).await;
    }
}

/// One connection is offered to siblings until one takes it.
struct Attempt {
    inner: Rc<Inner>,
    siblings: Rc<Siblings>,
    conn: Rc<Conn>,
    moved: Rc<Cell<u32>>,
    again: Rc<Cell<Option<Instant>>>,
}

impl Attempt {
    async fn run(self) {
        let session = self.conn.sessions.borrow().first().map_or(Uuid::nil(), |session| session.key);
        let mut tried = Vec::new();
        while let Some((sibling, willing)) = self.siblings.ask(session, &mut tried).await {
            if !self.inner.conns.borrow().contains_key(&self.conn.id) {
                return;
            }
            let (done, outcome) = oneshot::channel();
            let instance = sibling.instance.clone();
            self.conn.give(Order { willing, instance, done });
            match outcome.await {
                Ok(Outcome::Moved) => {
                    self.moved.set(self.moved.get() + 1);
                    return;
                }
                Ok(Outcome::Failed) => self.siblings.failed(&sibling),
                Ok(Outcome::Cut) => return self.siblings.failed(&sibling),
                // Not now, or it has ended.
                Ok(Outcome::NotNow) | Err(_) => {
                    self.conn.moving.set(false);
                    return self.inner.stir();
                }
            }
            self.conn.moving.set(true);
        }
        self.conn.moving.set(false);
        self.again.set(Some(Instant::now() + AGAIN));
        self.inner.let_go(&self.conn);
    }
}
