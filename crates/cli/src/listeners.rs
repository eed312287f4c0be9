//! The TCP listeners: who opened which, and that they close with the one who asked.

use crate::lifecycle::upgrade::messages::PassedListener;
use myagent_api::{OpenListener, Router, Transport};
use myagent_control::Handle;
use myagent_core::Clock;
use myagent_core::error::{Code, Problem};
use myagent_core::front_door::FrontDoorStats;
use myagent_core::request::{ListenRequest, ListenerKind};
use myagent_core::routing::{ExplainRequest, Explanation, RoutingSnapshot};
use myagent_core::settings::Settings;
use myagent_core::view::PlainRequestsView;
use myagent_proxy::{Known, Limits, ListenerId, Proxy, ProxyConfig, ProxyEvent, Requests};
use myagent_supervisor::{Clients, Sessions};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// How long open handshakes may go on when the manager ends.
const GRACE: Duration = Duration::from_secs(5);
/// How long the owner of a listener that was passed on may take to come for it.
const CLAIM: Duration = Duration::from_secs(10);
/// How long a client may take for its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Hints from the front door that may wait.
const HINTS: usize = 1024;

type MakeRouter = Box<dyn Fn(Transport) -> Router + Send + Sync>;

/// All of them.
pub(crate) struct Listeners {
    settings: Settings,
    snapshots: watch::Receiver<Arc<RoutingSnapshot>>,
    sessions: Arc<Sessions>,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
    /// Started with the first proxy listener: a manager without one has no use for its threads.
    proxy: Mutex<Option<Proxy>>,
    make_router: OnceLock<MakeRouter>,
    open: Mutex<BTreeMap<SocketAddr, Open>>,
    /// Those that were passed on and whose owner has not come yet.
    unclaimed: Mutex<BTreeMap<SocketAddr, OpenListener>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

struct Open {
    kind: ListenerKind,
    owner: String,
    /// It was asked for by another process, and closes with that.
    is_guest: bool,
    /// The socket, to be passed on.
    socket: TcpListener,
    stop: CancellationToken,
}

/// Closes a listener when dropped.
struct Guard {
    listeners: Arc<Listeners>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.cancel();
        self.listeners.lock().remove(&self.address);
        tracing::info!(address = %self.address, "listener closes");
    }
}

impl Listeners {
    pub(crate) fn new(settings: Settings, control: &Handle, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            snapshots: control.routing(),
            sessions: Arc::new(control.sessions()),
            clients: Arc::new(control.clients()),
            clock,
            proxy: Mutex::new(None),
            make_router: OnceLock::new(),
            open: Mutex::default(),
            unclaimed: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// How an API listener gets its router. Said once.
    pub(crate) fn serve_api_with(&self, make: impl Fn(Transport) -> Router + Send + Sync + 'static) {
        if self.make_router.set(Box::new(make)).is_err() {
            tracing::error!("the API's router was given twice");
        }
    }

    /// What is open, by kind.
    pub(crate) fn open_ones(&self) -> BTreeMap<String, Vec<SocketAddr>> {
        let mut open_ones = BTreeMap::<String, Vec<SocketAddr>>::new();
        for (address, open) in self.lock().iter() {
            open_ones.entry(open.kind.to_string()).or_default().push(*address);
        }
        open_ones
    }

    /// Clients that wait for an instance.
    pub(crate) fn waiting_clients(&self) -> u32 {
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        proxy.as_ref().map_or(0, |proxy| u32::try_from(proxy.waiting()).unwrap_or(u32::MAX))
    }

    /// Plain requests that the front door has carried.
    pub(crate) fn plain_requests(&self) -> PlainRequestsView {
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        let Requests { served, failed } = proxy.as_ref().map(Proxy::requests).unwrap_or_default();
        PlainRequestsView { served, failed }
    }

    /// What the front door has counted.
    pub(crate) fn front_door(&self) -> FrontDoorStats {
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        proxy.as_ref().map(Proxy::stats).unwrap_or_default()
    }

    /// Opens one. It closes when the guard in the answer is dropped. `is_guest`: for another process.
    pub(crate) async fn open(
        self: &Arc<Self>,
        request: ListenRequest,
        is_guest: bool,
    ) -> Result<OpenListener, Problem> {
        if let Some(claimed) = self.claim(&request) {
            return Ok(claimed);
        }
        let listener = self.bind(&request)?;
        self.serve(request, listener, is_guest).await
    }

    /// Goes on with one that was passed on. One of another process waits for that: it is known by its address and its owner.
    pub(crate) async fn adopt(
        self: &Arc<Self>,
        passed: PassedListener,
        socket: TcpListener,
    ) -> Result<Option<OpenListener>, Problem> {
        let PassedListener { kind, address, owner, is_guest } = passed;
        let opened = self.serve(ListenRequest { kind, address, owner }, socket, is_guest).await?;
        if !is_guest {
            return Ok(Some(opened));
        }
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).insert(address, opened);
        let listeners = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(CLAIM) => {}
                () = listeners.closing.cancelled() => {}
            }
            drop(listeners.unclaimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&address));
        });
        Ok(None)
    }

    fn claim(&self, request: &ListenRequest) -> Option<OpenListener> {
        let is_owners = self.lock().get(&request.address).is_some_and(|open| open.owner == request.owner);
        let mut unclaimed = self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner);
        unclaimed.remove(&request.address).filter(|_| is_owners)
    }

    /// Everything that is open, to be passed on; it stays open here.
    pub(crate) fn pass_on(&self) -> io::Result<Vec<(PassedListener, TcpListener)>> {
        let pass = |(address, open): (&SocketAddr, &Open)| {
            let Open { kind, owner, is_guest, socket, .. } = open;
            let (owner, is_guest) = (owner.clone(), *is_guest);
            Ok((PassedListener { kind: *kind, address: *address, owner, is_guest }, socket.try_clone()?))
        };
        self.lock().iter().map(pass).collect()
    }

    /// API listeners accept no more; what they have accepted goes on.
    pub(crate) fn stop_api(&self) {
        for open in self.lock().values().filter(|open| open.kind == ListenerKind::Api) {
            open.stop.cancel();
        }
    }

    async fn serve(
        self: &Arc<Self>,
        request: ListenRequest,
        listener: TcpListener,
        is_guest: bool,
    ) -> Result<OpenListener, Problem> {
        let address = listener.local_addr().map_err(|error| failed(&request, &error))?;
        let socket = listener.try_clone().map_err(|error| failed(&request, &error))?;
        let stop = self.closing.child_token();
        match request.kind {
            ListenerKind::Proxy => self.open_proxy(listener, stop.clone()).await,
            ListenerKind::Api => self.open_api(listener, address, stop.clone()),
        }
        .map_err(|error| failed(&request, &error))?;
        tracing::info!(kind = %request.kind, %address, owner = request.owner, "listening");
        let open = Open { kind: request.kind, owner: request.owner, is_guest, socket, stop: stop.clone() };
        self.lock().insert(address, open);
        let guard = Guard { listeners: Arc::clone(self), address, stop };
        Ok(OpenListener { address, guard: Box::new(guard) })
    }

    fn bind(&self, request: &ListenRequest) -> Result<TcpListener, Problem> {
        let address = request.address;
        if let Some(open) = self.lock().get(&address) {
            let detail = format!("{address} is open already: {} of {}", open.kind, open.owner);
            return Err(Problem::new(Code::AlreadyListening, detail));
        }
        TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| failed(request, &error))
    }

    async fn open_proxy(self: &Arc<Self>, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let proxy = self.proxy()?;
        let id: ListenerId = proxy.open(listener).await?;
        self.tasks.spawn(async move {
            stop.cancelled().await;
            proxy.close(id).await;
        });
        Ok(())
    }

    fn open_api(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> io::Result<()> {
        myagent_handover::vanish::watch_clients(&listener)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let make = self.make_router.get().ok_or_else(|| io::Error::other("the API is not ready yet"))?;
        let router = make(Transport::Tcp { address });
        self.tasks.spawn(async move {
            if let Err(error) = myagent_api::serve::serve_tcp(listener, router, stop).await {
                tracing::error!(%error, %address, "an API listener failed");
            }
        });
        Ok(())
    }

    fn proxy(&self) -> io::Result<Proxy> {
        let mut proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(proxy) = proxy.as_ref() {
            return Ok(proxy.clone());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = ProxyConfig {
            queue_size: self.settings.queue_size,
            queue_timeout: self.settings.queue_timeout(),
            allowed_origins: self.settings.allowed_origins.clone(),
            trusted_proxies: self.settings.trusted_proxies(),
            proxy_protocol: self.settings.proxy_protocol,
            limits: Limits {
                connections: self.settings.max_connections,
                connections_per_ip: self.settings.max_connections_per_ip,
                accept_rate: self.settings.accept_rate,
            },
            head_timeout: HEAD_TIMEOUT,
            answer_timeout: self.settings.answer_timeout(),
            threads: cores.min(8),
            ..ProxyConfig::default()
        };
        let (events, hints) = mpsc::channel(HINTS);
        self.tasks.spawn(log_hints(hints));
        let known = Known { sessions: self.sessions.clone(), clients: self.clients.clone() };
        let clock = Arc::clone(&self.clock);
        let started = Proxy::start(config, self.snapshots.clone(), known, events, Uuid::now_v7, clock)?;
        Ok(proxy.insert(started).clone())
    }

    /// Who would get a client now, and why. Answered by the front door itself, also where no listener of it is open.
    pub(crate) async fn explain(&self, request: ExplainRequest) -> Result<Explanation, Problem> {
        let cannot = |error: io::Error| {
            Problem::new(Code::InsufficientResources, format!("the front door cannot start: {error}"))
        };
        let proxy = self.proxy().map_err(cannot)?;
        let ending = || Problem::new(Code::ShuttingDown, "the manager is shutting down");
        proxy.explain(request).await.ok_or_else(ending)
    }

    /// No new clients; what was handed over is not ours any more.
    pub(crate) async fn stop_accepting(&self) {
        self.stop_accepting_within(GRACE).await;
    }

    /// The same, and whoever waits for an instance may wait to the end.
    pub(crate) async fn finish_handshakes(&self) {
        self.stop_accepting_within(GRACE + self.settings.queue_timeout()).await;
    }

    async fn stop_accepting_within(&self, grace: Duration) {
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(proxy) = proxy {
            proxy.shut_down(grace).await;
        }
    }

    /// Closes everything and waits for it.
    pub(crate) async fn close_all(&self) {
        self.closing.cancel();
        self.proxy.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("listeners did not close in time");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the front door says goes to the log; the truth about connections comes from the runners.
async fn log_hints(mut hints: mpsc::Receiver<ProxyEvent>) {
    while let Some(hint) = hints.recv().await {
        match hint {
            ProxyEvent::TurnedAway { reason, service } => {
                tracing::info!(service, reason, "client turned away")
            }
            ProxyEvent::Denied { reason, count } => tracing::warn!(reason, count, "clients not let in"),
            ProxyEvent::GivenBack { key, reason } => {
                tracing::info!(service = %key.service_id, index = key.index, ?reason, "runner gave a client back");
            }
            ProxyEvent::RequestFailed { key, reason } => {
                tracing::info!(service = %key.service_id, index = key.index, reason, "agent failed a plain request");
            }
            ProxyEvent::RunnerSilent { key } => {
                let index = key.index;
                tracing::warn!(service = %key.service_id, index, "runner is silent: no clients for it until it answers");
            }
            ProxyEvent::Ejected { key } => {
                tracing::warn!(service = %key.service_id, index = key.index, "instance failed clients in a row: none for it for a while");
            }
            ProxyEvent::RunnerAnswers { key } => {
                tracing::info!(service = %key.service_id, index = key.index, "runner answers again");
            }
        }
    }
}

fn failed(request: &ListenRequest, error: &io::Error) -> Problem {
    let ListenRequest { kind, address, .. } = request;
    if error.kind() == io::ErrorKind::AddrInUse {
        let holder = myagent_supervisor::port_holder(address.port());
        let holder =
            holder.map_or_else(String::new, |(pid, command)| format!(" by process {pid} ({command})"));
        return Problem::new(
            Code::PortInUse,
            format!("{address} for the {kind} is in use{holder}; choose another port"),
        );
    }
    Problem::new(Code::InsufficientResources, format!("cannot listen on {address} for the {kind}: {error}"))
}
