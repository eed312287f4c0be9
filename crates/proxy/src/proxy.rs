//! The handle: starts the threads, opens and closes listeners on all of them, ends them.

use crate::admission::Admission;
use crate::counters::{self, Counters};
use crate::loads::Table;
use crate::queue::Queue;
use crate::thread::{self, Command};
use crate::ticks::Registry;
use crate::{ProxyConfig, ProxyEvent};
use myagent_core::Clock;
use myagent_core::clients::OpenClients;
use myagent_core::clock::Tick;
use myagent_core::front_door::FrontDoorStats;
use myagent_core::routing::{ExplainRequest, Explanation, KnownSessions, RoutingSnapshot};
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// Commands that may wait for one thread.
const COMMANDS: usize = 16;

/// An open listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(u64);

/// What all threads share.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) queue: Arc<Queue>,
    pub(crate) ticks: Registry,
    pub(crate) loads: Table,
    started: Instant,
    pub(crate) random_id: fn() -> Uuid,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) snapshots: watch::Receiver<Arc<RoutingSnapshot>>,
    pub(crate) sessions: Arc<dyn KnownSessions + Send + Sync>,
    pub(crate) admission: Admission,
    events: mpsc::Sender<ProxyEvent>,
    events_dropped: AtomicU64,
    pub(crate) requests: RequestCounters,
}

/// Plain requests since the start.
#[derive(Debug, Default)]
pub(crate) struct RequestCounters {
    /// Answered by an agent, to the end.
    pub(crate) served: AtomicU64,
    /// Not, because of the agent or of the client.
    pub(crate) failed: AtomicU64,
}

/// Plain requests since the start, those aside that no instance was found for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Answered by an agent, to the end.
    pub served: u64,
    /// Not, because of the agent or of the client.
    pub failed: u64,
}

impl Shared {
    /// Now, the same on all threads.
    pub(crate) fn now(&self) -> Tick {
        self.started.elapsed()
    }

    /// Tells the control plane, if it has time to listen.
    pub(crate) fn tell(&self, event: ProxyEvent) {
        if self.events.try_send(event).is_err() {
            self.events_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were dropped because nobody took them in time.
    pub(crate) fn hints_dropped(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }

    /// A random duration from `from` to twice that, so that clients turned away together do not come back together.
    pub(crate) fn jittered(&self, from: Duration) -> Duration {
        let fraction = f64::from((self.random_id)().as_u128() as u32) / f64::from(u32::MAX);
        from.mul_f64(1.0 + fraction)
    }
}

/// What the control plane hears of runners all the time, in forms that are read without a lock.
pub struct Known {
    /// Which instance has which session.
    pub sessions: Arc<dyn KnownSessions + Send + Sync>,
    /// Who is connected from where.
    pub clients: Arc<dyn OpenClients + Send + Sync>,
}

impl Default for Known {
    /// Nothing is known.
    fn default() -> Self {
        Self { sessions: Arc::new(()), clients: Arc::new(()) }
    }
}

struct Inner {
    shared: Arc<Shared>,
    threads: Vec<mpsc::Sender<Command>>,
    counters: Vec<Arc<Counters>>,
    next_listener: AtomicU64,
}

/// The front door. A cheap handle; its threads end with [`Proxy::shut_down`], or at once when the last handle is dropped.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Inner>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("threads", &self.inner.threads.len()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts the threads; no listener is open yet. `known` is what the control plane hears of runners; `random_id` gives the ids of connections (and the jitter of delays).
    /// Errors: a thread or its runtime could not be made.
    pub fn start(
        config: ProxyConfig,
        snapshots: watch::Receiver<Arc<RoutingSnapshot>>,
        known: Known,
        events: mpsc::Sender<ProxyEvent>,
        random_id: fn() -> Uuid,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let count = config.threads.max(1);
        let shared = Arc::new(Shared {
            queue: Arc::new(Queue::new(config.queue_size)),
            ticks: Registry::default(),
            loads: Table::default(),
            started: Instant::now(),
            random_id,
            clock,
            snapshots,
            sessions: known.sessions,
            admission: Admission::new(config.limits, known.clients),
            events,
            events_dropped: AtomicU64::new(0),
            requests: RequestCounters::default(),
            config,
        });
        let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
        let mut threads = Vec::with_capacity(count);
        for (number, counters) in counters.iter().cloned().enumerate() {
            let (sender, commands) = mpsc::channel(COMMANDS);
            let (made, outcome) = std::sync::mpsc::sync_channel(1);
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || thread::run(&made, shared, counters, commands))?;
            outcome.recv().map_err(|_| io::Error::other("a thread ended at its start"))??;
            threads.push(sender);
        }
        Ok(Self { inner: Arc::new(Inner { shared, threads, counters, next_listener: AtomicU64::new(1) }) })
    }

    /// Accepts clients from a listening socket on every thread, until [`Proxy::close`]. When this returns `Ok`, all threads
    /// accept; when it fails, none does.
    pub async fn open(&self, listener: TcpListener) -> io::Result<ListenerId> {
        listener.set_nonblocking(true)?;
        let id = ListenerId(self.inner.next_listener.fetch_add(1, Ordering::Relaxed));
        for thread in &self.inner.threads {
            if let Err(error) = Self::open_on(thread, id, &listener).await {
                self.close(id).await;
                return Err(error);
            }
        }
        Ok(id)
    }

    async fn open_on(
        thread: &mpsc::Sender<Command>,
        id: ListenerId,
        listener: &TcpListener,
    ) -> io::Result<()> {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the proxy has been shut down");
        let listener = listener.try_clone()?;
        let (done, answer) = oneshot::channel();
        thread.send(Command::Open { id, listener, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Stops accepting from a listener; when this returns, our duplicates of it are closed. Handshakes under way go on. An
    /// id that is not open is ignored.
    pub async fn close(&self, id: ListenerId) {
        for thread in &self.inner.threads {
            let (done, answer) = oneshot::channel();
            if thread.send(Command::Close { id, done }).await.is_ok() {
                // An error means that the thread has ended, and its listeners with it.
                let _ = answer.await;
            }
        }
    }

    /// Closes all listeners, lets handshakes and waiting clients finish within `grace`, refuses those that still wait, and
    /// ends the threads. Takes at most a second longer than `grace`.
    pub async fn shut_down(&self, grace: Duration) {
        let mut answers = Vec::with_capacity(self.inner.threads.len());
        for thread in &self.inner.threads {
            let (done, answer) = oneshot::channel();
            if thread.send(Command::ShutDown { grace, done }).await.is_ok() {
                answers.push(answer);
            }
        }
        for answer in answers {
            // An error means that the thread has ended already.
            let _ = answer.await;
        }
    }

    /// Who would get this client now, and why: the front door's own decision, with its own loads and counters, but nobody's
    /// turn is taken. Which runners are silent may differ between threads; one of them answers. None: it has been shut down.
    pub async fn explain(&self, request: ExplainRequest) -> Option<Explanation> {
        let thread = self.inner.threads.first()?;
        let (done, answer) = oneshot::channel();
        thread.send(Command::Explain { request: Box::new(request), done }).await.ok()?;
        answer.await.ok()
    }

    /// Clients that wait for a place now.
    pub fn waiting(&self) -> usize {
        self.inner.shared.queue.waiting()
    }

    /// Plain requests that were carried.
    pub fn requests(&self) -> Requests {
        let RequestCounters { served, failed } = &self.inner.shared.requests;
        Requests { served: served.load(Ordering::Relaxed), failed: failed.load(Ordering::Relaxed) }
    }

    /// Events that were dropped because nobody took them in time.
    pub fn events_dropped(&self) -> u64 {
        self.inner.shared.hints_dropped()
    }

    /// Everything that was counted since the start.
    pub fn stats(&self) -> FrontDoorStats {
        counters::sums(&self.inner.counters, &self.inner.shared)
    }
}
