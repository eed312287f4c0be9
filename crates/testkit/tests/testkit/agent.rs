//! The fake agent, well behaved and not.

use futures_util::{SinkExt, StreamExt};
use myagent_testkit::fake_agent::{self, DESCENDANTS, Options, serve};
use myagent_testkit::{EventClient, client, http, processes, wait_for};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_websockets::Message;

const LONG: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_myagent-fake-agent");

/// An agent inside the test.
async fn agent(options: Options) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(listener, options).await.unwrap() });
    (address, tasks)
}

/// An agent as a process; ended when dropped.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> (Self, SocketAddr) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("PORT", port.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        (Self(command.spawn().unwrap()), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    async fn code(mut self) -> Option<i32> {
        wait_for(LONG, "the end", async || self.0.try_wait().unwrap()).await.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn connected(address: SocketAddr) -> EventClient {
    wait_for(LONG, "a connection", async || EventClient::connect(&format!("ws://{address}")).await.ok()).await
}

#[tokio::test]
async fn a_conversation() {
    let (address, _tasks) = agent(Options { delay: Duration::from_millis(1), ..Options::default() }).await;
    let mut client = EventClient::connect(&format!("ws://{address}")).await.unwrap();
    client.next_named("system.connected").await.unwrap();
    let session = client.create_session().await.unwrap();
    let events = client.turn(&session, "hello").await.unwrap();
    assert_eq!(events.len(), 4);
    assert_eq!(events[3]["content"], "echo: hello");
    client.message(&session, "again").await.unwrap();
    client.cancel(&session).await.unwrap();
    client.turn(&session, "and again").await.unwrap();
    client.check_seq(&session, 1).unwrap();
    assert!(client.turn("nope", "x").await.unwrap_err().to_string().contains("agent.error"));
    client.close().await.unwrap();
}

#[tokio::test]
async fn an_echo() {
    let (address, _tasks) = agent(Options { echo: true, ..Options::default() }).await;
    let mut socket = client::connect(&format!("ws://{address}/any?x")).await.unwrap();
    socket.send(Message::text("x".repeat(100_000))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().as_text().unwrap().len(), 100_000);
}

#[tokio::test]
async fn it_hangs_while_a_file_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hang");
    let (address, _tasks) = agent(Options { hang_while: Some(file.clone()), ..Options::default() }).await;
    let mut old = connected(address).await;
    old.next_named("system.connected").await.unwrap();
    std::fs::write(&file, "").unwrap();
    let new = connected(address);
    tokio::pin!(new);
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut new).await;
    assert!(waited.is_err(), "a hanging agent answered a handshake");
    std::fs::remove_file(&file).unwrap();
    new.await.next_named("system.connected").await.unwrap();
    old.create_session().await.unwrap();
}

#[tokio::test]
async fn it_hangs_after_the_first_handshake() {
    let (address, _tasks) = agent(Options { hang_after_ready: true, ..Options::default() }).await;
    let _first = connected(address).await;
    let url = format!("ws://{address}");
    let second = tokio::time::timeout(Duration::from_millis(200), client::connect(&url)).await;
    assert!(second.is_err(), "a hanging agent answered a handshake");
}

#[tokio::test]
async fn it_ends_as_told() {
    let (process, _) = Process::start(&["--crash-on-start", "7"]);
    assert_eq!(process.code().await, Some(7));
    let (process, address) =
        Process::start(&["--exit-after", "0.3", "--code", "3", "--listen-after", "0.05"]);
    let mut client = connected(address).await;
    client.next_named("system.connected").await.unwrap();
    assert_eq!(process.code().await, Some(3));
    assert_eq!(client.until_closed().await.unwrap().0, 1006);
    let (process, _) = Process::start(&["--nonsense"]);
    assert_eq!(process.code().await, Some(2));
    assert_eq!(fake_agent::path(), std::path::Path::new(PROGRAM));
}

#[tokio::test]
async fn it_says_much_and_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let report_path = report.to_str().unwrap();
    let words = ["--print-env", "--flood", "0", "0.05", "--flood-report", report_path, "--exit-after", "0.5"];
    let (mut process, _) = Process::start(&words);
    let mut output = process.0.stdout.take().unwrap();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut output, &mut text).unwrap();
        text
    });
    let text = text.await.unwrap();
    assert!(text.lines().any(|line| line.starts_with("PORT=")), "{text:.200}");
    assert!(text.len() > 100_000 && text.contains("flood over"));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["lines"], text.lines().filter(|line| line.starts_with("flood flood")).count());
    assert!(report["longest_write_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn it_answers_plain_http_when_it_is_warm() {
    for (warm_up, status) in [(None, 200), (Some(LONG), 503)] {
        let (address, _tasks) = agent(Options { warm_up, ..Options::default() }).await;
        let answer = http::request(address, "GET", "/healthz", None).await.unwrap();
        assert_eq!(answer.status, status);
        connected(address).await.create_session().await.unwrap();
    }
}

#[tokio::test]
async fn it_leaves_descendants_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let (process, address) = Process::start(&["--spawn-tree", tree.to_str().unwrap(), "--ignore-term"]);
    connected(address).await;
    let pid = |name: &str| std::fs::read_to_string(tree.join(name)).ok()?.parse::<u32>().ok();
    let mut pids = Vec::new();
    for name in DESCENDANTS {
        pids.push(wait_for(LONG, name, async || pid(name)).await);
    }
    assert!(pids.iter().all(|pid| processes::is_alive(*pid)));
    let environment = std::fs::read(format!("/proc/{}/environ", pids[4])).unwrap();
    assert!(environment.is_empty(), "the detached one has an environment");

    // TERM ends those that do not ignore it; the agent ignores it, as it was told.
    for pid in pids.iter().copied().chain([process.0.id()]) {
        processes::send(pid, rustix::process::Signal::TERM);
    }
    for (index, name) in DESCENDANTS.iter().enumerate().filter(|(_, name)| **name != "ignores_term") {
        wait_for(LONG, name, async || (!processes::is_alive(pids[index])).then_some(())).await;
    }
    assert!(processes::is_alive(pids[1]) && processes::is_alive(process.0.id()));
    drop(process);
    let mut killed = processes::kill_carrying(folder.path());
    killed.retain(|pid| pids.contains(pid));
    assert_eq!(killed, [pids[1]]);
    wait_for(LONG, "the end of the last", async || (!processes::is_alive(pids[1])).then_some(())).await;
}
