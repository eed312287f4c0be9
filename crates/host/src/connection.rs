//! One client: its socket, its buffer, and how it moves to another runner.
//!
//! [`Conn`] is what the rest of the host writes to; [`serve()`] is the task that reads. A message costs no timer and no
//! wake of another task: whoever writes tries the socket at the end of its own wake-up, and only what does not fit is
//! left to the task. An idle connection holds no buffer.

mod serve;

pub(crate) use serve::serve;

use crate::host::Inner;
use crate::replay::Replay;
use crate::search::{self, Missing};
use crate::session::Session;
use myagent_core::ConnectionId;
use myagent_handover::Channel;
use myagent_relay::codec::{Opcode, write_close, write_frame};
use myagent_relay::table::Entry;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd as _;
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
    wake: Notify,
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
        let mut lost = self.lost.borrow_mut();
        if lost.len() >= MAX_LOST {
            lost.remove(0);
        }
        lost.push(session.key);
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

    /// Hands this connection to the runner at the other end of the channel, with what is unread. After `Ok` nothing of it
    /// is left here.
    async fn pass(
        &self,
        inner: &Inner,
        channel: &Channel,
        instance: &str,
        unread: &[u8],
    ) -> Result<(), Missing> {
        let not_now =
            |why: &str| Missing::NotNow(format!("the session is in instance {instance}, {why}; try again"));
        // What was said here comes before what is said there.
        inner.flush();
        if self.entry.borrow().as_ref().is_some_and(Entry::is_leaving) {
            return Err(not_now("and this connection is being closed"));
        }
        if self.unsent() > 0 {
            return Err(not_now("and this connection has not taken what was sent to it"));
        }
        let entry = self.entry.borrow().as_ref().map(Entry::connection);
        let socket = self.socket.borrow_mut().take();
        let (Some(connection), Some(socket)) = (entry, socket) else {
            return Err(not_now("and this is no client"));
        };
        match search::pass(channel, socket.as_ref().as_fd(), connection, unread).await {
            Ok(()) => {
                // Without a shutdown: it lives on.
                socket.forget();
                if let Some(entry) = self.entry.borrow_mut().take() {
                    entry.close_moved(MOVED, &format!("went on in instance {instance}"));
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(instance, %error, "a client could not be handed over");
                *self.socket.borrow_mut() = Some(socket);
                Err(not_now("which does not answer"))
            }
        }
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
