//! Puts a manager together: store, engine, front door, API. The only place that knows them all.

use crate::clock::SystemClock;
use crate::lifecycle::Held;
use crate::listeners::Listeners;
use anyhow::{Context, Result};
use myagent_api::{ApiState, Manager, OpenListener, Transport};
use myagent_control::{Engine, Handle, StopAll, SweepInterval};
use myagent_core::Clock;
use myagent_core::error::Problem;
use myagent_core::request::ListenRequest;
use myagent_core::settings::Settings;
use myagent_core::view::InfoView;
use myagent_store::{SecretKey, Store};
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long open requests of the API may go on at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// A manager that runs.
pub(crate) struct Running {
    held: Arc<Held>,
    listeners: Arc<Listeners>,
    process: Arc<Process>,
    tasks: JoinSet<()>,
    engine: Option<Engine>,
    closing: CancellationToken,
    ended: watch::Receiver<bool>,
}

/// The process, as far as the API may ask of it.
struct Process {
    control: Handle,
    listeners: Arc<Listeners>,
    info: InfoView,
    ended: watch::Sender<bool>,
}

/// Starts everything but TCP listeners and the engine. Errors name what could not be opened.
pub(crate) fn start(held: Held, settings: Settings, interval: Option<f64>) -> Result<Running> {
    raise_descriptor_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let held = Arc::new(held);
    let key = SecretKey::load_or_create(held.data.path())?;
    let store = Store::open(held.data.database(), key)?;
    let sweep = interval
        .map_or_else(SweepInterval::default, |seconds| SweepInterval(Duration::from_secs_f64(seconds)));
    let (engine, control) = Engine::new(myagent_control::Config {
        store,
        supervisor: myagent_supervisor::Config {
            exe: "/proc/self/exe".into(),
            runtime_dir: held.runtime_dir.clone(),
            log_dir: held.data.path().join("logs"),
            tree_dir: held.data.path().join("trees"),
            journal_dir: held.data.path().join("journal"),
            clock: Arc::clone(&clock),
            random,
            new_id: Uuid::now_v7,
            trust: myagent_tls::Trust::system(),
        },
        port_range: settings.port_range,
        allow_sources: settings.allow_sources.clone(),
        default_strategy: settings.default_strategy,
        retention_days: settings.retention_days,
        sweep,
    })?;
    let closing = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let listeners = Arc::new(Listeners::new(settings, control.routing(), Arc::clone(&clock)));
    let (ended, ended_receiver) = watch::channel(false);
    let info = InfoView {
        name: "myagent-manager".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: clock.now(),
        data_dir: held.data.path().display().to_string(),
        listeners: Default::default(),
    };
    let process =
        Arc::new(Process { control: control.clone(), listeners: Arc::clone(&listeners), info, ended });
    listeners.serve_api_with({
        let (control, process) = (control.clone(), Arc::clone(&process));
        move |transport| {
            myagent_api::router(ApiState { control: control.clone(), manager: process.clone(), transport })
        }
    });
    let socket = listen_unix(&held.socket())?;
    let router =
        myagent_api::router(ApiState { control, manager: process.clone(), transport: Transport::Unix });
    let closed = closing.clone();
    tasks.spawn(async move {
        if let Err(error) = myagent_api::serve::serve_unix(socket, router, closed).await {
            tracing::error!(%error, "the manager's socket failed");
        }
    });
    Ok(Running { held, listeners, process, tasks, engine: Some(engine), closing, ended: ended_receiver })
}

impl Running {
    /// Opens a TCP listener.
    pub(crate) async fn open(&self, request: ListenRequest) -> Result<OpenListener, Problem> {
        self.listeners.open(request).await
    }

    /// From now on commands find us, and what shall run is started: not before every listener is open, for a manager that
    /// cannot serve must leave the fleet alone.
    pub(crate) fn begin(&mut self) -> Result<()> {
        self.held.announce()?;
        if let Some(engine) = self.engine.take() {
            self.tasks.spawn(engine.run());
        }
        Ok(())
    }

    /// Waits until somebody has shut the manager down through the API.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender lives as long as `process`, which we hold.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Stops (or lets go of) every instance.
    pub(crate) async fn end(&self, instances: StopAll, who: &str) -> Result<(), Problem> {
        self.process.end(instances, who).await
    }

    /// Closes what is open and ends the tasks.
    pub(crate) async fn finish(mut self) -> Result<()> {
        self.held.withdraw();
        self.listeners.close_all().await;
        self.closing.cancel();
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, tasks).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        Ok(())
    }
}

impl Process {
    async fn end(&self, instances: StopAll, who: &str) -> Result<(), Problem> {
        self.listeners.stop_accepting().await;
        let result = self.control.shut_down(instances, who).await;
        self.ended.send_replace(true);
        result
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Manager for Process {
    fn info(&self) -> InfoView {
        InfoView { listeners: self.listeners.open_ones(), ..self.info.clone() }
    }

    fn listen(&self, request: ListenRequest) -> Boxed<'_, Result<OpenListener, Problem>> {
        Box::pin(self.listeners.open(request))
    }

    fn shut_down(&self, instances: StopAll, who: String) -> Boxed<'_, Result<(), Problem>> {
        Box::pin(async move { self.end(instances, &who).await })
    }
}

fn listen_unix(path: &Path) -> Result<UnixListener> {
    // We hold the lock: a socket that is there is a dead manager's.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("failed to replace {}", path.display()));
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(path).with_context(|| format!("failed to listen on {}", path.display()))?;
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
