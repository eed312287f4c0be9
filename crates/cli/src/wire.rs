//! Puts a manager together: store, engine, front door, API. The only place that knows them all.

use crate::clock::SystemClock;
use crate::datadir::DataDir;
use crate::doctor::Examiner;
use crate::lifecycle::Held;
use crate::lifecycle::upgrade::{self, messages::PassedListener};
use crate::listeners::Listeners;
use crate::log::LogLevel;
use crate::own_process;
use anyhow::{Context, Result};
use myagent_api::{ApiState, Manager, OpenListener, Transport};
use myagent_control::{Engine, Handle, StopAll, SweepInterval};
use myagent_core::Clock;
use myagent_core::diagnosis::Diagnosis;
use myagent_core::error::{FieldError, Problem};
use myagent_core::front_door::FrontDoorStats;
use myagent_core::process::ProcessStats;
use myagent_core::request::ListenRequest;
use myagent_core::routing::{ExplainRequest, Explanation};
use myagent_core::settings::Settings;
use myagent_core::view::{InfoView, UpgradeView};
use myagent_store::{SecretKey, Store};
use myagent_supervisor::AccessLog;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long open requests of the API may go on at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// How long the last lines of the access log may take.
const FLUSH: Duration = Duration::from_secs(1);

/// A manager that runs.
pub(crate) struct Running {
    held: Arc<Held>,
    listeners: Arc<Listeners>,
    process: Arc<Process>,
    tasks: JoinSet<()>,
    access: AccessLog,
    engine: Option<Engine>,
    ended: watch::Receiver<Option<Ended>>,
}

/// How it was started, which a process that takes over keeps in part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    /// `--allow-sources`.
    pub(crate) allow_sources: Option<Vec<String>>,
    /// `--interval`, seconds.
    pub(crate) interval: Option<f64>,
    /// Whoever started this process waits for its end: a terminal, a container, systemd.
    pub(crate) is_waited_for: bool,
}

/// The process, as far as the API may ask of it.
pub(crate) struct Process {
    pub(crate) control: Handle,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) held: Arc<Held>,
    pub(crate) overrides: Overrides,
    /// The command socket, to be passed on.
    pub(crate) unix: std::os::unix::net::UnixListener,
    /// Ends the acceptance of commands.
    pub(crate) unix_closing: CancellationToken,
    /// Held while somebody takes over.
    pub(crate) upgrading: tokio::sync::Mutex<()>,
    /// Everything that it has taken over is its own, so that somebody may take over from it.
    pub(crate) is_settled: AtomicBool,
    log_level: LogLevel,
    examiner: Examiner,
    info: InfoView,
    ended: watch::Sender<Option<Ended>>,
}

/// Why a manager has ended that was not told by a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was shut down.
    ShutDown,
    /// Another process, of this program, has taken over.
    Upgraded(PathBuf),
    /// Nobody could, after it had let go.
    Failed,
}

/// Starts everything but TCP listeners and the engine. `unix`: the command socket, if it was passed on. Errors name what
/// could not be opened.
pub(crate) fn start(
    held: Held,
    settings: Settings,
    log_level: LogLevel,
    overrides: Overrides,
    unix: Option<std::os::unix::net::UnixListener>,
) -> Result<Running> {
    raise_descriptor_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let held = Arc::new(held);
    let key = SecretKey::load_or_create(held.data.path())?;
    let store = Store::open(held.data.database(), key)?;
    let sweep = overrides
        .interval
        .map_or_else(SweepInterval::default, |seconds| SweepInterval(Duration::from_secs_f64(seconds)));
    let access = open_access_log(&settings, &held);
    let (engine, control) = Engine::new(myagent_control::Config {
        store,
        supervisor: myagent_supervisor::Config {
            exe: "/proc/self/exe".into(),
            runtime_dir: held.runtime_dir.clone(),
            log_dir: held.data.path().join("logs"),
            tree_dir: held.data.path().join("trees"),
            journal_dir: held.data.path().join("journal"),
            access: access.clone(),
            clock: Arc::clone(&clock),
            random,
            new_id: Uuid::now_v7,
            trust: myagent_tls::Trust::system(),
        },
        port_range: settings.port_range,
        allow_sources: settings.allow_sources.clone(),
        default_strategy: settings.default_strategy,
        count_clients: settings.max_connections_per_ip > 0,
        retention_days: settings.retention_days,
        sweep,
        metrics: held.data.path().join("metrics.db"),
    })?;
    let mut tasks = JoinSet::new();
    let listeners = Arc::new(Listeners::new(settings, &control, Arc::clone(&clock)));
    let (ended, ended_receiver) = watch::channel(None);
    let info = InfoView {
        name: "myagent-manager".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: clock.now(),
        data_dir: held.data.path().display().to_string(),
        listeners: Default::default(),
        waiting_clients: 0,
        plain_requests: Default::default(),
    };
    let unix = match unix {
        Some(unix) => unix,
        None => listen_unix(&held.socket())?,
    };
    unix.set_nonblocking(true)?;
    let socket = UnixListener::from_std(unix.try_clone()?)?;
    let unix_closing = CancellationToken::new();
    let process = Arc::new(Process {
        control: control.clone(),
        listeners: Arc::clone(&listeners),
        held: Arc::clone(&held),
        overrides,
        unix,
        unix_closing: unix_closing.clone(),
        upgrading: tokio::sync::Mutex::new(()),
        is_settled: AtomicBool::new(false),
        log_level,
        examiner: Examiner::default(),
        info,
        ended,
    });
    let requests = Arc::new(myagent_api::metrics::Requests::default());
    listeners.serve_api_with({
        let (control, process, requests) = (control.clone(), Arc::clone(&process), Arc::clone(&requests));
        move |transport| {
            let (control, requests) = (control.clone(), Arc::clone(&requests));
            myagent_api::router(ApiState { control, manager: process.clone(), requests, transport })
        }
    });
    let transport = Transport::Unix;
    let router = myagent_api::router(ApiState { control, manager: process.clone(), requests, transport });
    tasks.spawn(async move {
        if let Err(error) = myagent_api::serve::serve_unix(socket, router, unix_closing).await {
            tracing::error!(%error, "the manager's socket failed");
        }
    });
    Ok(Running { held, listeners, process, tasks, access, engine: Some(engine), ended: ended_receiver })
}

impl Running {
    /// Opens a TCP listener of our own.
    pub(crate) async fn open(&self, request: ListenRequest) -> Result<OpenListener, Problem> {
        self.listeners.open(request, false).await
    }

    /// Goes on with a TCP listener that was passed on; none: it is somebody else's, and waits to be asked for.
    pub(crate) async fn adopt(
        &self,
        listener: PassedListener,
        socket: std::net::TcpListener,
    ) -> Result<Option<OpenListener>, Problem> {
        self.listeners.adopt(listener, socket).await
    }

    /// From now on commands find us, and what shall run is started: not before every listener is open, for a manager that
    /// cannot serve must leave the fleet alone.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.announce()?;
        self.run_engine();
        Ok(())
    }

    /// From now on commands find us.
    pub(crate) fn announce(&self) -> Result<()> {
        self.held.announce()?;
        self.process.is_settled.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits while somebody takes over, or tries to.
    pub(crate) async fn upgrade_is_over(&self) {
        drop(self.process.upgrading.lock().await);
    }

    /// What shall run is started, and what runs already is found again.
    pub(crate) fn run_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.tasks.spawn(engine.run());
        }
    }

    /// Waits until every runner has been found again.
    pub(crate) async fn attached(&self) {
        self.process.control.attached().await;
    }

    /// Accepts no more clients, and waits until those at the door are served or told no.
    pub(crate) async fn finish_handshakes(&self) {
        self.listeners.finish_handshakes().await;
    }

    /// Whether somebody waits for the end of this process.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.process.overrides.is_waited_for
    }

    /// Whose manager it is.
    pub(crate) fn data(&self) -> &DataDir {
        &self.held.data
    }

    /// Waits until somebody has ended the manager through the API.
    pub(crate) async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        // The sender lives as long as `process`, which we hold.
        ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone()).unwrap_or(Ended::ShutDown)
    }

    /// How it has ended, if it has.
    pub(crate) fn has_ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Stops (or lets go of) every instance.
    pub(crate) async fn end(&self, instances: StopAll, who: &str) -> Result<(), Problem> {
        self.process.end(instances, who).await
    }

    /// Closes what is open and ends the tasks.
    pub(crate) async fn finish(mut self) -> Result<()> {
        self.held.withdraw();
        self.listeners.close_all().await;
        self.process.unix_closing.cancel();
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, tasks).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.access.flush(FLUSH).await;
        Ok(())
    }
}

impl Process {
    async fn end(&self, instances: StopAll, who: &str) -> Result<(), Problem> {
        self.listeners.stop_accepting().await;
        let result = self.control.shut_down(instances, who).await;
        self.ended.send_replace(Some(Ended::ShutDown));
        result
    }

    /// Another process has taken over.
    pub(crate) fn was_upgraded(&self, program: &Path) {
        self.ended.send_replace(Some(Ended::Upgraded(program.to_owned())));
    }

    /// Nobody is the manager any more.
    pub(crate) fn give_up(&self) {
        self.ended.send_replace(Some(Ended::Failed));
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Manager for Process {
    fn info(&self) -> InfoView {
        InfoView {
            listeners: self.listeners.open_ones(),
            waiting_clients: self.listeners.waiting_clients(),
            plain_requests: self.listeners.plain_requests(),
            ..self.info.clone()
        }
    }

    fn front_door(&self) -> FrontDoorStats {
        self.listeners.front_door()
    }

    fn process(&self) -> Option<ProcessStats> {
        own_process::stats()
    }

    fn listen(&self, request: ListenRequest) -> Boxed<'_, Result<OpenListener, Problem>> {
        Box::pin(self.listeners.open(request, true))
    }

    fn doctor(&self) -> Boxed<'_, Result<Diagnosis, Problem>> {
        Box::pin(self.examiner.examine(self.held.data.clone()))
    }

    fn upgrade(&self, program: PathBuf) -> Boxed<'_, Result<UpgradeView, Problem>> {
        Box::pin(async move { upgrade::old::hand_over(self, &program).await })
    }

    fn explain(&self, request: ExplainRequest) -> Boxed<'_, Result<Explanation, Problem>> {
        Box::pin(self.listeners.explain(request))
    }

    fn log_level(&self) -> String {
        self.log_level.get()
    }

    fn set_log_level(&self, level: &str) -> Result<(), Problem> {
        self.log_level.set(level).map_err(|fault| Problem::fields(vec![FieldError::new("level", fault)]))?;
        tracing::info!(filter = self.log_level.get(), "what is logged was changed");
        Ok(())
    }

    fn shut_down(&self, instances: StopAll, who: String) -> Boxed<'_, Result<(), Problem>> {
        Box::pin(async move { self.end(instances, &who).await })
    }
}

/// It is worth less than a manager: without it, too, there is one.
fn open_access_log(settings: &Settings, held: &Held) -> AccessLog {
    if !settings.access_log {
        return AccessLog::default();
    }
    AccessLog::start(held.data.path().join("access.log")).unwrap_or_else(|error| {
        tracing::warn!(%error, "there is no access log: its thread cannot be started");
        AccessLog::default()
    })
}

fn listen_unix(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    // We hold the lock: a socket that is there is a dead manager's.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to replace {}", path.display()));
        }
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)
        .with_context(|| format!("failed to listen on {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A manager has a descriptor or two for each instance and open handshake: it takes what the system allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// Uniform in `[0, 1)`: the random bits of a UUID are good enough for jitter.
fn random() -> f64 {
    f64::from(Uuid::new_v4().as_u128() as u32) / (f64::from(u32::MAX) + 1.0)
}
