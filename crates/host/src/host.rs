//! What all parts of the host share, and the runner's handle on it.

use crate::connection::{Conn, serve};
use crate::event::{self, Event};
use crate::line::{self, WorkerReady};
use crate::link::{self, LoadError, Worker};
use crate::roster::sweep;
use crate::session::{Session, State};
use crate::text::{Stamp, quote};
use myagent_core::config::ServiceConfig;
use myagent_core::wire::handover::Refusal;
use myagent_core::{Clock, ConnectionId};
use myagent_relay::client::{Client, GivenBack};
use myagent_relay::codec::MessageReader;
use myagent_relay::handshake::Upgrade;
use myagent_relay::table::{Entry, Table};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// One read takes at most this much.
const READ: usize = 64 * 1024;
/// Write buffers kept for reuse.
const MAX_SPARE: usize = 16;
/// Credit is given back to the worker in portions of at least this many bytes.
const CREDIT_PORTION: usize = 64 * 1024;
/// How long a stop waits for clients to take their last bytes.
const STOP: Duration = Duration::from_secs(2);

/// What a host needs to know.
pub struct HostConfig {
    /// Name of the service.
    pub service: String,
    /// Name of the instance: `weather-0`.
    pub instance: String,
    /// The service's settings.
    pub config: ServiceConfig,
    /// The agent file.
    pub agent_file: PathBuf,
    /// Wall clock, for the timestamps of events.
    pub clock: Arc<dyn Clock>,
    /// Gets a kind (`loop_blocked`, `thread_stuck`, `worker_protocol`) and a sentence; when it is full they are dropped.
    pub notices: mpsc::Sender<(String, String)>,
    /// A new random id, for sessions and for clients that come directly.
    pub random_id: fn() -> uuid::Uuid,
}

/// The host of one agent file; a cheap handle.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: HostConfig,
    pub(crate) table: Table,
    pub(crate) sessions: RefCell<HashMap<String, Rc<Session>>>,
    pub(crate) numbers: RefCell<HashMap<u64, Rc<Session>>>,
    pub(crate) conns: RefCell<HashMap<ConnectionId, Rc<Conn>>>,
    pub(crate) worker: RefCell<Option<Rc<Worker>>>,
    /// Newest worker generation; also those that never became ready count.
    generation: Cell<u64>,
    /// Newest number given to a session or turn.
    newest: Cell<u64>,
    pub(crate) created: Cell<u64>,
    pub(crate) detached: Cell<u32>,
    pub(crate) detached_busy: Cell<u32>,
    pending_heads: Cell<usize>,
    /// Sessions that end with this wake-up.
    pub(crate) doomed: RefCell<Vec<Rc<Session>>>,
    sweeping: Cell<bool>,
    stopping: Cell<bool>,
    dirty: RefCell<Vec<Rc<Conn>>>,
    stamp: RefCell<Stamp>,
    scratch: RefCell<Vec<u8>>,
    shared: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Vec<u8>>>,
    relief: Notify,
}

impl Host {
    /// A host without a worker; it takes no client before one is attached.
    pub fn new(config: HostConfig, table: Table) -> Self {
        Self {
            inner: Rc::new(Inner {
                config,
                table,
                sessions: RefCell::default(),
                numbers: RefCell::default(),
                conns: RefCell::default(),
                worker: RefCell::default(),
                generation: Cell::default(),
                newest: Cell::default(),
                created: Cell::default(),
                detached: Cell::default(),
                detached_busy: Cell::default(),
                pending_heads: Cell::default(),
                doomed: RefCell::default(),
                sweeping: Cell::default(),
                stopping: Cell::default(),
                dirty: RefCell::default(),
                stamp: RefCell::default(),
                scratch: RefCell::default(),
                shared: RefCell::new(vec![0; READ].into_boxed_slice()),
                spare: RefCell::default(),
                relief: Notify::new(),
            }),
        }
    }

    /// A worker process was started; this is our end of its socket pair. Returns once it has loaded the agent file, or
    /// says why it has not. Sessions and messages that waited for a worker go on. To be called inside a `LocalSet`.
    pub async fn attach_worker(&self, stream: UnixStream) -> Result<WorkerReady, LoadError> {
        let inner = &self.inner;
        let generation = inner.generation.get() + 1;
        inner.generation.set(generation);
        let (worker, read) = link::load(stream, generation).await?;
        let worker = Rc::new(worker);
        let ready = worker.ready.clone();
        if let Some(old) = inner.worker.borrow_mut().replace(Rc::clone(&worker)) {
            old.leave();
        }
        spawn_local(link::serve(Rc::clone(inner), Rc::clone(&worker), read));
        if !inner.sweeping.replace(true) {
            spawn_local(sweep(Rc::downgrade(inner)));
        }
        inner.worker_attached();
        inner.flush();
        Ok(ready)
    }

    /// The worker's process is dead. Turns are repeated or told to their clients; new ones wait for the next worker.
    /// Does nothing if that is known already.
    pub fn worker_lost(&self) {
        let worker = self.inner.worker.borrow().clone();
        if let Some(worker) = worker {
            self.inner.worker_ended(&worker);
        }
    }

    /// A worker is attached and has loaded the agent file.
    pub fn is_ready(&self) -> bool {
        self.inner.worker.borrow().is_some() && !self.inner.stopping.get()
    }

    /// The worker's event loop answers (or has not had the time to answer yet). False without a worker.
    pub fn worker_loop_ok(&self) -> bool {
        self.inner.worker_loop_ok()
    }

    /// Takes a client, or gives it back before a byte was written to it. The future serves it to its end.
    #[expect(clippy::result_large_err, reason = "the client itself is given back, and refusals are rare")]
    pub fn begin(&self, client: Client) -> Result<impl Future<Output = ()> + 'static, GivenBack> {
        let inner = Rc::clone(&self.inner);
        if inner.stopping.get() || inner.table.draining() {
            return Err(GivenBack::new(client, Refusal::Draining, "the instance is draining"));
        }
        if !self.is_ready() {
            return Err(GivenBack::new(client, Refusal::NotReady, "the agent's worker is not up"));
        }
        if inner.table.is_full() {
            return Err(GivenBack::new(client, Refusal::Full, "all places of the instance are taken"));
        }
        let upgrade = Upgrade::parse(&client.head);
        let agent = upgrade.as_ref().ok().and_then(|upgrade| upgrade.header("user-agent").map(str::to_owned));
        let entry = inner.table.open(&client.offer, agent);
        Ok(async move {
            let Ok(stream) = tokio::net::TcpStream::from_std(client.stream) else { return };
            match upgrade {
                Ok(upgrade) => {
                    inner
                        .welcome(client.offer.connection_id, Some(entry), &upgrade, stream, &client.rest)
                        .await;
                }
                Err(error) => {
                    let status = error.status();
                    crate::listen::refuse(stream, &error.response()).await;
                    entry.close(1006, &format!("answered with HTTP {status}: no WebSocket handshake"));
                }
            }
        })
    }

    /// Serves clients, and our own health probes, that come to the agent's own port. Runs until it is dropped.
    pub async fn listen(&self, listener: TcpListener) {
        crate::listen::accept(Rc::clone(&self.inner), listener).await;
    }

    /// Sessions with a connection, and without one.
    pub fn sessions(&self) -> (u32, u32) {
        let all = u32::try_from(self.inner.sessions.borrow().len()).unwrap_or(u32::MAX);
        let detached = self.inner.detached.get() + self.inner.detached_busy.get();
        (all.saturating_sub(detached), detached)
    }

    /// Tells the clients of running turns, closes all connections with this code and reason, and tells the worker to
    /// end. Returns when the clients have their last bytes, at the latest after two seconds.
    pub async fn stop(&self, code: u16, reason: &str) {
        let inner = &self.inner;
        inner.stopping.set(true);
        inner.interrupt_turns();
        inner.flush();
        let conns: Vec<_> = inner.conns.borrow().values().cloned().collect();
        for conn in conns {
            conn.close(inner, code, reason);
        }
        let gone = async {
            while inner.table.open_count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Whoever has not taken its last bytes by then is cut off.
        let _ = timeout(STOP, gone).await;
        if let Some(worker) = inner.worker() {
            worker.push(line::end);
            worker.flush();
        }
    }
}

impl Inner {
    pub(crate) fn worker(&self) -> Option<Rc<Worker>> {
        self.worker.borrow().clone()
    }

    /// Forgets the worker, if it is the current one; true: it was.
    pub(crate) fn drop_worker(&self, worker: &Rc<Worker>) -> bool {
        let mut current = self.worker.borrow_mut();
        let was = current.as_ref().is_some_and(|current| Rc::ptr_eq(current, worker));
        if was {
            *current = None;
            self.relief.notify_waiters();
        }
        was
    }

    pub(crate) fn worker_loop_ok(&self) -> bool {
        self.worker.borrow().as_ref().is_some_and(|worker| worker.loop_ok())
    }

    pub(crate) fn worker_is_congested(&self) -> bool {
        self.worker.borrow().as_ref().is_some_and(|worker| worker.is_congested())
    }

    /// Resolves when the worker takes more again.
    pub(crate) fn relieved(&self) -> tokio::sync::futures::Notified<'_> {
        self.relief.notified()
    }

    pub(crate) fn relieve(&self) {
        self.relief.notify_waiters();
    }

    pub(crate) fn notice(&self, kind: &str, message: String) {
        tracing::warn!(instance = self.config.instance, kind, message);
        // Notices are hints: when nobody takes them they are in the log.
        let _ = self.config.notices.try_send((kind.to_owned(), message));
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.newest.set(self.newest.get() + 1);
        self.newest.get()
    }

    /// The buffer that all reads of this thread share.
    pub(crate) fn read_buffer(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.shared.borrow_mut(), |buffer| &mut **buffer)
    }

    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn keep_buffer(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.capacity() > 0 && spare.len() < MAX_SPARE {
            spare.push(buffer);
        }
    }

    /// Writes what this wake-up has put into the buffers: to clients, then to the worker.
    pub(crate) fn flush(&self) {
        self.remove_doomed();
        let mut dirty = std::mem::take(&mut *self.dirty.borrow_mut());
        for conn in dirty.drain(..) {
            conn.flush(self);
        }
        let mut current = self.dirty.borrow_mut();
        if current.is_empty() {
            *current = dirty; // For its capacity.
        }
        drop(current);
        if let Some(worker) = &*self.worker.borrow()
            && worker.flush()
        {
            self.relieve();
        }
    }

    /// Appends bytes to a client's buffer.
    pub(crate) fn push(&self, conn: &Rc<Conn>, write: impl FnOnce(&mut Vec<u8>)) {
        if conn.push(self, write) {
            self.dirty.borrow_mut().push(Rc::clone(conn));
        }
    }

    fn push_text(&self, conn: &Rc<Conn>, text: &[u8]) {
        if conn.push_text(self, text) {
            self.dirty.borrow_mut().push(Rc::clone(conn));
        }
    }

    /// An event of a session: numbered, in the log, and then on its way to whoever listens. `cost` is what it took of
    /// the worker's credit.
    pub(crate) fn emit(&self, session: &Rc<Session>, state: &mut State, event: &Event<'_>, cost: usize) {
        let seq = event.is_numbered().then(|| state.log.last_seq() + 1);
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        {
            let mut stamp = self.stamp.borrow_mut();
            event.write(&mut scratch, Some(&session.id), stamp.write(self.config.clock.now()), seq);
        }
        if let Some(seq) = seq {
            state.log.append(seq, &scratch);
        }
        let conn = session.conn.borrow();
        let Some(conn) = &*conn else {
            self.give_back(session, state, cost);
            return;
        };
        event::finish(&mut scratch, conn.id);
        self.push_text(conn, &scratch);
        if cost > 0 {
            if state.unsent == 0 {
                conn.note_unsettled(session);
            }
            state.unsent += cost;
        }
    }

    /// An event without a session, or about one without being part of it.
    pub(crate) fn tell(&self, conn: &Rc<Conn>, session: Option<&str>, event: &Event<'_>) {
        let mut scratch = self.scratch.borrow_mut();
        scratch.clear();
        event.write(&mut scratch, session, self.stamp.borrow_mut().write(self.config.clock.now()), None);
        event::finish(&mut scratch, conn.id);
        self.push_text(conn, &scratch);
    }

    /// Events that were logged before.
    pub(crate) fn replay(&self, conn: &Rc<Conn>, events: &[&[u8]]) {
        let mut scratch = self.scratch.borrow_mut();
        for event in events {
            scratch.clear();
            scratch.extend_from_slice(event);
            event::finish(&mut scratch, conn.id);
            self.push_text(conn, &scratch);
        }
    }

    /// A message that is no event.
    pub(crate) fn tell_raw(&self, conn: &Rc<Conn>, text: &[u8]) {
        self.push_text(conn, text);
    }

    pub(crate) fn heartbeat(&self, conn: &Rc<Conn>) {
        self.tell(conn, None, &Event::new(event::HEARTBEAT, "\"\""));
    }

    /// What was in the buffer of the session's client is written.
    pub(crate) fn settle(&self, session: &Rc<Session>) {
        let mut state = session.state.borrow_mut();
        let bytes = std::mem::take(&mut state.unsent);
        self.give_back(session, &mut state, bytes);
    }

    /// The worker may send so much more for this session.
    pub(crate) fn give_back(&self, session: &Session, state: &mut State, bytes: usize) {
        state.owed += bytes;
        if state.owed >= CREDIT_PORTION {
            let bytes = std::mem::take(&mut state.owed);
            if let Some(worker) = &*self.worker.borrow()
                && worker.generation == state.opened_in
            {
                worker.push(|out| line::credit(out, session.number, bytes));
            }
        }
    }

    /// Answers the handshake and serves the client.
    pub(crate) async fn welcome(
        self: &Rc<Self>,
        id: ConnectionId,
        entry: Option<Entry>,
        upgrade: &Upgrade,
        stream: tokio::net::TcpStream,
        rest: &[u8],
    ) {
        // Small answers must not wait for the acknowledgement of earlier ones; without it they are only slower.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let conn = Rc::new(Conn::new(id, entry, write));
        let head = upgrade.response_101(&[
            ("X-MyAgent-Service", &self.config.service),
            ("X-MyAgent-Instance", &self.config.instance),
            ("X-MyAgent-Connection-Id", &id.to_string()),
        ]);
        self.push(&conn, |out| out.extend_from_slice(&head));
        let mut reader = MessageReader::new(self.config.config.max_message_kb as usize * 1024);
        reader.push(rest);
        self.conns.borrow_mut().insert(id, Rc::clone(&conn));
        if !conn.probe {
            let content =
                quote(&format!("Connected to {}. Send user.create_session to begin.", self.config.service));
            let metadata = format!("{{\"connection_id\":\"{id}\"}}");
            self.tell(&conn, None, &Event::new(event::CONNECTED, &content).with(&metadata));
        }
        serve(Rc::clone(self), conn, read, reader).await;
    }

    /// Why no client is taken, if none is.
    pub(crate) fn why_not(&self) -> Option<&'static str> {
        if self.stopping.get() || self.table.draining() {
            Some("the instance is draining")
        } else if self.worker.borrow().is_none() {
            Some("the agent's worker is not up")
        } else if self.table.is_full() {
            Some("all places of the instance are taken")
        } else {
            None
        }
    }

    /// A place among the requests whose head is being read; none: there are too many.
    pub(crate) fn pending_head(self: &Rc<Self>, limit: usize) -> Option<PendingHead> {
        let head = PendingHead { inner: Rc::clone(self) };
        self.pending_heads.set(self.pending_heads.get() + 1);
        (self.pending_heads.get() <= limit).then_some(head)
    }
}

/// A request whose head is being read.
pub(crate) struct PendingHead {
    inner: Rc<Inner>,
}

impl Drop for PendingHead {
    fn drop(&mut self) {
        self.inner.pending_heads.set(self.inner.pending_heads.get() - 1);
    }
}
