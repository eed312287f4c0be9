//! One connection in the table: its counters, and the handle that its task holds.

use super::Inner;
use jiff::Timestamp;
use myagent_core::ConnectionId;
use myagent_core::routing::PoolKind;
use myagent_core::wire::control::Connection;
use myagent_core::wire::sums::Traffic;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Longest `User-Agent` and session id kept, bytes.
const MAX_TEXT: usize = 200;
/// Notifications that may wait for one client; more are dropped.
const MAX_NOTICES: usize = 16;

/// Name of the event that an operator's notification is.
const NOTIFICATION: &str = "management_notification";

/// What has flowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// How the front door chose the instance of a connection; nothing: it came to the runner's own port.
#[derive(Clone, Copy, Default)]
pub(super) struct Route<'a> {
    pub(super) strategy: Option<&'a str>,
    pub(super) rule: Option<&'a str>,
    pub(super) pool: Option<PoolKind>,
}

pub(super) struct State {
    pub(super) id: ConnectionId,
    client: SocketAddr,
    user_agent: Option<Box<str>>,
    strategy: Option<Box<str>>,
    rule: Option<Box<str>>,
    pool: Option<PoolKind>,
    session: RefCell<Option<Box<str>>>,
    pub(super) connected_at: Timestamp,
    pub(super) last_activity: Cell<Timestamp>,
    /// Coarse times since the table's origin.
    pub(super) last_in: Cell<Option<Duration>>,
    pub(super) last_out: Cell<Option<Duration>>,
    /// The newest message is the client's.
    pub(super) unanswered: Cell<bool>,
    /// What happened since the last tick; not 0: it is in the list of touched ones.
    pub(super) marks: Cell<u8>,
    /// It is in the list of changed ones.
    pub(super) changed: Cell<bool>,
    counters: Cell<Counters>,
    /// Those that are in the table's sums already.
    summed: Cell<Counters>,
    /// The sums of the rule that routed it.
    pub(super) traffic: Option<Rc<Cell<Traffic>>>,
    /// How often it went on in another runner before it came here.
    moves: u32,
    /// The client asked for events of our own.
    pub(super) events: Cell<bool>,
    /// Those that are still to be sent.
    notices: RefCell<VecDeque<Rc<str>>>,
    disconnect: RefCell<Option<Box<(u16, String)>>>,
    waker: RefCell<Option<Waker>>,
}

impl State {
    /// A data message came from the client.
    pub(super) const IN: u8 = 1;
    /// A data message went to the client.
    pub(super) const OUT: u8 = 2;
    /// Something else changed.
    const OTHER: u8 = 4;

    /// The newest session seen on it.
    pub(super) fn session(&self) -> Option<std::cell::Ref<'_, str>> {
        std::cell::Ref::filter_map(self.session.borrow(), Option::as_deref).ok()
    }

    pub(super) fn new(
        id: ConnectionId,
        client: SocketAddr,
        user_agent: Option<String>,
        Route { strategy, rule, pool }: Route<'_>,
        traffic: Option<Rc<Cell<Traffic>>>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            client,
            user_agent: user_agent.map(|text| cut(&text, MAX_TEXT).into()),
            strategy: strategy.map(Into::into),
            rule: rule.map(Into::into),
            pool,
            session: RefCell::default(),
            connected_at: now,
            last_activity: Cell::new(now),
            last_in: Cell::default(),
            last_out: Cell::default(),
            unanswered: Cell::default(),
            marks: Cell::default(),
            changed: Cell::new(true),
            counters: Cell::default(),
            summed: Cell::default(),
            traffic,
            moves: 0,
            events: Cell::default(),
            notices: RefCell::default(),
            disconnect: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// It is the next part of this connection, whose counters are in the sums of another runner.
    pub(super) fn go_on(&mut self, so_far: &Connection) {
        let Connection { messages_in, messages_out, bytes_in, bytes_out, .. } = *so_far;
        let counters = Counters { messages_in, messages_out, bytes_in, bytes_out };
        self.counters.set(counters);
        self.summed.set(counters);
        self.connected_at = so_far.connected_at;
        self.moves = so_far.moves;
        self.events.set(so_far.events);
    }

    /// Adds to the sums of its rule, if one routed it.
    pub(super) fn add_traffic(&self, more: &Traffic) {
        if let Some(traffic) = &self.traffic {
            let mut sum = traffic.get();
            sum.add(more);
            traffic.set(sum);
        }
    }

    /// It came from another runner.
    pub(super) fn count_move(&mut self) {
        self.moves = self.moves.saturating_add(1);
    }

    /// What is not in the table's sums yet; from now on it is.
    pub(super) fn unsummed(&self) -> Counters {
        let now = self.counters.get();
        let before = self.summed.replace(now);
        Counters {
            messages_in: now.messages_in - before.messages_in,
            messages_out: now.messages_out - before.messages_out,
            bytes_in: now.bytes_in - before.bytes_in,
            bytes_out: now.bytes_out - before.bytes_out,
        }
    }

    pub(super) fn connection(&self) -> Connection {
        let Counters { messages_in, messages_out, bytes_in, bytes_out } = self.counters.get();
        Connection {
            connection_id: self.id,
            session_id: self.session.borrow().as_deref().map(str::to_owned),
            client: self.client,
            user_agent: self.user_agent.as_deref().map(str::to_owned),
            strategy: self.strategy.as_deref().map(str::to_owned),
            rule: self.rule.as_deref().map(str::to_owned),
            pool: self.pool,
            connected_at: self.connected_at,
            last_activity: self.last_activity.get(),
            messages_in,
            messages_out,
            bytes_in,
            bytes_out,
            moves: self.moves,
            events: self.events.get(),
        }
    }

    /// Something to tell the client, if it asked for such events; true: it will be told.
    pub(super) fn notify(&self, members: &Rc<str>) -> bool {
        if !self.events.get() || self.disconnect.borrow().is_some() {
            return false;
        }
        let mut notices = self.notices.borrow_mut();
        if notices.len() >= MAX_NOTICES {
            return false;
        }
        notices.push_back(Rc::clone(members));
        self.wake();
        true
    }

    /// Nobody waits for [`State::disconnect`] any more.
    pub(super) fn forget_task(&self) {
        *self.waker.borrow_mut() = None;
    }

    /// Asks the task to close it. The first request counts.
    pub(super) fn disconnect(&self, code: u16, reason: &str) {
        self.disconnect.borrow_mut().get_or_insert_with(|| Box::new((code, reason.to_owned())));
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// An open connection, held by the task that serves it. Dropped without [`Entry::close`] it is recorded as 1006.
pub struct Entry {
    state: Rc<State>,
    table: Rc<Inner>,
    ending: Option<(u16, String)>,
    moved: bool,
}

impl Entry {
    pub(super) fn new(state: Rc<State>, table: Rc<Inner>) -> Self {
        Self { state, table, ending: None, moved: false }
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.state.id
    }

    /// What is known of it.
    pub fn connection(&self) -> Connection {
        self.state.connection()
    }

    /// One data message of so many bytes came from the client.
    pub fn message_in(&self, bytes: u64) {
        self.add_in(1, bytes);
    }

    /// One data message of so many bytes went to the client.
    pub fn message_out(&self, bytes: u64) {
        self.add_out(1, bytes);
    }

    /// Bytes came from the client that complete no message.
    pub fn add_bytes_in(&self, bytes: u64) {
        self.add_in(0, bytes);
    }

    /// Bytes went to the client that complete no message.
    pub fn add_bytes_out(&self, bytes: u64) {
        self.add_out(0, bytes);
    }

    /// Bytes came from the client, in which so many messages began or ended.
    pub fn add_in(&self, messages: u64, bytes: u64) {
        let mut counters = self.state.counters.get();
        counters.messages_in += messages;
        counters.bytes_in += bytes;
        self.state.counters.set(counters);
        if messages > 0 {
            self.state.unanswered.set(true);
        }
        self.mark(if messages > 0 { State::IN } else { State::OTHER });
    }

    /// Bytes went to the client, in which so many messages began or ended.
    pub fn add_out(&self, messages: u64, bytes: u64) {
        let mut counters = self.state.counters.get();
        counters.messages_out += messages;
        counters.bytes_out += bytes;
        self.state.counters.set(counters);
        if messages > 0 {
            self.state.unanswered.set(false);
        }
        self.mark(if messages > 0 { State::OUT } else { State::OTHER });
    }

    /// The newest session seen on it; cut to 200 bytes.
    pub fn set_session(&self, session: &str) {
        let session = cut(session, MAX_TEXT);
        let mut known = self.state.session.borrow_mut();
        if known.as_deref() != Some(session) {
            *known = Some(session.into());
            self.mark(State::OTHER);
            self.table.news.notify_one();
        }
    }

    /// Resolves with code and reason when somebody asked for this connection to be closed. Cancel-safe. Only one task may
    /// wait at a time.
    pub async fn disconnected(&self) -> (u16, String) {
        poll_fn(|context| self.poll_disconnected(context)).await
    }

    /// [`Entry::disconnected`] for tasks that are written as a poll function.
    pub fn poll_disconnected(&self, context: &mut Context<'_>) -> Poll<(u16, String)> {
        if let Some(request) = self.state.disconnect.borrow().as_deref() {
            return Poll::Ready(request.clone());
        }
        let mut waker = self.state.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Whether somebody asked for this connection to be closed.
    pub fn is_leaving(&self) -> bool {
        self.state.disconnect.borrow().is_some()
    }

    /// The client asked for events of our own.
    pub fn want_events(&self) {
        self.state.events.set(true);
        self.mark(State::OTHER);
    }

    /// Whether it did.
    pub fn wants_events(&self) -> bool {
        self.state.events.get()
    }

    /// Whether [`Entry::take_notice`] has something. Who waits for a disconnect is woken for that, too.
    pub fn has_notice(&self) -> bool {
        !self.state.notices.borrow().is_empty()
    }

    /// The next event of our own for this client: a text message of JSON. It is not counted as a message.
    pub fn take_notice(&self) -> Option<String> {
        let mut notices = self.state.notices.borrow_mut();
        let members = notices.pop_front()?;
        if notices.is_empty() {
            // An idle connection keeps no room for them.
            *notices = VecDeque::new();
        }
        let id = self.state.id;
        Some(format!("{{\"event\":\"{NOTIFICATION}\",\"connection_id\":\"{id}\",{members}}}"))
    }

    /// The client took nothing of what was sent to it, and is dropped for that.
    pub fn count_slow(&self) {
        self.table.count_dropped(|totals| totals.slow_clients += 1);
    }

    /// The client does not answer any more, and is given up.
    pub fn count_vanished(&self) {
        self.table.count_dropped(|totals| totals.vanished_clients += 1);
    }

    /// It goes on in another runner.
    pub fn close_moved(mut self, code: u16, reason: &str) {
        self.moved = true;
        self.close(code, reason);
    }

    /// It is over.
    pub fn close(mut self, code: u16, reason: &str) {
        self.ending = Some((code, reason.to_owned()));
    }

    fn mark(&self, mark: u8) {
        let marks = self.state.marks.get();
        if marks == 0 {
            self.table.touched.borrow_mut().push(Rc::clone(&self.state));
        }
        self.state.marks.set(marks | mark);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (code, reason) = self.ending.take().unwrap_or((1006, "ended without a close frame".to_owned()));
        self.table.close(&self.state, code, &reason, self.moved);
    }
}

/// A place taken for a connection that is not open yet; free again when dropped.
pub struct Place {
    table: Rc<Inner>,
}

impl Place {
    pub(super) fn new(table: Rc<Inner>) -> Self {
        table.reserved.set(table.reserved.get() + 1);
        Self { table }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.reserved.set(self.table.reserved.get() - 1);
    }
}

/// The first `max` bytes of a text, cut between characters.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
