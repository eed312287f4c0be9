//! One client: its socket, its buffer, its clocks.
//!
//! [`Conn`] is what the rest of the host writes to; [`serve`] is the task that reads. A message costs no timer and no
//! wake of another task: whoever writes tries the socket at the end of its own wake-up, and only what does not fit is
//! left to the task. An idle connection holds no buffer.

use crate::host::Inner;
use crate::session::Session;
use myagent_core::ConnectionId;
use myagent_relay::codec::{Incoming, MessageReader, Opcode, write_close, write_frame};
use myagent_relay::table::Entry;
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// Silence after which a client is pinged.
const SILENCE: Duration = Duration::from_secs(25);
/// Time for its pong.
const PONG: Duration = Duration::from_secs(10);
/// Between two `system.heartbeat`s.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A client that has taken nothing for this long is dropped.
const STALLED: Duration = Duration::from_secs(30);
/// Time for the client to answer our close frame.
const LINGER: Duration = Duration::from_secs(1);
/// Beyond this much unsent, nothing more is read from the client.
const HIGH_WATER: usize = 1024 * 1024;
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
    /// Sessions with events in the buffer.
    unsettled: RefCell<Vec<Rc<Session>>>,
    socket: OwnedWriteHalf,
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
            unsettled: RefCell::default(),
            socket,
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

    /// The session has an event in the buffer.
    pub(crate) fn note_unsettled(&self, session: &Rc<Session>) {
        self.unsettled.borrow_mut().push(Rc::clone(session));
    }

    /// Writes what the socket takes. Once all is written, the sessions' credit goes back.
    pub(crate) fn flush(&self, inner: &Inner) {
        self.dirty.set(false);
        let mut out = self.out.borrow_mut();
        while self.sent.get() < out.len() {
            match self.socket.try_write(&out[self.sent.get()..]) {
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
            self.flush(inner);
            self.closing.set(true);
            self.end(code, reason);
        }
    }

    fn end(&self, code: u16, reason: &str) {
        self.ending.borrow_mut().get_or_insert_with(|| (code, reason.to_owned()));
        self.wake.notify_one();
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

    fn unsent(&self) -> usize {
        self.out.borrow().len() - self.sent.get()
    }
}

enum Wake {
    Read(io::Result<usize>),
    Again,
    Timer,
    Disconnect(u16, String),
}

/// The clocks of a connection: one timer, looked at only when it fires.
struct Clocks {
    heard: Instant,
    pinged: Option<Instant>,
    heartbeat: Instant,
}

impl Clocks {
    fn next(&self, stalled: Option<Instant>) -> Instant {
        let silence = self.pinged.map_or(self.heard + SILENCE, |pinged| pinged + PONG);
        let stalled = stalled.map_or(silence, |since| since + STALLED);
        self.heartbeat.min(silence).min(stalled)
    }
}

/// Serves a client from its 101 to its end.
pub(crate) async fn serve(
    inner: Rc<Inner>,
    conn: Rc<Conn>,
    mut read: OwnedReadHalf,
    mut reader: MessageReader,
) {
    let now = Instant::now();
    let mut clocks = Clocks { heard: now, pinged: None, heartbeat: now + HEARTBEAT };
    let mut timer = pin!(sleep_until(clocks.next(None)));
    let mut woken = pin!(conn.wake.notified());
    let mut at_end = false;
    loop {
        let may_read = conn.unsent() < HIGH_WATER && !inner.worker_is_congested();
        if may_read && !at_end {
            handle_messages(&inner, &conn, &mut reader, &mut clocks);
        }
        inner.flush();
        if conn.ending.borrow().is_some() || at_end {
            break;
        }
        let next = clocks.next(conn.stalled.get());
        if next < timer.deadline() {
            timer.as_mut().reset(next);
        }
        let wake =
            wait(&inner, &conn, &mut read, &mut reader, may_read, timer.as_mut(), woken.as_mut()).await;
        match wake {
            Wake::Read(Ok(0) | Err(_)) => at_end = true,
            Wake::Read(Ok(_)) => {
                clocks.heard = Instant::now();
                clocks.pinged = None;
            }
            Wake::Again => woken.set(conn.wake.notified()),
            Wake::Timer => {
                tick(&inner, &conn, &mut clocks, may_read);
                timer.as_mut().reset(clocks.next(conn.stalled.get()));
            }
            Wake::Disconnect(code, reason) => conn.close(&inner, code, &reason),
        }
    }
    inner.forget(&conn);
    conn.settle(&inner);
    inner.flush();
    finish(&conn, read, reader).await;
}

/// Waits for whatever comes first, reading into the buffer that all connections share.
async fn wait(
    inner: &Inner,
    conn: &Conn,
    read: &mut OwnedReadHalf,
    reader: &mut MessageReader,
    may_read: bool,
    mut timer: Pin<&mut Sleep>,
    mut woken: Pin<&mut tokio::sync::futures::Notified<'_>>,
) -> Wake {
    // Only waited for while the worker does not keep up; created before it is checked again, so that none is missed.
    let mut relieved = pin!(inner.relieved());
    poll_fn(|context| {
        if may_read {
            let mut shared = inner.read_buffer();
            let mut buffer = ReadBuf::new(&mut shared);
            if let Poll::Ready(result) = Pin::new(&mut *read).poll_read(context, &mut buffer) {
                let result = result.map(|()| buffer.filled().len());
                reader.push(buffer.filled());
                return Poll::Ready(Wake::Read(result));
            }
        } else if relieved.as_mut().poll(context).is_ready() {
            return Poll::Ready(Wake::Again);
        }
        if let Some(entry) = &*conn.entry.borrow()
            && let Poll::Ready((code, reason)) = entry.poll_disconnected(context)
        {
            return Poll::Ready(Wake::Disconnect(code, reason));
        }
        let writable =
            conn.stalled.get().is_some() && conn.socket.as_ref().poll_write_ready(context).is_ready();
        if writable {
            conn.flush(inner);
            // Credit goes back and reading may go on; if the socket is full again, this polls it again.
            return Poll::Ready(Wake::Again);
        }
        if woken.as_mut().poll(context).is_ready() {
            return Poll::Ready(Wake::Again);
        }
        timer.as_mut().poll(context).map(|()| Wake::Timer)
    })
    .await
}

fn handle_messages(inner: &Rc<Inner>, conn: &Rc<Conn>, reader: &mut MessageReader, clocks: &mut Clocks) {
    loop {
        match reader.next() {
            Ok(None) => return,
            Ok(Some(Incoming::Text(text))) => {
                if let Some(entry) = &*conn.entry.borrow() {
                    entry.message_in(text.len() as u64);
                }
                inner.client_text(conn, text.as_bytes());
            }
            Ok(Some(Incoming::Binary(bytes))) => {
                if let Some(entry) = &*conn.entry.borrow() {
                    entry.message_in(bytes.len() as u64);
                }
                inner.client_binary(conn);
            }
            Ok(Some(Incoming::Ping(payload))) => {
                // A probe asks for the agent, not for us.
                if !conn.probe || inner.worker_loop_ok() {
                    inner.push(conn, |out| write_frame(out, Opcode::Pong, &payload));
                }
            }
            Ok(Some(Incoming::Pong(_))) => clocks.pinged = None,
            Ok(Some(Incoming::Close { code, reason })) => {
                conn.peer_closed.set(true);
                let code = code.unwrap_or(1005);
                conn.close(inner, code, &reason);
            }
            Err(error) => conn.close(inner, error.code, error.reason),
        }
        if conn.ending.borrow().is_some() || conn.unsent() >= HIGH_WATER {
            return;
        }
    }
}

fn tick(inner: &Rc<Inner>, conn: &Rc<Conn>, clocks: &mut Clocks, reading: bool) {
    let now = Instant::now();
    if conn.stalled.get().is_some_and(|since| now >= since + STALLED) {
        conn.end(1013, "slow_client");
        return;
    }
    if !reading {
        // What is not read cannot be heard.
        clocks.heard = now;
        clocks.pinged = None;
    }
    if clocks.pinged.is_some_and(|pinged| now >= pinged + PONG) {
        conn.end(1006, "no pong within 10 s");
        return;
    }
    if clocks.pinged.is_none() && now >= clocks.heard + SILENCE {
        clocks.pinged = Some(now);
        inner.push(conn, |out| write_frame(out, Opcode::Ping, b"myagent"));
    }
    if now >= clocks.heartbeat {
        clocks.heartbeat = now + HEARTBEAT;
        if !conn.probe {
            inner.heartbeat(conn);
        }
    }
}

/// Lets the client have the last bytes, and closes the socket.
async fn finish(conn: &Conn, mut read: OwnedReadHalf, mut reader: MessageReader) {
    let farewell = async {
        while conn.closing.get() && conn.unsent() > 0 {
            if conn.socket.writable().await.is_err() {
                return;
            }
            let mut out = conn.out.borrow_mut();
            match conn.socket.try_write(&out[conn.sent.get()..]) {
                Ok(count) => {
                    out.drain(..conn.sent.replace(0) + count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        if conn.closing.get() && !conn.peer_closed.get() {
            let mut rest = [0u8; 1024];
            while let Ok(count @ 1..) = read.read(&mut rest).await {
                reader.push(&rest[..count]);
                while let Ok(Some(message)) = reader.next() {
                    if matches!(message, Incoming::Close { .. }) {
                        return;
                    }
                }
            }
        }
    };
    // However it ends, the socket is shut next.
    let _ = tokio::time::timeout(LINGER, farewell).await;
    // Explicitly: somebody else may still hold a descriptor of this socket. It may be gone already, which is as good.
    let _ = rustix::net::shutdown(conn.socket.as_ref(), rustix::net::Shutdown::Both);
    let (code, reason) =
        conn.ending.borrow_mut().take().unwrap_or((1006, "ended without a close frame".to_owned()));
    if let Some(entry) = conn.entry.borrow_mut().take() {
        entry.close(code, &reason);
    }
}
