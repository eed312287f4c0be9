//! One thread of the front door: its commands, its view of the fleet, and what its clients share without a lock.

use crate::ProxyEvent;
use crate::accept;
use crate::admission::Denied;
use crate::counters::Counters;
use crate::crowd::Crowd;
use crate::handover::Runners;
use crate::loads::View;
use crate::proxy::{ListenerId, Shared};
use crate::ticks::{Counting, Peeking, Ticks};
use myagent_core::clock::Tick;
use myagent_core::routing::{
    self, ExplainRequest, Explanation, Live, Loads, RoutingSnapshot, Scratch, SharedLoad,
};
use myagent_core::wire::handover::MAX_HEAD;
use myagent_core::{InstanceKey, StartId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The part of the open files that all threads together may have for them.
const SHARE_OF_FILES: u64 = 2;
/// What refused clients get at the end of a shutdown to read why.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// What the handle asks of a thread.
pub(crate) enum Command {
    Open { id: ListenerId, listener: std::net::TcpListener, done: oneshot::Sender<io::Result<()>> },
    Close { id: ListenerId, done: oneshot::Sender<()> },
    ShutDown { grace: Duration, done: oneshot::Sender<()> },
    Explain { request: Box<ExplainRequest>, done: oneshot::Sender<Explanation> },
}

/// What the tasks of one thread share.
pub(crate) struct Thread {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// The newest snapshot and its loads; never borrowed across an await.
    pub(crate) view: RefCell<View>,
    /// Memory of decisions; never borrowed across an await.
    pub(crate) routing: RefCell<Scratch>,
    /// Since when how many clients were not let in.
    denied: Cell<(Tick, u32)>,
    /// State of [`Thread::random`].
    random: Cell<u64>,
    /// Where newer ones come from.
    newer: RefCell<watch::Receiver<Arc<RoutingSnapshot>>>,
    /// The snapshot changed, or a silent runner answered: who waits may try again.
    pub(crate) changed: Notify,
    pub(crate) runners: Runners,
    pub(crate) ticks: Ticks,
    /// Where heads are read into; never borrowed across an await.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Where offers are written; never borrowed across an await.
    pub(crate) message: RefCell<Vec<u8>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) crowd: Rc<Crowd>,
    /// Plain requests under way.
    pub(crate) requests: Cell<usize>,
    /// A shutdown has begun: kept connections that say nothing are closed.
    pub(crate) finishing: CancellationToken,
    /// The grace of a shutdown is over: who still waits is refused.
    pub(crate) closing: CancellationToken,
}

/// The thread's whole life. Whether it could begin is told first.
pub(crate) fn run(
    made: &SyncSender<io::Result<()>>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = match builder.enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = made.send(Err(error));
            return;
        }
    };
    let _ = made.send(Ok(()));
    // A task like the others: what is given to `block_on` itself is polled whenever anything at all happens.
    let done = runtime.block_on(async {
        // It is never cancelled; if it panics, so does the thread.
        spawn_local(serve(shared, counters, commands))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    });
    // Everything of this thread is closed before the handle is told.
    drop(runtime);
    if let Some(done) = done {
        let _ = done.send(());
    }
}

/// Carries out commands until the shutdown (whose answer it returns) or until the last handle is gone.
async fn serve(
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    mut commands: mpsc::Receiver<Command>,
) -> Option<oneshot::Sender<()>> {
    let mut snapshots = shared.snapshots.clone();
    let view = shared.loads.catch_up(|| Arc::clone(&snapshots.borrow_and_update()), shared.now());
    let thread = Rc::new(Thread {
        view: RefCell::new(view),
        routing: RefCell::default(),
        denied: Cell::default(),
        random: Cell::new((shared.random_id)().as_u128() as u64),
        newer: RefCell::new(snapshots.clone()),
        changed: Notify::new(),
        runners: Runners::default(),
        ticks: Ticks::default(),
        scratch: RefCell::new(vec![0; MAX_HEAD].into_boxed_slice()),
        message: RefCell::default(),
        tasks: TaskTracker::new(),
        crowd: Crowd::new(most_here(&shared)),
        requests: Cell::new(0),
        finishing: CancellationToken::new(),
        closing: CancellationToken::new(),
        counters,
        shared,
    });
    spawn_local(follow(Rc::clone(&thread), snapshots));
    let mut acceptors: HashMap<ListenerId, JoinHandle<()>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open { id, listener, done } => {
                let opened = accept::watch(listener).map(|listener| {
                    acceptors.insert(id, spawn_local(accept::accept(Rc::clone(&thread), listener)));
                });
                let _ = done.send(opened);
            }
            Command::Close { id, done } => {
                if let Some(acceptor) = acceptors.remove(&id) {
                    stop(acceptor).await;
                }
                let _ = done.send(());
            }
            Command::Explain { request, done } => {
                // Whoever asked may have left.
                let _ = done.send(thread.explain(&request));
            }
            Command::ShutDown { grace, done } => {
                for (_, acceptor) in acceptors.drain() {
                    stop(acceptor).await;
                }
                finish(&thread, grace).await;
                return Some(done);
            }
        }
    }
    None
}

/// How many clients of a thread may be here at once.
fn most_here(shared: &Shared) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let threads = shared.config.threads.max(1) as u64;
    usize::try_from(files / SHARE_OF_FILES / threads)
        .unwrap_or(usize::MAX)
        .clamp(1, shared.config.most_here.max(1))
}

/// Ends an accept loop; afterwards its listener is closed.
async fn stop(acceptor: JoinHandle<()>) {
    acceptor.abort();
    // Cancelled, as asked.
    let _ = acceptor.await;
}

/// Lets handshakes finish, then refuses those that wait, then gives up.
async fn finish(thread: &Thread, grace: Duration) {
    thread.tasks.close();
    thread.finishing.cancel();
    if timeout(grace, thread.tasks.wait()).await.is_ok() {
        return;
    }
    thread.closing.cancel();
    if timeout(LAST_WORDS, thread.tasks.wait()).await.is_err() {
        tracing::warn!(clients = thread.tasks.len(), "handshakes were cut off by the shutdown");
    }
}

impl Thread {
    /// Takes the newest snapshot over, if there is one that this thread has not seen. Asked before each decision, too: a
    /// client may come before this thread was woken for a change that whoever sent the client knows of.
    pub(crate) fn catch_up(&self) {
        let view = {
            let mut newer = self.newer.borrow_mut();
            // No more can come: the last one stays in force.
            if !newer.has_changed().unwrap_or(false) {
                return;
            }
            self.shared.loads.catch_up(|| Arc::clone(&newer.borrow_and_update()), self.shared.now())
        };
        self.runners.retire_missing(&view.snapshot);
        self.ticks.forget(&self.shared.ticks, &view.snapshot);
        *self.view.borrow_mut() = view;
        self.changed.notify_waiters();
    }

    /// Calls `read` with everything that a decision looks at, as it is now. `tried` gave this client back.
    pub(crate) fn with_live<T>(
        &self,
        tried: &[InstanceKey],
        ticks: &dyn routing::Ticks,
        read: impl FnOnce(&RoutingSnapshot, &Live<'_, [Arc<SharedLoad>]>, &mut Scratch) -> T,
    ) -> T {
        let view = self.view.borrow();
        let now = self.shared.now();
        self.shared.loads.settle(&view, now);
        let silent = self.runners.silent();
        let excluded;
        let tried = if silent.is_empty() {
            tried
        } else {
            excluded = [tried, &silent].concat();
            &excluded
        };
        let sessions = &*self.shared.sessions;
        let live = Live { loads: &*view.loads, sessions, ticks, now, random: self.random(), tried };
        read(&view.snapshot, &live, &mut self.routing.borrow_mut())
    }

    /// What would become of a client now, and why.
    fn explain(&self, request: &ExplainRequest) -> Explanation {
        self.catch_up();
        let ticks = Peeking(Counting { registry: &self.shared.ticks, ticks: &self.ticks });
        let headers = request.header_list();
        let context = request.context(&headers, &self.shared.config.trusted_proxies);
        self.with_live(&[], &ticks, |snapshot, live, scratch| {
            routing::explain(snapshot, &context, live, scratch)
        })
    }

    /// Open connections, as far as is known.
    pub(crate) fn open_connections(&self) -> u32 {
        let (view, now) = (self.view.borrow(), self.shared.now());
        self.shared.loads.settle(&view, now);
        (0..view.loads.len()).map(|index| view.loads.reading(index, now).active).sum()
    }

    /// Notes that a client was not let in; the control plane is told once a second.
    pub(crate) fn denied(&self, denied: &Denied) {
        self.counters.denied(denied);
        let (now, (since, count)) = (self.shared.now(), self.denied.get());
        if count > 0 && now.saturating_sub(since) < Duration::from_secs(1) {
            self.denied.set((since, count + 1));
            return;
        }
        self.shared.tell(ProxyEvent::Denied { reason: denied.reason(), count: count.max(1) });
        self.denied.set((now, 1));
    }

    /// A number by chance, equally distributed (`SplitMix64`). Ids are not: they begin with the time.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The load of that start of an instance, if it is still there.
    pub(crate) fn load(&self, key: InstanceKey, start_id: StartId) -> Option<Arc<SharedLoad>> {
        let view = self.view.borrow();
        let index = view.snapshot.index_of(key)?;
        let is_same = view.snapshot.instance(key).is_some_and(|instance| instance.start_id == start_id);
        view.loads.get(index as usize).filter(|_| is_same).map(Arc::clone)
    }

    /// Notes that an instance failed a client, and whether it is ejected by that.
    pub(crate) fn failed(&self, key: InstanceKey, start_id: StartId) {
        let Some(load) = self.load(key, start_id) else { return };
        let now = self.shared.now();
        let has_others = {
            let view = self.view.borrow();
            view.snapshot.has_others(key, |other| view.loads.reading(other as usize, now).is_ejected)
        };
        if load.failed(now, has_others) {
            tracing::warn!(instance = ?key, "an instance failed several clients in a row; it gets none for a while");
            self.counters.ejected();
            self.shared.tell(ProxyEvent::Ejected { key });
        }
    }
}

/// Takes each new snapshot over, also while no client comes.
async fn follow(thread: Rc<Thread>, mut snapshots: watch::Receiver<Arc<RoutingSnapshot>>) {
    while snapshots.changed().await.is_ok() {
        thread.catch_up();
    }
}
