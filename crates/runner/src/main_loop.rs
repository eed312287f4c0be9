//! From the spec on standard input to the end of the process: sets everything up, and then turns what happens into events
//! and has them handled one after the other.
//!
//! All of it is on the main thread, because an agent dies with the thread that forked it. The only other thread writes
//! the log files.

use crate::backend::Backend;
use crate::cgroup::Limits;
use crate::control::{self, Clients};
use crate::drain::Leaving;
use crate::event::Event;
use crate::log_writer::LogFiles;
use crate::logs::Logs;
use crate::reap::reap;
use crate::runner::Runner;
use crate::takeover::{self, Door};
use crate::tree::Tree;
use crate::usage::UsageWatch;
use myagent_core::Clock;
use myagent_core::config::ServiceConfig;
use myagent_core::probe::Ready;
use myagent_core::restart::History;
use myagent_core::wire::control::Phase;
use myagent_core::wire::launch::{AgentLaunch, RunnerSpec};
use myagent_handover::Listener;
use myagent_relay::table::Table;
use rustix::process::{Resource, Rlimit};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Events that may wait; whoever has more to say waits, but for hints, which are dropped.
const EVENTS: usize = 256;
/// How long a last answer may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long news of sessions are gathered before they are told.
const NEWS_DELAY: Duration = Duration::from_millis(50);

/// Why a runner could not run.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("failed to read the spec from standard input: {0}")]
    Spec(String),
    #[error("failed to {0}: {1}")]
    Io(&'static str, std::io::Error),
}

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> SetupError {
    move |error| SetupError::Io(what, error)
}

/// The hidden subcommand `runner`: reads a [`RunnerSpec`] as JSON from standard input to its end, makes a session of its
/// own, starts the agent, and serves until it is dismissed or stopped. To be called on the main thread.
pub fn run(clock: Arc<dyn Clock>) -> ExitCode {
    match try_run(clock) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runner cannot run");
            let _ = writeln!(std::io::stderr(), "runner: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(clock: Arc<dyn Clock>) -> Result<(), SetupError> {
    let spec = read_spec()?;
    // Refused for the leader of a group: then it was started as one already.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| SetupError::Io("become a subreaper", error.into()))?;
    // A process that lives long must not keep a folder busy; every path of the spec is absolute.
    let _ = std::env::set_current_dir("/");
    let open_files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(failed("make the runtime"))?;
    // A task like the others: what is given to `block_on` itself is polled whenever anything at all happens, so with every
    // message of every client.
    let result = runtime.block_on(async {
        let serving = tokio::task::spawn_local(serve(spec, clock, open_files));
        // It is never cancelled; if it panics, so does the process.
        serving.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    });
    // A thread that hangs on the disk must not keep the process.
    runtime.shutdown_background();
    result
}

fn read_spec() -> Result<RunnerSpec, SetupError> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map_err(|error| SetupError::Spec(error.to_string()))?;
    // The words of the reader may quote a value, and there are secrets among those.
    serde_json::from_slice(&text).map_err(|error| {
        SetupError::Spec(format!(
            "{:?} at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })
}

/// Room for many clients here; the agent gets the old soft limit back, because programs that use `select` need it low.
fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised).ok()?;
    limit.current
}

/// Where events come from.
struct Sources {
    events: mpsc::Receiver<Event>,
    children: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Sources {
    fn new(events: mpsc::Receiver<Event>) -> Result<Self, SetupError> {
        let watch = |kind| signal(kind).map_err(failed("watch for signals"));
        Ok(Self {
            events,
            children: watch(SignalKind::child())?,
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self, tick: Instant) -> Event {
        tokio::select! {
            // An end that was seen is dealt with before whatever else was sent.
            biased;
            _ = self.children.recv() => Event::Children(reap()),
            Some(event) = self.events.recv() => event,
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Terminate,
            () = tokio::time::sleep_until(tick) => Event::Tick,
        }
    }
}

async fn serve(spec: RunnerSpec, clock: Arc<dyn Clock>, open_files: Option<u64>) -> Result<(), SetupError> {
    let (events, receiver) = mpsc::channel(EVENTS);
    let mut sources = Sources::new(receiver)?;
    let mut runner = make_runner(spec, clock, events, open_files)?;
    let paths = runner.spec.paths.clone();
    let takeover = Listener::bind(&paths.takeover).map_err(failed("bind the take-over socket"))?;
    // Last: whoever can connect finds everything else there.
    let control = control::bind(&paths.control).map_err(failed("bind the control socket"))?;
    runner.start();
    let servers = serve_sockets(&runner, control, takeover);
    runner.tasks.spawn_local(tell_news(runner.table.news(), runner.events.clone()));
    while !runner.finished {
        let event = sources.next(runner.usage.next_tick()).await;
        runner.handle(event);
    }
    runner.clients.flush(LAST_WORDS).await;
    runner.logs.close().await;
    drop(servers);
    for path in [&paths.control, &paths.takeover] {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// Sessions are told soon, so that clients that come back at once find theirs; those of a moment together.
async fn tell_news(news: Rc<Notify>, events: mpsc::Sender<Event>) {
    loop {
        news.notified().await;
        tokio::time::sleep(NEWS_DELAY).await;
        if events.send(Event::News).await.is_err() {
            return;
        }
    }
}

fn serve_sockets(runner: &Runner, control: UnixListener, takeover: Listener) -> JoinSet<()> {
    let door = Door {
        backend: Rc::clone(&runner.backend),
        draining: Rc::clone(&runner.draining),
        conversations: TaskTracker::new(),
    };
    let mut servers = JoinSet::new();
    servers.spawn_local(control::serve(control, runner.clients.clone(), runner.events.clone()));
    servers.spawn_local(takeover::serve(takeover, door));
    servers
}

fn make_runner(
    spec: RunnerSpec,
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    open_files: Option<u64>,
) -> Result<Runner, SetupError> {
    let config = &spec.config;
    let files = LogFiles {
        folder: spec.paths.logs.clone(),
        instance: format!("{}-{}", spec.service, spec.index),
        max_bytes: u64::from(config.log_max_mb) * 1024 * 1024,
        files: config.log_files,
    };
    let ready = match &config.ready {
        Ready::Log(pattern) => Some(pattern.as_str()),
        _ => None,
    };
    let logs =
        Logs::start(files, ready, Arc::clone(&clock), events.clone()).map_err(failed("start the log"))?;
    let limits = Limits {
        memory: config.memory_limit_mb.map(|limit| limit.saturating_mul(1024 * 1024)),
        cpu_percent: config.cpu_limit_percent,
    };
    let tree = match spec.agent {
        AgentLaunch::External { .. } => None,
        AgentLaunch::Command { .. } | AgentLaunch::File { .. } => {
            let tree = Tree::create(spec.start_id, limits, spec.paths.tree.clone());
            Some(Rc::new(tree.map_err(failed("save the list of processes"))?))
        }
    };
    let busy_max = ServiceConfig::seconds(config.busy_max);
    let table = Table::new(Arc::clone(&clock), busy_max, config.max_sessions);
    if !matches!(spec.agent, AgentLaunch::File { .. }) {
        // Those of an agent file are in its journal, where every instance finds them.
        let keep = ServiceConfig::seconds(config.session_timeout);
        table.remember_sessions(keep, config.max_detached_sessions as usize);
    }
    Ok(Runner {
        started_at: clock.now(),
        spec: Rc::new(spec),
        clock,
        origin: Instant::now(),
        events,
        clients: Clients::default(),
        logs: Rc::new(logs),
        tree,
        table,
        sessions: None,
        backend: Rc::new(RefCell::new(Backend::None)),
        phase: Phase::Starting,
        agent_pid: None,
        open_files,
        worker: 0,
        fresh: false,
        history: History::default(),
        ending: None,
        last_exit: None,
        ready_line_seen: false,
        draining: Rc::default(),
        leaving: Leaving::No,
        stop: None,
        usage: UsageWatch::new(),
        tasks: JoinSet::new(),
        finished: false,
    })
}
