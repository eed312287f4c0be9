//! What all parts of the host share, and the runner's handle on it.

mod arrival;
mod output;

use crate::connection::Conn;
use crate::drain::Stage;
use crate::line::{self, WorkerReady};
use crate::link::{self, LoadError, Worker};
use crate::roster::sweep;
use crate::session::Session;
use crate::stats::SessionStats;
use crate::text::Stamp;
use myagent_core::config::ServiceConfig;
use myagent_core::wire::handover::{Moved, Refusal};
use myagent_core::{Clock, ConnectionId};
use myagent_journal::{CleanedUp, Journal, clean_up};
use myagent_relay::client::{Client, GivenBack};
use myagent_relay::handshake::Upgrade;
use myagent_relay::table::{Place, Table};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

/// One read takes at most this much.
const READ: usize = 64 * 1024;
/// Write buffers kept for reuse.
const MAX_SPARE: usize = 16;
/// Sessions of dead runners that are read at once.
const MAX_SEARCHES: usize = 8;
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
    pub random_id: fn() -> Uuid,
    /// Where the sessions are kept.
    pub journal: Journal,
    /// The folder of the service's journals, this one's and others'.
    pub journal_folder: PathBuf,
}

impl HostConfig {
    /// What is to be done now and then about the journals of runners that died. Blocking.
    pub(crate) fn clean_up(&self) -> impl FnOnce() -> CleanedUp + Send + 'static {
        let folder = self.journal_folder.clone();
        let keep = ServiceConfig::seconds(self.config.session_timeout);
        let max_bytes = u64::from(self.config.journal_max_mb) * 1024 * 1024;
        let now = self.clock.now();
        move || clean_up(&folder, keep, max_bytes, now)
    }
}

/// The host of one agent file; a cheap handle.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: HostConfig,
    pub(crate) table: Table,
    pub(crate) stats: SessionStats,
    /// Sessions in memory; the journal may know others.
    pub(crate) sessions: RefCell<HashMap<Uuid, Rc<Session>>>,
    pub(crate) numbers: RefCell<HashMap<u64, Rc<Session>>>,
    pub(crate) conns: RefCell<HashMap<ConnectionId, Rc<Conn>>>,
    pub(crate) worker: RefCell<Option<Rc<Worker>>>,
    /// What the newest worker said about the agent.
    pub(crate) said: RefCell<WorkerReady>,
    /// How many sessions may be taken over from dead runners at once.
    pub(crate) searches: Semaphore,
    /// There is no worker because the last one was given up for a fresh one; clients need not know.
    pub(crate) replacing: Cell<bool>,
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
    /// No turn begins any more.
    pub(crate) stopping: Cell<bool>,
    /// How far a drain is.
    pub(crate) drain: Cell<Stage>,
    /// Something has changed that a drain may wait for.
    pub(crate) drain_wake: Notify,
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
                stats: SessionStats::default(),
                sessions: RefCell::default(),
                numbers: RefCell::default(),
                conns: RefCell::default(),
                worker: RefCell::default(),
                said: RefCell::default(),
                searches: Semaphore::new(MAX_SEARCHES),
                replacing: Cell::default(),
                generation: Cell::default(),
                newest: Cell::default(),
                created: Cell::default(),
                detached: Cell::default(),
                detached_busy: Cell::default(),
                pending_heads: Cell::default(),
                doomed: RefCell::default(),
                sweeping: Cell::default(),
                stopping: Cell::default(),
                drain: Cell::default(),
                drain_wake: Notify::new(),
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
        self.attach(stream, link::source()).await
    }

    /// The same for a worker that is a program of its own, and not the embedded one.
    pub async fn attach_other_worker(&self, stream: UnixStream) -> Result<WorkerReady, LoadError> {
        let mut first_line = Vec::new();
        let config = &self.inner.config;
        line::start_of_protocol(&mut first_line, &config.service, &config.instance);
        self.attach(stream, first_line).await
    }

    async fn attach(&self, stream: UnixStream, first_line: Vec<u8>) -> Result<WorkerReady, LoadError> {
        let inner = &self.inner;
        let generation = inner.generation.get() + 1;
        inner.generation.set(generation);
        let (worker, read) = link::load(stream, generation, first_line).await?;
        let worker = Rc::new(worker);
        let ready = worker.ready.clone();
        inner.said.replace(ready.clone());
        if let Some(old) = inner.worker.borrow_mut().replace(Rc::clone(&worker)) {
            old.leave();
        }
        inner.replacing.set(false);
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
        self.inner.replacing.set(false);
        let worker = self.inner.worker.borrow().clone();
        if let Some(worker) = worker {
            self.inner.worker_ended(&worker);
        }
    }

    /// Waits until the worker that is attached now is gone. True: it was given up because turns in it did not end; its
    /// process is to be ended, and another one started at once. Until then clients are taken as if nothing had happened.
    pub async fn worker_gone(&self) -> bool {
        let worker = self.inner.worker.borrow().clone();
        match worker {
            Some(worker) => {
                worker.recycling.until_left().await;
                worker.recycling.is_over()
            }
            None => self.inner.replacing.get(),
        }
    }

    /// It has given up its worker and waits for a fresh one.
    pub fn replaces_worker(&self) -> bool {
        self.inner.replacing.get()
    }

    /// A worker is attached and has loaded the agent file, or is just being replaced.
    pub fn is_ready(&self) -> bool {
        self.inner.has_worker() && !self.inner.stopping.get()
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
        let upgrade = Upgrade::parse(&client.head);
        if inner.table.is_full() && !upgrade.as_ref().is_ok_and(|upgrade| inner.brings_its_place(upgrade)) {
            return Err(GivenBack::new(client, Refusal::Full, "all places of the instance are taken"));
        }
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

    /// Another runner asks whether the session is here and its client welcome. While we are drained it is let go of if nothing
    /// of it runs: then it is not here any more, and whoever asks finds it free.
    pub fn is_willing(&self, session: Uuid) -> Result<(), (Refusal, &'static str)> {
        let inner = &self.inner;
        if inner.stopping.get() {
            return Err((Refusal::Draining, "the instance that has the session is being stopped; try again"));
        }
        if !inner.config.journal.contains(session) {
            return Err((Refusal::UnknownSession, "the session is not here"));
        }
        match inner.drain.get() {
            Stage::Moving | Stage::Ending if inner.give_away(session) => {
                return Err((Refusal::UnknownSession, "the session is not here any more"));
            }
            Stage::None | Stage::Moving => {}
            Stage::Ending => {
                return Err((Refusal::Draining, "the instance that has the session is ending; try again"));
            }
        }
        if inner.table.is_full() && !inner.takes_place(session) {
            return Err((
                Refusal::Full,
                "all places of the instance that has the session are taken; try again",
            ));
        }
        Ok(())
    }

    /// Another runner asks whether a client may come with its sessions. If so, the place is kept as long as the answer is.
    pub fn would_take(&self) -> Result<(Place, u32), (Refusal, &'static str)> {
        let inner = &self.inner;
        self.may_take()?;
        if inner.table.is_full() {
            return Err((Refusal::Full, "all places of the instance are taken"));
        }
        let place = inner.table.reserve();
        Ok((place, inner.table.places()))
    }

    /// Places in use.
    pub fn places(&self) -> u32 {
        self.inner.table.places()
    }

    fn may_take(&self) -> Result<(), (Refusal, &'static str)> {
        let inner = &self.inner;
        if inner.stopping.get() || inner.table.draining() || inner.drain.get() != Stage::None {
            return Err((Refusal::Draining, "the instance is draining"));
        }
        if !self.is_ready() || !inner.worker_loop_ok() {
            return Err((Refusal::NotReady, "the agent's worker is not up, or does not answer"));
        }
        Ok(())
    }

    /// Adopts the sessions that a client brings. Afterwards [`Host::take_over`] is to follow, once the other runner has been told;
    /// after an error nothing has happened.
    pub async fn adopt(&self, moved: &Moved) -> Result<(), (Refusal, &'static str)> {
        self.may_take()?;
        for session in moved.brings.iter().flatten() {
            self.inner.regain(session.id).await;
        }
        Ok(())
    }

    /// Takes a client that another runner hands over in the middle of its connection, and serves it to its end. `raw`: what is
    /// unread, and what is unsent.
    pub fn take_over(
        &self,
        moved: Moved,
        raw: Vec<u8>,
        stream: std::net::TcpStream,
    ) -> impl Future<Output = ()> + 'static {
        let inner = Rc::clone(&self.inner);
        let entry = inner.table.open_moved(&moved);
        async move {
            let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
            inner.go_on_with(moved, entry, stream, &raw).await;
        }
    }

    /// Serves clients, and our own health probes, that come to the agent's own port. Runs until it is dropped.
    pub async fn listen(&self, listener: TcpListener) {
        crate::listen::accept(Rc::clone(&self.inner), listener).await;
    }

    /// Closes all connections with this code and reason, one after the other over this time, those with a running turn last and
    /// with a word about that; then tells the worker to end. Returns when the clients have their last bytes, at the latest two
    /// seconds after the last one was told.
    pub async fn stop(&self, code: u16, reason: &str, spread: Duration) {
        let inner = &self.inner;
        inner.stopping.set(true);
        // Whoever is on its way to another runner arrives there; nobody else goes.
        inner.drain.set(Stage::None);
        inner.drain_wake.notify_one();
        let mut conns: Vec<_> = inner.conns.borrow().values().cloned().collect();
        conns.sort_by_cached_key(|conn| Inner::is_answered_in(conn));
        let (began, count) = (Instant::now(), u32::try_from(conns.len()).unwrap_or(u32::MAX));
        for (index, conn) in (0..).zip(conns) {
            if !spread.is_zero() {
                sleep_until(began + spread * index / count).await;
            }
            let sessions = conn.sessions.borrow().clone();
            for session in sessions {
                inner.interrupt(&session);
            }
            conn.close(inner, code, reason);
        }
        // Those without a client, and those of clients that came meanwhile.
        inner.interrupt_turns();
        inner.flush();
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

    fn has_worker(&self) -> bool {
        self.replacing.get() || self.worker.borrow().is_some()
    }

    pub(crate) fn worker_loop_ok(&self) -> bool {
        self.worker.borrow().as_ref().map_or(self.replacing.get(), |worker| worker.loop_ok())
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
}
