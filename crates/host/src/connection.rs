//! One client: its socket, its buffer, and what of it moves to another runner.
//!
//! [`Conn`] is what the rest of the host writes to; [`serve()`] is the task that reads. A message costs no timer and no
//! wake of another task: whoever writes tries the socket at the end of its own wake-up, and only what does not fit is
//! left to the task. An idle connection holds no buffer.

mod serve;

pub(crate) use serve::serve;

use crate::host::Inner;
use crate::moving::Order;
use crate::replay::Replay;
use crate::session::Session;
use myagent_core::ConnectionId;
use myagent_core::wire::control::Connection;
use myagent_relay::codec::{Opcode, write_close, write_frame};
use myagent_relay::table::Entry;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Context;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// Sessions taken by others that a connection remembers.
const MAX_LOST: usize = 100;
/// The close code with which a connection stands in our books that went on elsewhere.
const MOVED: u16 = 1012;
/// Largest buffer that is kept for reuse.
const KEEP: usize = 64 * 1024;

/// What writes to a client.
pub(crate) struct Conn {
    /// Its id.
    pub(crate) id: ConnectionId,
    /// A health probe: it takes no place and has no conversation.
    pub(crate) probe: bool,
    /// Its line in the table, until it is closed.
    entry: RefCell<Option<Entry>>,
    /// Its sessions, oldest first.
    pub(crate) sessions: RefCell<Vec<Rc<Session>>>,
    /// Sessions that another connection took from it, newest last.
    lost: RefCell<Vec<Uuid>>,
    /// Sessions with events in the buffer.
    unsettled: RefCell<Vec<Rc<Session>>>,
    /// Those that are brought up to date.
    pub(crate) replays: RefCell<Vec<Replay>>,
    /// None: it belongs to another runner by now.
    socket: RefCell<Option<OwnedWriteHalf>>,
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    dirty: Cell<bool>,
    /// Since when the socket takes nothing.
    stalled: Cell<Option<Instant>>,
    /// Our close frame is in the buffer: nothing may follow it.
    closing: Cell<bool>,
    /// The client's close frame came.
    peer_closed: Cell<bool>,
    ending: RefCell<Option<(u16, String)>>,
    /// Another runner would take it.
    order: RefCell<Option<Order>>,
    /// Somebody is being asked whether they would, or it is on its way.
    pub(crate) moving: Cell<bool>,
    /// No turn of its sessions begins: messages wait, to be taken along.
    pub(crate) held: Cell<bool>,
    wake: Notify,
}

/// What a move takes away from a connection.
pub(crate) struct Packed {
    pub(crate) connection: Connection,
    pub(crate) socket: OwnedWriteHalf,
    pub(crate) unsent: Vec<u8>,
}

impl Conn {
    pub(crate) fn new(id: ConnectionId, entry: Option<Entry>, socket: OwnedWriteHalf) -> Self {
        Self {
            id,
            probe: entry.is_none(),
            entry: RefCell::new(entry),
            sessions: RefCell::default(),
            lost: RefCell::default(),
            unsettled: RefCell::default(),
            replays: RefCell::default(),
            socket: RefCell::new(Some(socket)),
            out: RefCell::default(),
            sent: Cell::default(),
            dirty: Cell::default(),
            stalled: Cell::default(),
            closing: Cell::default(),
            peer_closed: Cell::default(),
            ending: RefCell::default(),
            order: RefCell::default(),
            moving: Cell::default(),
            held: Cell::default(),
            wake: Notify::new(),
        }
    }

    /// Appends a whole text message. Nothing is sent before [`Conn::flush`]; true: it was not dirty before.
    pub(crate) fn push_text(&self, inner: &Inner, text: &[u8]) -> bool {
        if let Some(entry) = &*self.entry.borrow() {
            entry.message_out(text.len() as u64);
        }
        self.push(inner, |out| write_frame(out, Opcode::Text, text))
    }

    /// Appends bytes as they are.
    pub(crate) fn push(&self, inner: &Inner, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.closing.get() {
            return false;
        }
        let mut out = self.out.borrow_mut();
        if out.capacity() == 0 {
            *out = inner.take_buffer();
        }
        write(&mut out);
        !self.dirty.replace(true)
    }

    /// From now on the session is here.
    pub(crate) fn gain(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().push(Rc::clone(session));
        self.lost.borrow_mut().retain(|lost| *lost != session.key);
    }

    /// Another connection has the session now.
    pub(crate) fn lose(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
        self.unsettled.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
        self.note_lost(session.key);
    }

    /// The session goes on elsewhere with this connection.
    pub(crate) fn forget_session(&self, session: &Rc<Session>) {
        self.sessions.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
        self.unsettled.borrow_mut().retain(|other| !Rc::ptr_eq(other, session));
    }

    /// Whether another connection took this session from it.
    pub(crate) fn has_lost(&self, key: Uuid) -> bool {
        self.lost.borrow().contains(&key)
    }

    /// The session has an event in the buffer.
    pub(crate) fn note_unsettled(&self, session: &Rc<Session>) {
        self.unsettled.borrow_mut().push(Rc::clone(session));
    }

    /// Writes what the socket takes. Once all is written, the sessions' credit goes back.
    pub(crate) fn flush(&self, inner: &Inner) {
        self.dirty.set(false);
        let socket = self.socket.borrow();
        let Some(socket) = &*socket else { return };
        let mut out = self.out.borrow_mut();
        while self.sent.get() < out.len() {
            match socket.try_write(&out[self.sent.get()..]) {
                Ok(count) => {
                    self.sent.set(self.sent.get() + count);
                    self.stalled.set(None);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stalled.get().is_none() {
                        self.stalled.set(Some(Instant::now()));
                        self.wake.notify_one();
                    }
                    return;
                }
                Err(_) => {
                    self.end(1006, "the connection broke");
                    break;
                }
            }
        }
        self.sent.set(0);
        self.stalled.set(None);
        let mut spent = std::mem::take(&mut *out);
        drop(out);
        if spent.capacity() <= KEEP {
            spent.clear();
            inner.keep_buffer(spent);
        }
        self.settle(inner);
    }

    fn settle(&self, inner: &Inner) {
        if self.unsettled.borrow().is_empty() {
            return;
        }
        let mut sessions = std::mem::take(&mut *self.unsettled.borrow_mut());
        for session in sessions.drain(..) {
            inner.settle(&session);
        }
        // The vector goes back for its capacity; nothing was added meanwhile.
        *self.unsettled.borrow_mut() = sessions;
    }

    /// Says good-bye; the task closes the socket once the client has the frame.
    pub(crate) fn close(&self, inner: &Rc<Inner>, code: u16, reason: &str) {
        if self.ending.borrow().is_none() {
            self.push(inner, |out| write_close(out, code, reason));
            inner.config.journal.flush();
            self.flush(inner);
            self.closing.set(true);
            self.end(code, reason);
        }
    }

    /// Counts it among those that are dropped; probes of ours are not counted.
    fn count(&self, count: impl FnOnce(&Entry)) {
        if let Some(entry) = &*self.entry.borrow() {
            count(entry);
        }
    }

    fn end(&self, code: u16, reason: &str) {
        self.ending.borrow_mut().get_or_insert_with(|| (code, reason.to_owned()));
        self.wake.notify_one();
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> bool {
        self.socket
            .borrow()
            .as_ref()
            .is_some_and(|socket| socket.as_ref().poll_write_ready(context).is_ready())
    }

    /// Takes away what a move needs; none: this is no client, or it is being closed. Until [`Conn::stays`] nothing is written
    /// to it, and what is said meanwhile waits.
    pub(crate) fn pack(&self) -> Option<Packed> {
        let connection = self.entry.borrow().as_ref().filter(|entry| !entry.is_leaving())?.connection();
        let socket = self.socket.borrow_mut().take()?;
        let mut unsent = std::mem::take(&mut *self.out.borrow_mut());
        unsent.drain(..self.sent.replace(0));
        self.stalled.set(None);
        Some(Packed { connection, socket, unsent })
    }

    /// It goes on here after all.
    pub(crate) fn stays(&self, inner: &Inner, packed: Packed) {
        let Packed { socket, mut unsent, .. } = packed;
        let mut out = self.out.borrow_mut();
        unsent.extend_from_slice(&out);
        *out = unsent;
        drop(out);
        *self.socket.borrow_mut() = Some(socket);
        self.flush(inner);
    }

    /// It goes on in this instance: nothing of it is left here.
    pub(crate) fn has_gone(&self, packed: Packed, instance: &str) {
        // Without a shutdown: it lives on.
        packed.socket.forget();
        if let Some(entry) = self.entry.borrow_mut().take() {
            entry.close_moved(MOVED, &format!("went on in instance {instance}"));
        }
    }

    /// Nobody can say who has it: so nobody shall.
    pub(crate) fn is_cut(&self, packed: &Packed, why: &str) {
        // It may be gone already, which is as good.
        let _ = rustix::net::shutdown(packed.socket.as_ref(), rustix::net::Shutdown::Both);
        if let Some(entry) = self.entry.borrow_mut().take() {
            entry.close(1006, why);
        }
    }

    /// Sessions that other connections took from it, oldest first.
    pub(crate) fn lost(&self) -> Vec<Uuid> {
        self.lost.borrow().clone()
    }

    /// Another connection has this session, as far as this one is concerned.
    pub(crate) fn note_lost(&self, key: Uuid) {
        let mut lost = self.lost.borrow_mut();
        if lost.len() >= MAX_LOST {
            lost.remove(0);
        }
        lost.push(key);
    }

    /// Its close frame is on its way, or it has ended otherwise.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// The client asked for events of our own.
    pub(crate) fn wants_events(&self) -> bool {
        self.entry.borrow().as_ref().is_some_and(Entry::wants_events)
    }

    /// Somebody would take it: its task sees to that.
    pub(crate) fn give(&self, order: Order) {
        *self.order.borrow_mut() = Some(order);
        self.wake.notify_one();
    }

    /// Who would take it.
    pub(crate) fn take_order(&self) -> Option<Order> {
        self.order.borrow_mut().take()
    }

    /// The next event of our own for this client.
    pub(crate) fn take_notice(&self) -> Option<String> {
        self.entry.borrow().as_ref()?.take_notice()
    }

    /// The client's newest session, for the list of connections.
    pub(crate) fn show_session(&self, id: &str) {
        if let Some(entry) = &*self.entry.borrow() {
            entry.set_session(id);
        }
    }

    /// The only session of this connection.
    pub(crate) fn only_session(&self) -> Option<Rc<Session>> {
        match &**self.sessions.borrow() {
            [session] => Some(Rc::clone(session)),
            _ => None,
        }
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.borrow().len() - self.sent.get()
    }
}
