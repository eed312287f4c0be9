//! Clients and agents that break every rule on a relayed connection: each case has a clear end, the runner lives and gives back what
//! the case took, and others are served all the while.

mod agents;
mod clients;

use crate::fleet::{PATIENCE, Process, instance, manager, number, private_memory, start_fake};
use crate::wire::{TEXT, frame, frame_head};
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::client::connect;
use myagent_testkit::manager::Server;
use myagent_testkit::{TestManager, wait_for};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_websockets::Message;

/// What any case may take; those that wait for one of our limits (5 s for a handshake) take that long.
const CASE: Duration = Duration::from_secs(25);
/// What an exchange of a bystander may take at the most. The test and the fleet share two cores.
const SLOWEST: Duration = Duration::from_secs(2);
/// What a runner may have more of its own than before.
const GROWTH: u64 = 4 * 1024 * 1024;

/// A frame as a server sends it.
fn from_server(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = frame_head(first, 0, payload.len());
    out.extend(payload);
    out
}

/// One that announces so much, and is followed by this.
fn announcing(first: u8, masked: bool, length: u64, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let key: &[u8] = if masked { &[0; 4] } else { &[] };
    [&[first, mask | 127][..], &length.to_be_bytes(), key, payload].concat()
}

/// An open connection that is not spoken through a library.
struct Raw {
    socket: TcpStream,
    /// Head of the answer.
    head: String,
}

impl Raw {
    /// Asks for a WebSocket; `early` goes along with the request.
    async fn open(address: SocketAddr, path: &str, early: &[u8]) -> Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(&[request.as_bytes(), early].concat()).await?;
        let mut head = Vec::new();
        // Byte by byte: what comes behind it is not ours yet.
        while !head.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        Ok(Self { socket, head: String::from_utf8_lossy(&head).into_owned() })
    }

    /// Everything up to the end of the stream, or its breaking.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // Broken is as much of an end.
        let _ = self.socket.read_to_end(&mut rest).await;
        rest
    }
}

/// Somebody who exchanges messages until told to stop; how many it was, and how long the slowest took.
pub(crate) async fn bystander(url: String, mut stop: watch::Receiver<bool>) -> Result<(usize, Duration)> {
    let mut socket = connect(&url).await?;
    let (mut count, mut slowest) = (0, Duration::ZERO);
    let mut pace = interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        pace.tick().await;
        let (asked, text) = (Instant::now(), format!("number {count}"));
        socket.send(Message::text(text.clone())).await?;
        let answer = timeout(PATIENCE, socket.next()).await?.context("closed")??;
        ensure!(answer.as_text() == Some(&text), "{answer:?}");
        slowest = slowest.max(asked.elapsed());
        count += 1;
    }
    Ok((count, slowest))
}

/// A runner, and what it had before.
struct Before {
    name: &'static str,
    runner: Process,
    descriptors: usize,
    memory: u64,
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

impl Before {
    async fn of(manager: &TestManager, name: &'static str) -> Result<Self> {
        let runner = Process::of(number(&instance(manager, name).await?["runner_pid"])?)?;
        // Each thread of the front door opens a socket of its own to the runner when it has the first client for it.
        let threads = std::thread::available_parallelism()?.get();
        Ok(Self {
            name,
            descriptors: descriptors(runner.pid)? + threads,
            memory: private_memory(runner.pid)?,
            runner,
        })
    }

    /// Nothing is left of what was done to it.
    async fn is_back(&self, manager: &TestManager, open: u64) -> Result<()> {
        let now = instance(manager, self.name).await?;
        ensure!(
            Process::of(number(&now["runner_pid"])?)? == self.runner,
            "{}: another runner: {now}",
            self.name
        );
        ensure!(now["status"] == "running" && now["restart_count"] == 0, "{}: {now}", self.name);
        wait_for(
            PATIENCE,
            &format!("{}: {open} connections and {} descriptors", self.name, self.descriptors),
            async || {
                let now = instance(manager, self.name).await.unwrap();
                let back = now["active_connections"] == open
                    && descriptors(self.runner.pid).unwrap() <= self.descriptors;
                back.then_some(())
            },
        )
        .await;
        let memory = private_memory(self.runner.pid)?;
        ensure!(memory <= self.memory + GROWTH, "{}: {} bytes became {memory}", self.name, self.memory);
        Ok(())
    }
}

/// Runs cases one after the other; all that went wrong.
async fn run(server: &Server) -> Result<Vec<String>> {
    let address = server.address("proxy")?;
    let mut wrong = Vec::new();
    let (clients, agents) = (clients::cases(), agents::cases());
    ensure!(clients.len() >= 30 && agents.len() >= 20, "{} and {} cases", clients.len(), agents.len());
    for case in &clients {
        match timeout(CASE, case.check(address)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("client: {}: {error:#}", case.name)),
            Err(_) => wrong.push(format!("client: {}: no end within {CASE:?}", case.name)),
        }
    }
    for (number, case) in agents.iter().enumerate() {
        match timeout(CASE, case.check(address, number)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("agent: {}: {error:#}", case.name)),
            Err(_) => wrong.push(format!("agent: {}: no end within {CASE:?}", case.name)),
        }
        // It gets clients as long as not all of them fail.
        agents::good(address).await.with_context(|| format!("after {}", case.name))?;
    }
    Ok(wrong)
}

#[tokio::test]
async fn whoever_breaks_the_rules_of_a_relayed_connection_harms_only_that_connection() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "1");
    let server = manager.up().await?;
    start_fake(&manager, "echo", &[], &["--echo"]).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("ws://{}", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    tasks.spawn(agents::serve(listener));
    let unchecked = ["--set", "ready=tcp", "--set", "health_check_enabled=false"];
    manager.ok(&[&["register", "raw", "--endpoint", &endpoint], &unchecked[..]].concat()).await?;
    manager.ok(&["start", "raw"]).await?;

    // What is made at the first client is no leak.
    let address = server.address("proxy")?;
    agents::good(address).await?;
    let (stop, stopped) = watch::channel(false);
    let mut bystanders = JoinSet::new();
    bystanders.spawn(bystander(server.ws_url("/s/echo")?, stopped.clone()));
    bystanders.spawn(bystander(server.ws_url("/s/raw/echo")?, stopped));
    wait_for(PATIENCE, "the bystanders", async || {
        let echo = instance(&manager, "echo").await.unwrap()["active_connections"] == 1;
        let raw = instance(&manager, "raw").await.unwrap()["active_connections"] == 1;
        (echo && raw).then_some(())
    })
    .await;
    let before = [Before::of(&manager, "echo").await?, Before::of(&manager, "raw").await?];

    let wrong = run(&server).await?;
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    for before in &before {
        before.is_back(&manager, 1).await?;
    }
    stop.send_replace(true);
    while let Some(done) = bystanders.join_next().await {
        let (count, slowest) = done??;
        ensure!(count >= 100, "only {count} messages were answered");
        ensure!(slowest <= SLOWEST, "an answer took {slowest:?}");
    }
    let log = std::fs::read_to_string(manager.data_dir().join("logs/runners.log")).unwrap_or_default();
    if log.contains("panicked") {
        bail!("{log}");
    }
    Ok(())
}

/// A message and its echo, as bytes on the wire.
fn message() -> (Vec<u8>, Vec<u8>) {
    (frame(TEXT, b"hello"), from_server(TEXT, b"hello"))
}
