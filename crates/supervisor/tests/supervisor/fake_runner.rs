//! A runner that the test plays: a process that only waits, and a control socket.

use jiff::Timestamp;
use myagent_core::config::ServiceConfig;
use myagent_core::service::{Desired, Service, Source};
use myagent_core::wire::control::{
    Answer, Hello, Phase, ProtocolRange, Request, RequestLine, RunnerEvent, RunnerLine, Status,
};
use myagent_core::{Clock, InstanceKey, ServiceId, StartId};
use myagent_supervisor::{
    AccessLog, Clients, Config, Deps, InstanceHandle, Observed, OpenConnections, Past, Ports, RunnerRecord,
    Sessions, Update, Wanted, What, spawn, start_time,
};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

/// Nothing in these tests takes long; a loaded machine may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }
}

/// The stage: a folder, an instance's task, and what it says.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) handle: InstanceHandle,
    pub(crate) last: Option<Observed>,
    pub(crate) records: Vec<String>,
    pub(crate) access: AccessLog,
    updates: mpsc::Receiver<Update>,
    tasks: JoinSet<InstanceKey>,
}

/// The runner's side.
pub(crate) struct FakeRunner {
    pub(crate) process: Child,
    pub(crate) lines: Lines<BufReader<OwnedReadHalf>>,
    pub(crate) writer: OwnedWriteHalf,
}

impl Drop for FakeRunner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that waits until it is killed.
pub(crate) fn waiting_process() -> Child {
    Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap()
}

pub(crate) fn service(url: &str, config: ServiceConfig) -> Service {
    Service {
        service_id: ServiceId(Uuid::from_u128(1)),
        name: "legacy".to_owned(),
        description: String::new(),
        source: Source::External { url: url.to_owned() },
        host: "127.0.0.1".to_owned(),
        port: None,
        tags: Default::default(),
        replicas: 1,
        config,
        environment: Default::default(),
        secret_names: Default::default(),
        desired: Desired::Running,
        version: 1,
        restart_version: 0,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn status(phase: Phase) -> Status {
    Status {
        service_id: ServiceId(Uuid::from_u128(1)),
        index: 0,
        start_id: StartId(Uuid::from_u128(2)),
        agent_pid: Some(42),
        started_at: Timestamp::UNIX_EPOCH,
        phase,
        worker_restarts: 0,
        ready_line_seen: false,
        busy: false,
        responsive: true,
        draining: false,
        ownership: "subreaper".to_owned(),
    }
}

/// Puts an instance's task on stage whose past names `process` as its runner; nobody answers on the control socket yet.
pub(crate) fn stage(service: Service, process: &Child, started: u64, ready: bool) -> (Stage, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("c");
    let listener = UnixListener::bind(&control).unwrap();
    let record = RunnerRecord {
        start_id: StartId(Uuid::from_u128(2)),
        pid: process.id(),
        start_time: started,
        control,
        takeover: folder.path().join("t"),
        tree: folder.path().join("tree.json"),
        port: None,
        started_at: Timestamp::UNIX_EPOCH,
        ready_at: ready.then_some(Timestamp::UNIX_EPOCH),
        version: 1,
    };
    let (updates, receiver) = mpsc::channel(64);
    let access = AccessLog::start(folder.path().join("access.log")).unwrap();
    let deps = Deps {
        config: Config {
            // Whatever is to be started here must fail, and clearing up finds no list of processes.
            exe: "/nonexistent".into(),
            runtime_dir: folder.path().to_owned(),
            log_dir: folder.path().to_owned(),
            tree_dir: folder.path().to_owned(),
            journal_dir: folder.path().to_owned(),
            access: access.clone(),
            clock: Arc::new(FixedClock),
            random: || 0.5,
            new_id: Uuid::now_v7,
            trust: myagent_tls::Trust::system(),
        },
        ports: Ports::new((1, 1)),
        updates,
        connections: OpenConnections::default(),
        clients: Clients::default(),
        sessions: Sessions::default(),
        sampled: Default::default(),
    };
    let wanted = Wanted { service: Arc::new(service), secrets: Arc::default(), index: 0 };
    let past = Past { runner: Some(record), restarts: 2, ..Past::default() };
    let mut tasks = JoinSet::new();
    let handle = spawn(&mut tasks, deps, wanted, past);
    (Stage { folder, handle, last: None, records: Vec::new(), access, updates: receiver, tasks }, listener)
}

impl Stage {
    /// Takes updates until one shows what is waited for.
    pub(crate) async fn until(&mut self, what: &str, seen: impl Fn(&Observed) -> bool) -> Observed {
        let wait = async {
            loop {
                if let Some(last) = self.last.as_ref().filter(|last| seen(last)) {
                    return last.clone();
                }
                match self.updates.recv().await.expect("the instance's task has ended").what {
                    What::Changed(observed) => self.last = Some(*observed),
                    What::Record { kind, .. } => self.records.push(kind),
                    What::Checked(_) | What::RunnerEnded(_) => {}
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(observed) => observed,
            Err(elapsed) => panic!("{what} was never seen ({elapsed}); last: {:?}", self.last),
        }
    }

    /// Waits until the task has ended.
    pub(crate) async fn ended(&mut self) {
        timeout(PATIENCE, self.tasks.join_next()).await.unwrap().unwrap().unwrap();
    }
}

impl FakeRunner {
    /// Takes the manager's connection and exchanges hellos.
    pub(crate) async fn answer(listener: &UnixListener, process: Child, protocol: ProtocolRange) -> Self {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let (reader, writer) = stream.into_split();
        let mut runner = Self { process, lines: BufReader::new(reader).lines(), writer };
        let hello = timeout(PATIENCE, runner.lines.next_line()).await.unwrap().unwrap().unwrap();
        let hello: Hello = serde_json::from_str(&hello).unwrap();
        assert_eq!(hello.pid, std::process::id());
        runner.write(&Hello { protocol, version: "0.0.9".to_owned(), pid: runner.process.id() }).await;
        runner
    }

    async fn write(&mut self, message: &impl serde::Serialize) {
        let mut line = serde_json::to_vec(message).unwrap();
        line.push(b'\n');
        self.writer.write_all(&line).await.unwrap();
    }

    pub(crate) async fn reply(&mut self, id: u64, answer: Answer) {
        self.write(&RunnerLine::Answer { id, answer }).await;
    }

    pub(crate) async fn say(&mut self, event: RunnerEvent) {
        self.write(&RunnerLine::Event { event }).await;
    }

    /// The next request that is not about the status; those are answered with `phase`.
    pub(crate) async fn request(&mut self, phase: &Phase) -> RequestLine {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await.unwrap().unwrap().unwrap();
            let line: RequestLine = serde_json::from_str(&line).unwrap();
            match line.request {
                Request::Status => self.reply(line.id, Answer::Status(status(phase.clone()))).await,
                Request::FullReport => self.reply(line.id, Answer::Report(Box::default())).await,
                _ => return line,
            }
        }
    }

    /// Answers status requests until told what is waited for is seen.
    pub(crate) async fn serve_until<T>(&mut self, phase: &Phase, seen: impl Future<Output = T>) -> T {
        tokio::select! {
            request = self.request(phase) => panic!("an unexpected request: {request:?}"),
            seen = seen => seen,
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A TCP listener that never answers a handshake: probes time out.
pub(crate) async fn deaf_listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

/// The start time of a process that is there.
pub(crate) fn started(process: &Child) -> u64 {
    start_time(process.id()).unwrap()
}
