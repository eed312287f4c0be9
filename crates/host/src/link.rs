//! The socket between host and worker: lines in both directions, and a question now and then whether the loop turns.

use crate::host::Inner;
use crate::line::{self, FirstLine, PROTOCOL, WorkerReady};
use crate::recycle::Recycling;
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncRead as _, AsyncWriteExt as _, BufReader, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The worker's modules, in the order in which they are loaded.
const MODULES: &[(&str, &str)] = &[
    ("myagent_channel", include_str!("worker/channel.py")),
    ("myagent_watch", include_str!("worker/watch.py")),
    ("myagent_session", include_str!("worker/session.py")),
    ("myagent_agent", include_str!("worker/agent.py")),
    ("myagent_worker", crate::WORKER_SOURCE),
];

/// Between two pings.
const PING: Duration = Duration::from_secs(5);
/// A ping unanswered for this long: the loop is blocked.
const BLOCKED: Duration = Duration::from_secs(5);
/// Beyond this much unsent, nothing more is read from clients.
const HIGH_WATER: usize = 4 * 1024 * 1024;
/// Longest line of a worker.
const MAX_LINE: usize = 64 * 1024 * 1024;
/// Longest first line.
const MAX_FIRST_LINE: u64 = 64 * 1024;
/// Largest buffer that is kept.
const KEEP: usize = 64 * 1024;

/// Why a worker has not loaded its agent file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The worker's own message, for Python: a syntax error with its line, a missing module, or what is missing in the file.
    #[error("{0}")]
    Failed(String),
    /// The process ended, or closed its socket, before it was done.
    #[error("the worker ended before it had loaded the agent file")]
    Ended,
    /// It says something that is not in the protocol.
    #[error("cannot talk to the worker: {0}")]
    Protocol(String),
    /// The socket does not work.
    #[error("cannot talk to the worker")]
    Io(#[from] io::Error),
}

/// A worker that has loaded its agent file.
pub(crate) struct Worker {
    /// Counts the workers, from 1.
    pub(crate) generation: u64,
    /// What it said about its agent.
    pub(crate) ready: WorkerReady,
    /// Its turns that do not end.
    pub(crate) recycling: Recycling,
    socket: OwnedWriteHalf,
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    blocked: Cell<bool>,
    /// Its task will flush in this turn of the runtime.
    flushing: Cell<bool>,
    wake: Notify,
    gone: Cell<bool>,
    pings: Cell<u64>,
    asked: Cell<Option<Instant>>,
    told: Cell<bool>,
}

/// What the embedded worker is told first: its own source.
pub(crate) fn source() -> Vec<u8> {
    let mut source = Vec::new();
    line::modules(&mut source, MODULES);
    source
}

/// Tells the worker the first line and waits until it has loaded the agent file.
pub(crate) async fn load(
    stream: std::os::unix::net::UnixStream,
    generation: u64,
    first_line: Vec<u8>,
) -> Result<(Worker, BufReader<OwnedReadHalf>), LoadError> {
    stream.set_nonblocking(true)?;
    let (read, mut socket) = UnixStream::from_std(stream)?.into_split();
    if socket.write_all(&first_line).await.is_err() {
        return Err(LoadError::Ended);
    }
    let mut read = BufReader::new(read);
    let mut first = Vec::new();
    let mut bounded = tokio::io::AsyncReadExt::take(&mut read, MAX_FIRST_LINE);
    bounded.read_until(b'\n', &mut first).await?;
    if first.last() != Some(&b'\n') {
        return Err(LoadError::Ended);
    }
    match serde_json::from_slice(&first).map_err(|error| LoadError::Protocol(error.to_string()))? {
        FirstLine::LoadFailed { message } => Err(LoadError::Failed(message)),
        FirstLine::Ready { protocol, .. } if protocol != PROTOCOL => {
            Err(LoadError::Protocol(format!("it speaks version {protocol}, not {PROTOCOL}")))
        }
        FirstLine::Ready { ready, .. } => {
            let worker = Worker {
                generation,
                ready,
                recycling: Recycling::default(),
                socket,
                out: RefCell::default(),
                sent: Cell::default(),
                blocked: Cell::default(),
                flushing: Cell::default(),
                wake: Notify::new(),
                gone: Cell::default(),
                pings: Cell::default(),
                asked: Cell::default(),
                told: Cell::default(),
            };
            Ok((worker, read))
        }
    }
}

impl Worker {
    /// Appends lines; they go with the next flush.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out.borrow_mut());
    }

    /// Has its task write what was pushed, and the journal before it, after the tasks that can run now: what many clients
    /// say at once goes in one write. False: there is nothing that it could write.
    pub(crate) fn flush_soon(&self) -> bool {
        if self.out.borrow().is_empty() || self.blocked.get() {
            return false;
        }
        if !self.flushing.replace(true) {
            self.wake.notify_one();
        }
        true
    }

    /// Writes what the socket takes; true: it was congested and is not any more.
    pub(crate) fn flush(&self) -> bool {
        let mut out = self.out.borrow_mut();
        if out.is_empty() {
            return false;
        }
        let congested = out.len() - self.sent.get() >= HIGH_WATER;
        while self.sent.get() < out.len() {
            match self.socket.try_write(&out[self.sent.get()..]) {
                Ok(count) => self.sent.set(self.sent.get() + count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.blocked.replace(true) {
                        self.wake.notify_one();
                    }
                    return congested && out.len() - self.sent.get() < HIGH_WATER;
                }
                Err(_) => {
                    self.leave();
                    break;
                }
            }
        }
        self.blocked.set(false);
        self.sent.set(0);
        if out.capacity() > KEEP {
            *out = Vec::new()
        } else {
            out.clear()
        }
        congested
    }

    /// More is waiting for it than it takes.
    pub(crate) fn is_congested(&self) -> bool {
        self.out.borrow().len() - self.sent.get() >= HIGH_WATER
    }

    /// Its loop has answered the last ping, or still has time to.
    pub(crate) fn loop_ok(&self) -> bool {
        self.asked.get().is_none_or(|asked| asked.elapsed() < BLOCKED)
    }

    /// It answered a ping.
    pub(crate) fn pong(&self) {
        self.asked.set(None);
        self.told.set(false);
    }

    /// It has reported a blocked loop itself, so nobody else needs to.
    pub(crate) fn reported(&self) {
        self.told.set(true);
    }

    /// Ends its task.
    pub(crate) fn leave(&self) {
        self.gone.set(true);
        self.wake.notify_one();
    }
}

enum Wake {
    Read(io::Result<usize>),
    Writable,
    Woken,
    Ping,
}

/// Reads what the worker says until it is gone.
pub(crate) async fn serve(inner: Rc<Inner>, worker: Rc<Worker>, read: BufReader<OwnedReadHalf>) {
    let mut tail = read.buffer().to_vec();
    let mut read = read.into_inner();
    let mut timer = pin!(sleep(PING));
    let mut woken = pin!(worker.wake.notified());
    handle_lines(&inner, &worker, &mut tail, 0);
    while !worker.gone.get() {
        worker.flushing.set(false);
        inner.config.journal.flush();
        if worker.flush() {
            inner.relieve();
        }
        let known = tail.len();
        let wake = poll_fn(|context| {
            let mut shared = inner.read_buffer();
            let mut buffer = ReadBuf::new(&mut shared);
            if let Poll::Ready(result) = Pin::new(&mut read).poll_read(context, &mut buffer) {
                let result = result.map(|()| buffer.filled().len());
                tail.extend_from_slice(buffer.filled());
                return Poll::Ready(Wake::Read(result));
            }
            drop(shared);
            if worker.blocked.get() && worker.socket.as_ref().poll_write_ready(context).is_ready() {
                return Poll::Ready(Wake::Writable);
            }
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Wake::Woken);
            }
            timer.as_mut().poll(context).map(|()| Wake::Ping)
        })
        .await;
        match wake {
            Wake::Read(Ok(1..)) => {
                worker.flushing.set(true); // This task is awake.
                handle_lines(&inner, &worker, &mut tail, known);
                inner.look_at_stuck(&worker);
                if tail.len() > MAX_LINE {
                    inner.notice("worker_protocol", format!("a line of more than {MAX_LINE} bytes"));
                    break;
                }
            }
            Wake::Read(_) => break,
            Wake::Writable => {}
            Wake::Woken => woken.set(worker.wake.notified()),
            Wake::Ping => {
                ask(&inner, &worker);
                inner.look_at_stuck(&worker);
                timer.set(sleep(PING));
            }
        }
    }
    inner.worker_ended(&worker);
}

fn ask(inner: &Inner, worker: &Worker) {
    if let Some(asked) = worker.asked.get() {
        // The worker's own watchdog has the stack; if not even that can speak, somebody holds the interpreter.
        if asked.elapsed() >= 2 * BLOCKED && !worker.told.replace(true) {
            inner.notice("loop_blocked", "the agent's process does not answer (no stack)".to_owned());
        }
        return;
    }
    let number = worker.pings.get() + 1;
    worker.pings.set(number);
    worker.asked.set(Some(Instant::now()));
    worker.push(|out| line::ping(out, number));
}

/// Handles the whole lines and leaves the rest. There is no line end before `known`.
fn handle_lines(inner: &Rc<Inner>, worker: &Rc<Worker>, tail: &mut Vec<u8>, known: usize) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &tail[known..]) {
        if worker.gone.get() {
            break;
        }
        inner.worker_line(worker, &tail[start..known + end]);
        start = known + end + 1;
    }
    if start == tail.len() && tail.capacity() > KEEP {
        *tail = Vec::new();
    } else {
        tail.drain(..start);
    }
    inner.flush();
}
