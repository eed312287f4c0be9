//! A host on port 0, its worker, and a client that speaks the event protocol.

use futures_util::{SinkExt as _, StreamExt as _};
use myagent_core::config::ServiceConfig;
use myagent_core::wire::handover::{Down, Moved, Up, decode, encode};
use myagent_core::{Clock, StartId};
use myagent_handover::Listener;
use myagent_host::{Host, HostConfig, LoadError, WorkerReady, worker_argv};
use myagent_journal::Journal;
use myagent_relay::table::Table;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Limits, MaybeTlsStream, Message, WebSocketStream};

/// Nothing in these tests takes longer, however slow the machine is.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A clock that stands still unless it is moved.
#[derive(Default)]
pub(crate) struct TestClock {
    seconds: AtomicI64,
}

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.seconds.fetch_add(by.as_secs().cast_signed(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::constant(1_795_331_774, 409_647_000);
        start + Duration::from_secs(self.seconds.load(Ordering::Relaxed).cast_unsigned())
    }
}

/// Runs a test on the kind of runtime that a runner has.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async { timeout(3 * LONG, test).await.unwrap() }));
}

/// Runs a test with this agent file loaded.
pub(crate) fn with_agent<F: Future<Output = ()>>(source: &str, test: impl FnOnce(Rig) -> F) {
    with_config(source, ServiceConfig::default(), test);
}

pub(crate) fn with_config<F: Future<Output = ()>>(
    source: &str,
    config: ServiceConfig,
    test: impl FnOnce(Rig) -> F,
) {
    run(async {
        let mut rig = Rig::new(config).await;
        rig.write(source);
        rig.start().await.unwrap();
        test(rig).await;
    });
}

/// A host and the worker that it may have.
pub(crate) struct Rig {
    pub(crate) host: Host,
    pub(crate) table: Table,
    pub(crate) address: SocketAddr,
    pub(crate) notices: mpsc::Receiver<(String, String)>,
    pub(crate) agent: PathBuf,
    pub(crate) clock: Arc<TestClock>,
    /// More variables for the worker.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    worker: Option<Child>,
    folder: Rc<TempDir>,
    takeover: JoinHandle<()>,
}

impl Rig {
    pub(crate) async fn new(config: ServiceConfig) -> Self {
        Self::in_folder(config, Rc::new(tempfile::tempdir().unwrap()), 0).await
    }

    /// Another instance of the same service; its agent file is that of the first one.
    pub(crate) async fn replica(&self, config: ServiceConfig, index: u32) -> Self {
        Self::in_folder(config, Rc::clone(&self.folder), index).await
    }

    async fn in_folder(config: ServiceConfig, folder: Rc<TempDir>, index: u32) -> Self {
        let agent = folder.path().join("test_agent.py");
        let clock = Arc::new(TestClock::default());
        let (sender, notices) = mpsc::channel(16);
        let busy = ServiceConfig::seconds(config.busy_max);
        let table = Table::new(Arc::clone(&clock) as Arc<dyn Clock>, busy, config.max_sessions);
        let start_id = StartId(uuid::Uuid::new_v4());
        let takeover = folder.path().join(format!("{start_id}.sock"));
        let journal_folder = folder.path().join("journal");
        let journal = Journal::open(myagent_journal::Config {
            folder: journal_folder.clone(),
            start_id,
            service: "test".to_owned(),
            instance: format!("test-{index}"),
            takeover: takeover.clone(),
            max_bytes: u64::from(config.journal_max_mb) * 1024 * 1024,
            keep: ServiceConfig::seconds(config.session_timeout),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
        });
        let config = HostConfig {
            service: "test".to_owned(),
            instance: format!("test-{index}"),
            config,
            agent_file: agent.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            notices: sender,
            random_id: uuid::Uuid::new_v4,
            journal: journal.unwrap(),
            journal_folder,
        };
        let host = Host::new(config, table.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = host.clone();
        tokio::task::spawn_local(async move { serving.listen(listener).await });
        let doors = Listener::bind(&takeover).unwrap();
        let takeover = tokio::task::spawn_local(serve_takeover(doors, host.clone()));
        let environment = Vec::new();
        Self { host, table, address, notices, agent, clock, environment, worker: None, folder, takeover }
    }

    /// Gives all clients away.
    pub(crate) fn drain(&self, window: Duration) -> JoinHandle<myagent_host::Drained> {
        let host = self.host.clone();
        tokio::task::spawn_local(async move { host.drain(window).await })
    }

    /// Something else that lives in the folder of the service: its journal, and its take-over socket.
    pub(crate) fn stranger(&self) -> (Journal, Listener) {
        let start_id = StartId(uuid::Uuid::new_v4());
        let takeover = self.folder.path().join(format!("{start_id}.sock"));
        let listener = Listener::bind(&takeover).unwrap();
        let journal = Journal::open(myagent_journal::Config {
            folder: self.folder.path().join("journal"),
            start_id,
            service: "test".to_owned(),
            instance: "test-9".to_owned(),
            takeover,
            max_bytes: 1 << 20,
            keep: LONG,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        });
        (journal.unwrap(), listener)
    }

    /// Its process hangs: whoever asks it for a client gets no answer.
    pub(crate) fn hang(&self) {
        self.takeover.abort();
    }

    /// Everything that any instance has written is gone from the disk.
    pub(crate) fn damage_journals(&self) {
        let starts = std::fs::read_dir(self.folder.path().join("journal")).into_iter().flatten();
        for segment in starts.map(|start| start.unwrap().path().join("00000001.log")) {
            if segment.exists() {
                std::fs::File::create(segment).unwrap();
            }
        }
    }

    pub(crate) fn write(&self, source: &str) {
        std::fs::write(&self.agent, source).unwrap();
    }

    /// Starts a worker for the agent file and waits until it has loaded.
    pub(crate) async fn start(&mut self) -> Result<WorkerReady, LoadError> {
        let agent = self.agent.clone();
        self.start_file(&agent).await
    }

    pub(crate) async fn start_file(&mut self, agent: &Path) -> Result<WorkerReady, LoadError> {
        let argv = worker_argv(Path::new("python3"));
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        let ours = self.spawn(command, agent);
        timeout(LONG, self.host.attach_worker(ours)).await.unwrap()
    }

    /// Starts a worker that is a program of its own.
    pub(crate) async fn start_other(
        &mut self,
        program: &Path,
        agent: &Path,
    ) -> Result<WorkerReady, LoadError> {
        let mut command = Command::new(program);
        command.arg(agent);
        let ours = self.spawn(command, agent);
        timeout(LONG, self.host.attach_other_worker(ours)).await.unwrap()
    }

    fn spawn(&mut self, mut command: Command, agent: &Path) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        command
            .env("MYAGENT_WORKER_FD", theirs.as_raw_fd().to_string())
            .env("MYAGENT_AGENT_FILE", agent)
            .envs(self.environment.iter().copied());
        self.worker = Some(command.spawn().unwrap());
        ours
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.worker.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn worker_pid(&self) -> u32 {
        self.worker.as_ref().unwrap().id()
    }

    /// Waits until the worker has ended by itself.
    pub(crate) async fn worker_exit(&mut self) -> std::process::ExitStatus {
        let child = self.worker.as_mut().unwrap();
        for _ in 0..3000 {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the worker has not ended");
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    pub(crate) async fn notice(&mut self) -> (String, String) {
        timeout(LONG, self.notices.recv()).await.unwrap().unwrap()
    }
}

/// What a runner does with clients of another one.
async fn serve_takeover(listener: Listener, host: Host) {
    loop {
        let channel = listener.accept().await.unwrap();
        let host = host.clone();
        tokio::task::spawn_local(async move {
            let (mut message, mut reply) = (Vec::new(), Vec::new());
            let mut arriving: Option<(Moved, Vec<u8>, std::net::TcpStream)> = None;
            let mut place = None;
            while let Some(received) = channel.recv(&mut message).await.unwrap() {
                let (down, raw) = decode::<Down>(&message).unwrap();
                match down {
                    Down::Ask(ask) => {
                        let unwilling =
                            |(reason, detail): (_, &str)| Up::Unwilling { reason, detail: detail.to_owned() };
                        let up = if ask.bring {
                            host.would_take().map_or_else(unwilling, |(kept, places)| {
                                place = Some(kept);
                                Up::Willing { places: Some(places) }
                            })
                        } else {
                            let willing = |()| Up::Willing { places: Some(host.places()) };
                            host.is_willing(ask.session_id).map_or_else(unwilling, willing)
                        };
                        encode(&mut reply, &up, &[]).unwrap();
                        channel.send(&reply, None).await.unwrap();
                    }
                    Down::Moved(moved) => {
                        let stream = std::net::TcpStream::from(received.descriptor.unwrap());
                        arriving = Some((moved, raw.to_vec(), stream));
                    }
                    Down::Unread => arriving.as_mut().unwrap().1.extend_from_slice(raw),
                    Down::Offer(_) => panic!("no proxy here"),
                }
                if let Some((moved, raw, stream)) =
                    arriving.take_if(|(moved, raw, _)| raw.len() >= moved.raw())
                {
                    if moved.brings.is_some() {
                        let up = match host.adopt(&moved).await {
                            Ok(()) => Up::Taken { connection_id: moved.connection_id },
                            Err((reason, detail)) => Up::Unwilling { reason, detail: detail.to_owned() },
                        };
                        encode(&mut reply, &up, &[]).unwrap();
                        let _ = channel.send(&reply, None).await;
                        if matches!(up, Up::Unwilling { .. }) {
                            continue;
                        }
                    }
                    tokio::task::spawn_local(host.take_over(moved, raw, stream));
                    place = None;
                }
            }
        });
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client of the event protocol.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) connection: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_to(&format!("ws://{address}/some/path?x=1")).await
    }

    /// One that wants to hear of us.
    pub(crate) async fn with_events(address: SocketAddr) -> Self {
        Self::connect_to(&format!("ws://{address}/?events=1")).await
    }

    async fn connect_to(url: &str) -> Self {
        let (socket, _) =
            ClientBuilder::new().uri(url).unwrap().limits(Limits::unlimited()).connect().await.unwrap();
        let mut client = Self { socket, connection: String::new() };
        let first = client.next().await;
        assert_eq!(first["event"], "system.connected");
        assert_eq!(first["metadata"]["connection_id"], first["connection_id"]);
        assert!(first.get("seq").is_none());
        first["connection_id"].as_str().unwrap().clone_into(&mut client.connection);
        client
    }

    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, event: Value) {
        self.send_text(event.to_string()).await;
    }

    /// The next frame, a text frame with JSON.
    pub(crate) async fn next(&mut self) -> Value {
        let message =
            timeout(LONG, self.socket.next()).await.expect("an event in time").expect("an event").unwrap();
        serde_json::from_str(message.as_text().unwrap_or_else(|| panic!("not text: {message:?}"))).unwrap()
    }

    /// The socket, to write to it what is no whole frame.
    pub(crate) fn raw(&self) -> TcpStream {
        let MaybeTlsStream::Plain(stream) = self.socket.get_ref();
        TcpStream::from_std(std::net::TcpStream::from(rustix::io::dup(stream).unwrap())).unwrap()
    }

    /// The connection ends, without a close frame.
    pub(crate) async fn ended(&mut self) {
        let next = timeout(LONG, self.socket.next()).await.expect("an end in time");
        assert!(matches!(next, None | Some(Err(_))), "{next:?}");
    }

    /// The code and reason with which the host closes.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            let message =
                timeout(LONG, self.socket.next()).await.expect("a close in time").expect("a close").unwrap();
            if let Some((code, reason)) = message.as_close() {
                return (code.into(), reason.to_owned());
            }
        }
    }

    /// The next frame, which must be this event.
    pub(crate) async fn expect(&mut self, event: &str) -> Value {
        let found = self.next().await;
        assert_eq!(found["event"], event, "{found}");
        found
    }

    /// All frames up to and with this event.
    pub(crate) async fn until(&mut self, event: &str) -> Vec<Value> {
        let mut all = vec![self.next().await];
        while all.last().unwrap()["event"] != event {
            all.push(self.next().await);
        }
        all
    }

    pub(crate) async fn create(&mut self, content: Value) -> Value {
        self.send(json!({"event":"user.create_session","content":content})).await;
        self.expect("agent.session_created").await
    }

    /// The id of a new session.
    pub(crate) async fn session(&mut self) -> String {
        self.create(Value::Null).await["session_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn say(&mut self, session: &str, text: &str) {
        self.send(json!({"event":"user.message","session_id":session,"content":text})).await;
    }

    /// Says something and waits for the answer; nothing else may come before it.
    pub(crate) async fn ask(&mut self, session: &str, text: &str) -> String {
        self.say(session, text).await;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> String {
        self.expect("agent.final_answer").await["content"].as_str().unwrap().to_owned()
    }
}
