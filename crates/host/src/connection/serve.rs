//! The task of a connection: it reads, keeps the clocks, brings the client up to date, and says good-bye.

use super::Conn;
use crate::clients::Stop;
use crate::host::Inner;
use crate::search::{Found, Missing};
use myagent_core::config::ServiceConfig;
use myagent_relay::codec::{Incoming, MessageReader, Opcode, write_frame};
use myagent_relay::table::Entry;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, Sleep, sleep_until};

/// Silence after which a client is pinged.
const SILENCE: Duration = Duration::from_secs(25);
/// Time for its pong.
const PONG: Duration = Duration::from_secs(10);
/// Between two `system.heartbeat`s.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Time for the client to answer our close frame.
const LINGER: Duration = Duration::from_secs(1);
/// Beyond this much unsent, nothing more is read from the client.
const HIGH_WATER: usize = 1024 * 1024;
/// Messages of one client that are handled before the others have their turn.
const AT_ONCE: usize = 64;

type Searching = Pin<Box<dyn Future<Output = Found>>>;

/// A frame whose session is not here, while it is searched. Nothing is read meanwhile.
struct Search {
    frame: String,
    found: Searching,
}

enum Wake {
    Read(io::Result<usize>),
    Found(Found),
    Again,
    Timer,
    /// There is something of our own to say.
    Notice,
    Disconnect(u16, String),
}

/// The clocks of a connection: one timer, looked at only when it fires.
struct Clocks {
    heard: Instant,
    pinged: Option<Instant>,
    heartbeat: Instant,
    /// A client that has taken nothing for this long is dropped.
    patience: Duration,
}

impl Clocks {
    fn next(&self, stalled: Option<Instant>) -> Instant {
        let silence = self.pinged.map_or(self.heard + SILENCE, |pinged| pinged + PONG);
        let stalled = stalled.map_or(silence, |since| since + self.patience);
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
    let patience = ServiceConfig::seconds(inner.config.config.slow_client_timeout);
    let mut clocks = Clocks { heard: now, pinged: None, heartbeat: now + HEARTBEAT, patience };
    let mut timer = pin!(sleep_until(clocks.next(None)));
    let mut woken = pin!(conn.wake.notified());
    let mut at_end = false;
    let mut search: Option<Search> = None;
    loop {
        let may_read = search.is_none() && conn.unsent() < HIGH_WATER && !inner.worker_is_congested();
        let mut more = false;
        if may_read && !at_end {
            (search, more) = handle_messages(&inner, &conn, &mut reader, &mut clocks);
        }
        let replaying = inner.go_on_replaying(&conn);
        inner.flush();
        if conn.ending.borrow().is_some() || at_end {
            break;
        }
        if search.is_none()
            && let Some(order) = conn.take_order()
        {
            if inner.move_out(&conn, &reader, order).await {
                return inner.forget(&conn);
            }
            continue;
        }
        if more || replaying && conn.unsent() == 0 {
            // There is more to handle, or the socket took it all. Others may have something to do, too.
            tokio::task::yield_now().await;
            continue;
        }
        let may_read = may_read && search.is_none();
        let next = clocks.next(conn.stalled.get());
        if next < timer.deadline() {
            timer.as_mut().reset(next);
        }
        let searching = search.as_mut().map(|search| &mut search.found);
        let wake =
            wait(&inner, &conn, &mut read, &mut reader, may_read, searching, timer.as_mut(), woken.as_mut())
                .await;
        match wake {
            Wake::Read(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                conn.count(Entry::count_vanished);
                conn.end(1006, "the client's network does not answer");
            }
            Wake::Read(Ok(0) | Err(_)) => at_end = true,
            Wake::Read(Ok(_)) => {
                clocks.heard = Instant::now();
                clocks.pinged = None;
            }
            Wake::Found(found) => {
                let Some(Search { frame, .. }) = search.take() else { continue };
                match found {
                    // Whatever it may be told, it was told.
                    Found::Here => search = hear(&inner, &conn, frame, None),
                    Found::Missing(missing) => search = hear(&inner, &conn, frame, Some(&missing)),
                    Found::Elsewhere(willing, instance) => {
                        let unread = reader.unread_with(&frame);
                        match inner.pass(&conn, willing, &instance, &unread).await {
                            Ok(()) => return inner.forget(&conn),
                            Err(missing) => search = hear(&inner, &conn, frame, Some(&missing)),
                        }
                    }
                }
            }
            Wake::Again => woken.set(conn.wake.notified()),
            Wake::Timer => {
                tick(&inner, &conn, &mut clocks, may_read);
                timer.as_mut().reset(clocks.next(conn.stalled.get()));
            }
            Wake::Notice => inner.push_notices(&conn),
            // Without a word.
            Wake::Disconnect(1006, reason) => conn.end(1006, &reason),
            Wake::Disconnect(code, reason) => conn.close(&inner, code, &reason),
        }
    }
    inner.forget(&conn);
    conn.settle(&inner);
    inner.flush();
    finish(&conn, read, reader).await;
}

/// Deals with a text frame; if its session has to be searched, says so.
fn hear(inner: &Rc<Inner>, conn: &Rc<Conn>, frame: String, missing: Option<&Missing>) -> Option<Search> {
    match inner.client_text(conn, frame.as_bytes(), missing) {
        Ok(()) | Err(Stop::Told) => None,
        Err(Stop::Search(key)) => {
            let found = Box::pin(Rc::clone(inner).search(key, Inner::may_move(conn)));
            Some(Search { frame, found })
        }
    }
}

/// Waits for whatever comes first, reading into the buffer that all connections share.
async fn wait(
    inner: &Inner,
    conn: &Conn,
    read: &mut OwnedReadHalf,
    reader: &mut MessageReader,
    may_read: bool,
    mut searching: Option<&mut Searching>,
    mut timer: Pin<&mut Sleep>,
    mut woken: Pin<&mut tokio::sync::futures::Notified<'_>>,
) -> Wake {
    // Only waited for while the worker does not keep up; created before it is checked again, so that none is missed.
    let mut relieved = pin!(inner.relieved());
    poll_fn(|context| {
        if let Some(searching) = &mut searching {
            if let Poll::Ready(found) = searching.as_mut().poll(context) {
                return Poll::Ready(Wake::Found(found));
            }
        } else if may_read {
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
        if conn.entry.borrow().as_ref().is_some_and(Entry::has_notice) {
            return Poll::Ready(Wake::Notice);
        }
        if conn.stalled.get().is_some() && conn.poll_writable(context) {
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

/// Handles what has come. A search, if one is needed before the next message; and whether there may be more to handle.
fn handle_messages(
    inner: &Rc<Inner>,
    conn: &Rc<Conn>,
    reader: &mut MessageReader,
    clocks: &mut Clocks,
) -> (Option<Search>, bool) {
    for _ in 0..AT_ONCE {
        match reader.next() {
            Ok(None) => return (None, false),
            Ok(Some(Incoming::Text(text))) => {
                if let Some(entry) = &*conn.entry.borrow() {
                    entry.message_in(text.len() as u64);
                }
                let search = hear(inner, conn, text, None);
                if search.is_some() {
                    return (search, false);
                }
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
            return (None, false);
        }
    }
    (None, true)
}

fn tick(inner: &Rc<Inner>, conn: &Rc<Conn>, clocks: &mut Clocks, reading: bool) {
    let now = Instant::now();
    if conn.stalled.get().is_some_and(|since| now >= since + clocks.patience) {
        conn.count(Entry::count_slow);
        conn.end(1013, "slow_client");
        return;
    }
    if !reading {
        // What is not read cannot be heard.
        clocks.heard = now;
        clocks.pinged = None;
    }
    if clocks.pinged.is_some_and(|pinged| now >= pinged + PONG) {
        conn.count(Entry::count_vanished);
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
    let Some(socket) = conn.socket.borrow_mut().take() else { return };
    let farewell = async {
        while conn.closing.get() && conn.unsent() > 0 {
            if socket.writable().await.is_err() {
                return;
            }
            let mut out = conn.out.borrow_mut();
            match socket.try_write(&out[conn.sent.get()..]) {
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
    let _ = rustix::net::shutdown(socket.as_ref(), rustix::net::Shutdown::Both);
    let (code, reason) =
        conn.ending.borrow_mut().take().unwrap_or((1006, "ended without a close frame".to_owned()));
    if let Some(entry) = conn.entry.borrow_mut().take() {
        entry.close(code, &reason);
    }
}
