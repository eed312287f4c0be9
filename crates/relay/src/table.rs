//! The connections of one runner: who is here, what has flowed, who has gone and why.
//!
//! Shared by the relay and the agent host of a runner, on one thread. A message costs a few `Cell` updates: no clock is
//! asked for it, times are taken by [`Table::tick`] (once a second; reports do it too) for whatever moved since the last
//! one. Closed records are kept until the manager has acknowledged them, at most [`MAX_CLOSED`].

mod entry;
mod left;
#[cfg(test)]
mod tests;

pub use entry::{Entry, Place};

use entry::{Counters, Route, State};
use jiff::Timestamp;
use left::Left;
use myagent_core::wire::control::{Closed, Report, Usage};
use myagent_core::wire::handover::{Moved, Offer};
use myagent_core::wire::sums::{MAX_RULES, OTHER_RULES, Totals, Traffic};
use myagent_core::{Clock, ConnectionId};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Most closed records kept; then the oldest are dropped and counted.
pub const MAX_CLOSED: usize = 10_000;
/// Most closed records in one report; the others follow once these are acknowledged.
pub const MAX_CLOSED_PER_REPORT: usize = 1_000;
/// Most open connections in one report, but for full ones: whoever makes it and whoever reads it holds all of it at once.
pub const MAX_OPEN_PER_REPORT: usize = 500;
/// So many closed connections may be listed as touched or changed before the lists are cleared of them.
const MAX_CLOSED_LISTED: u32 = 1_000;

/// A cheap handle on the table.
#[derive(Clone)]
pub struct Table {
    inner: Rc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    /// Origin of the coarse monotonic times.
    origin: Instant,
    busy_max: Duration,
    max_places: u32,
    open: RefCell<HashMap<ConnectionId, Rc<State>>>,
    /// Touched since the last tick.
    touched: RefCell<Vec<Rc<State>>>,
    /// Changed since the last report.
    changed: RefCell<Vec<Rc<State>>>,
    /// Connections that were closed since these two were cleared of closed ones.
    closed_listed: Cell<u32>,
    closed: RefCell<VecDeque<Closed>>,
    /// Number of the newest closed record, and of the newest that was reported.
    newest_closed: Cell<u64>,
    reported_closed: Cell<u64>,
    /// A closed record was dropped that nobody was told of.
    untold: Cell<bool>,
    closed_dropped: Cell<u64>,
    left: RefCell<Left>,
    /// A session was seen on a connection for the first time.
    news: Rc<Notify>,
    /// Sums of what the ticks have seen.
    totals: Cell<Totals>,
    /// The same by rule.
    rules: RefCell<HashMap<Box<str>, Rc<Cell<Traffic>>>>,
    /// Coarse time of the newest message on any connection.
    latest: Cell<Option<Duration>>,
    reserved: Cell<u32>,
    extra_places: Cell<u32>,
    active_sessions: Cell<u32>,
    draining: Cell<bool>,
    /// Something other than a connection changed since the last report.
    dirty: Cell<bool>,
}

impl Table {
    /// `busy_max`: how long an unanswered message or the agent's last output count as busy. `max_places`: 0 is no limit.
    pub fn new(clock: Arc<dyn Clock>, busy_max: Duration, max_places: u32) -> Self {
        Self {
            inner: Rc::new(Inner {
                clock,
                origin: Instant::now(),
                busy_max,
                max_places,
                open: RefCell::default(),
                touched: RefCell::default(),
                changed: RefCell::default(),
                closed_listed: Cell::new(0),
                closed: RefCell::default(),
                newest_closed: Cell::new(0),
                reported_closed: Cell::new(0),
                untold: Cell::new(false),
                closed_dropped: Cell::new(0),
                left: RefCell::default(),
                news: Rc::default(),
                totals: Cell::default(),
                rules: RefCell::default(),
                latest: Cell::new(None),
                reserved: Cell::new(0),
                extra_places: Cell::new(0),
                active_sessions: Cell::new(0),
                draining: Cell::new(false),
                dirty: Cell::new(false),
            }),
        }
    }

    /// Has the sessions of closed connections told in full reports: at most `max`, for as long as `keep`. Without this none
    /// are.
    pub fn remember_sessions(&self, keep: Duration, max: usize) {
        self.inner.left.replace(Left::new(keep, max));
    }

    /// Notified when a session is seen on a connection: a client may come back for it before the next second is over.
    pub fn news(&self) -> Rc<Notify> {
        Rc::clone(&self.inner.news)
    }

    /// Enters a connection that was handed over. It is open until the entry is closed or dropped.
    pub fn open(&self, offer: &Offer, user_agent: Option<String>) -> Entry {
        let route = Route { strategy: Some(&offer.strategy), rule: offer.rule.as_deref(), pool: offer.pool };
        let state = self.state(offer.connection_id, offer.client, user_agent, route);
        self.count(&state);
        self.enter(state)
    }

    /// Enters a connection that came to the runner's own port.
    pub fn open_direct(&self, id: ConnectionId, client: SocketAddr, user_agent: Option<String>) -> Entry {
        let state = self.state(id, client, user_agent, Route::default());
        self.count(&state);
        self.enter(state)
    }

    /// Enters a connection that came from another runner, which has counted it.
    pub fn open_moved(&self, moved: &Moved) -> Entry {
        let (strategy, rule) = (moved.strategy.as_deref(), moved.rule.as_deref());
        let route = Route { strategy, rule, pool: moved.pool };
        let mut state = self.state(moved.connection_id, moved.client, moved.user_agent.clone(), route);
        if let Some(so_far) = &moved.so_far {
            state.go_on(so_far);
        }
        state.count_move();
        self.enter(state)
    }

    fn state(
        &self,
        id: ConnectionId,
        client: SocketAddr,
        user_agent: Option<String>,
        route: Route<'_>,
    ) -> State {
        let traffic = route.rule.map(|rule| self.traffic(rule));
        State::new(id, client, user_agent, route, traffic, self.inner.clock.now())
    }

    /// The sums of a rule.
    fn traffic(&self, rule: &str) -> Rc<Cell<Traffic>> {
        let mut rules = self.inner.rules.borrow_mut();
        let rule = if rules.len() < MAX_RULES || rules.contains_key(rule) { rule } else { OTHER_RULES };
        if let Some(traffic) = rules.get(rule) {
            return Rc::clone(traffic);
        }
        Rc::clone(rules.entry(rule.into()).or_default())
    }

    fn count(&self, state: &State) {
        let mut totals = self.inner.totals.get();
        totals.connections += 1;
        self.inner.totals.set(totals);
        state.add_traffic(&Traffic { connections: 1, ..Traffic::default() });
    }

    fn enter(&self, state: State) -> Entry {
        let state = Rc::new(state);
        self.inner.open.borrow_mut().insert(state.id, Rc::clone(&state));
        self.inner.changed.borrow_mut().push(Rc::clone(&state));
        Entry::new(state, Rc::clone(&self.inner))
    }

    /// Takes a place for a connection that is not open yet (its agent's handshake is on the way).
    pub fn reserve(&self) -> Place {
        Place::new(Rc::clone(&self.inner))
    }

    /// Places in use: open and reserved connections and the extra ones.
    pub fn places(&self) -> u32 {
        self.open_count()
            .saturating_add(self.inner.reserved.get())
            .saturating_add(self.inner.extra_places.get())
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.inner.max_places > 0 && self.places() >= self.inner.max_places
    }

    /// Open connections.
    pub fn open_count(&self) -> u32 {
        u32::try_from(self.inner.open.borrow().len()).unwrap_or(u32::MAX)
    }

    /// Places beside the connections: detached sessions whose turn still runs.
    pub fn set_extra_places(&self, count: u32) {
        self.inner.dirty.set(self.inner.dirty.get() || self.inner.extra_places.get() != count);
        self.inner.extra_places.set(count);
    }

    /// Sessions now, and ever made (agent files only).
    pub fn set_sessions(&self, active: u32, created_total: u64) {
        let mut totals = self.inner.totals.get();
        let same = totals.sessions == created_total && self.inner.active_sessions.get() == active;
        self.inner.dirty.set(self.inner.dirty.get() || !same);
        totals.sessions = created_total;
        self.inner.totals.set(totals);
        self.inner.active_sessions.set(active);
    }

    /// Takes the time for every connection that moved since the last tick. To be called about once a second, with or
    /// without a manager; [`Table::report`] and [`Table::busy`] do it themselves.
    pub fn tick(&self) {
        let touched = std::mem::take(&mut *self.inner.touched.borrow_mut());
        if touched.is_empty() {
            return;
        }
        let (wall, coarse) = (self.inner.clock.now(), self.inner.origin.elapsed());
        for state in touched {
            self.inner.stamp(&state, wall, coarse);
            // A closed one is in its record already.
            if self.inner.open.borrow().contains_key(&state.id) && !state.changed.replace(true) {
                self.inner.changed.borrow_mut().push(state);
            }
        }
    }

    /// Connections, counters and closed records; with `full` all open connections, else those that changed since the last
    /// report, at most [`MAX_OPEN_PER_REPORT`]. `usage`, `totals.log_lines_dropped` and what became of sessions are for the runner to fill in.
    ///
    /// A full one is made unasked when closed records were dropped before they were reported: the manager would hold those
    /// connections to be open for as long as the runner lives.
    pub fn report(&self, full: bool) -> Report {
        self.tick();
        let inner = &self.inner;
        let full = inner.untold.take() || full;
        let mut all_changed = inner.changed.borrow_mut();
        let count = if full { all_changed.len() } else { all_changed.len().min(MAX_OPEN_PER_REPORT) };
        let changed: Vec<_> = all_changed.drain(..count).collect();
        if all_changed.is_empty() {
            // An idle runner holds no room for it.
            *all_changed = Vec::new();
        }
        drop(all_changed);
        for state in &changed {
            state.changed.set(false);
        }
        let open = inner.open.borrow();
        let open = if full {
            open.values().map(|state| state.connection()).collect()
        } else {
            changed
                .iter()
                .filter(|state| open.contains_key(&state.id))
                .map(|state| state.connection())
                .collect()
        };
        let closed: Vec<Closed> = inner.closed.borrow().iter().take(MAX_CLOSED_PER_REPORT).cloned().collect();
        if let Some(last) = closed.last() {
            inner.reported_closed.set(inner.reported_closed.get().max(last.number));
        }
        inner.dirty.set(false);
        Report {
            full,
            open,
            closed,
            active_connections: self.open_count(),
            active_sessions: inner.active_sessions.get(),
            detached_sessions: 0,
            places: self.places(),
            max_places: Some(inner.max_places),
            totals: inner.totals.get(),
            rules: inner
                .rules
                .borrow()
                .iter()
                .map(|(rule, traffic)| (rule.to_string(), traffic.get()))
                .collect(),
            session_totals: None,
            left_sessions: if full {
                inner.left.borrow_mut().sessions(inner.origin.elapsed())
            } else {
                Vec::new()
            },
            usage: Usage::default(),
            busy: self.busy(),
        }
    }

    /// Whether there is anything that the last report did not say.
    pub fn changed(&self) -> bool {
        let inner = &self.inner;
        inner.dirty.get()
            || !inner.touched.borrow().is_empty()
            || !inner.changed.borrow().is_empty()
            || self.unreported_closed() > 0
    }

    /// More connections changed than the last report had room for.
    pub fn has_more(&self) -> bool {
        !self.inner.changed.borrow().is_empty()
    }

    /// Closed records that were in no report.
    pub fn unreported_closed(&self) -> u64 {
        self.inner.newest_closed.get() - self.inner.reported_closed.get()
    }

    /// The manager has stored the closed records up to this number.
    pub fn ack_closed(&self, up_to: u64) {
        let mut closed = self.inner.closed.borrow_mut();
        while closed.front().is_some_and(|record| record.number <= up_to) {
            closed.pop_front();
        }
        // After a rush it gives its room back.
        if closed.capacity() > 4 * MAX_CLOSED_PER_REPORT && closed.len() < closed.capacity() / 4 {
            closed.shrink_to(MAX_CLOSED_PER_REPORT);
        }
    }

    /// Closed records that were dropped because nobody acknowledged them.
    pub fn closed_dropped(&self) -> u64 {
        self.inner.closed_dropped.get()
    }

    /// Asks a connection's task to close it; false: it is not here.
    pub fn disconnect(&self, id: ConnectionId, code: u16, reason: &str) -> bool {
        self.inner.open.borrow().get(&id).map(|state| state.disconnect(code, reason)).is_some()
    }

    /// Whether it is here.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.inner.open.borrow().contains_key(&id)
    }

    /// Whether it was here and went on in another runner, as far as that is remembered.
    pub fn has_moved(&self, id: ConnectionId) -> bool {
        let closed = self.inner.closed.borrow();
        closed.iter().rev().any(|record| record.connection.connection_id == id && record.moved)
    }

    /// Has clients that asked for events of our own told something: all of them, or one connection. `members` are those of
    /// the event after its name and its connection: JSON, without braces. Returns how many will be told; none: it is not here.
    pub fn notify(&self, id: Option<ConnectionId>, members: &str) -> Option<u32> {
        let (open, members) = (self.inner.open.borrow(), Rc::from(members));
        let told = match id {
            Some(id) => usize::from(open.get(&id)?.notify(&members)),
            None => open.values().filter(|state| state.notify(&members)).count(),
        };
        Some(u32::try_from(told).unwrap_or(u32::MAX))
    }

    /// Asks the tasks of all connections to close them.
    pub fn close_all(&self, code: u16, reason: &str) {
        for state in self.inner.open.borrow().values() {
            state.disconnect(code, reason);
        }
    }

    /// The ids of the open connections, oldest first: for whoever closes them one after the other.
    pub fn open_ids(&self) -> Vec<ConnectionId> {
        let open = self.inner.open.borrow();
        let mut ids: Vec<(Timestamp, ConnectionId)> =
            open.values().map(|state| (state.connected_at, state.id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Those in which no message of the client is unanswered, and in which nothing was said for so long (to about a second),
    /// oldest first.
    pub fn quiet_ids(&self, quiet_for: Duration) -> Vec<ConnectionId> {
        self.tick();
        let (open, now) = (self.inner.open.borrow(), self.inner.origin.elapsed());
        let rests = |time: Option<Duration>| time.is_none_or(|time| now.saturating_sub(time) >= quiet_for);
        let quiet = open.values().filter(|state| {
            !state.unanswered.get() && rests(state.last_in.get()) && rests(state.last_out.get())
        });
        let mut ids: Vec<_> = quiet.map(|state| (state.connected_at, state.id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a client's message is unanswered, or the agent said something, on an open connection within `busy_max`.
    pub fn busy(&self) -> bool {
        self.tick();
        let inner = &self.inner;
        let now = inner.origin.elapsed();
        let recent =
            |time: Option<Duration>| time.is_some_and(|time| now.saturating_sub(time) <= inner.busy_max);
        recent(inner.latest.get())
            && inner.open.borrow().values().any(|state| {
                recent(state.last_out.get()) || (state.unanswered.get() && recent(state.last_in.get()))
            })
    }

    /// Whether new clients are turned away.
    pub fn draining(&self) -> bool {
        self.inner.draining.get()
    }

    /// Turns new clients away, or takes them again.
    pub fn set_draining(&self, draining: bool) {
        self.inner.draining.set(draining);
    }
}

impl Inner {
    fn count_dropped(&self, count: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        count(&mut totals);
        self.totals.set(totals);
        self.dirty.set(true);
    }

    /// Writes down what a connection did since its last stamp.
    fn stamp(&self, state: &State, wall: Timestamp, coarse: Duration) {
        let marks = state.marks.take();
        let mut totals = self.totals.get();
        let Counters { messages_in, messages_out, bytes_in, bytes_out } = state.unsummed();
        totals.messages_in += messages_in;
        totals.messages_out += messages_out;
        totals.bytes_in += bytes_in;
        totals.bytes_out += bytes_out;
        self.totals.set(totals);
        state.add_traffic(&Traffic { connections: 0, messages_in, messages_out, bytes_in, bytes_out });
        if marks & (State::IN | State::OUT) != 0 {
            state.last_activity.set(wall);
            self.latest.set(Some(coarse));
        }
        if marks & State::IN != 0 {
            state.last_in.set(Some(coarse));
        }
        if marks & State::OUT != 0 {
            state.last_out.set(Some(coarse));
        }
    }

    /// Takes a connection out and keeps its record.
    fn close(&self, state: &State, code: u16, reason: &str, moved: bool) {
        let now = self.clock.now();
        let coarse = self.origin.elapsed();
        self.stamp(state, now, coarse);
        if let Some(session) = state.session().filter(|_| !moved) {
            self.left.borrow_mut().note(&session, coarse);
        }
        // The id may have been given twice; only our own state goes.
        let mut open = self.open.borrow_mut();
        if open.get(&state.id).is_some_and(|found| std::ptr::eq(Rc::as_ptr(found), state)) {
            open.remove(&state.id);
        }
        // A waker keeps the memory of its task, which is over; this state may stay listed for a while.
        state.forget_task();
        self.closed_listed.set(self.closed_listed.get() + 1);
        if self.closed_listed.get() >= MAX_CLOSED_LISTED {
            // In a rush of short connections the time to the next report is long. They are in their records already.
            self.closed_listed.set(0);
            for list in [&self.touched, &self.changed] {
                list.borrow_mut().retain(|state| open.contains_key(&state.id));
            }
        }
        let number = self.newest_closed.get() + 1;
        self.newest_closed.set(number);
        let mut closed = self.closed.borrow_mut();
        closed.push_back(Closed {
            number,
            connection: state.connection(),
            closed_at: now,
            code,
            reason: entry::cut(reason, crate::codec::MAX_REASON).to_owned(),
            moved,
        });
        if closed.len() > MAX_CLOSED
            && let Some(dropped) = closed.pop_front()
        {
            self.closed_dropped.set(self.closed_dropped.get() + 1);
            if dropped.number > self.reported_closed.get() {
                self.untold.set(true);
            }
        }
    }
}
