//! A client that does not read: it costs a bounded amount of memory, it is dropped in the end, and nobody else notices.

use crate::fleet::{PATIENCE, fake, instance, manager, number, register, rounds};
use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::client::{Socket, connect};
use myagent_testkit::manager::Server;
use myagent_testkit::{TestManager, wait_for};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_websockets::Message;

/// Says a gigabyte to whoever asks for it, in pieces of 60 kB; whatever else is said to it, it repeats.
const AGENT: &str = r#"
class Agent:
    async def astream(self, message):
        if message == "flood":
            for _ in range(17_000):
                yield "x" * 60_000
        yield "echo: " + message

def create_agent():
    return Agent()
"#;

/// Seconds after which the client is dropped; thirty unless it is set.
fn stall() -> usize {
    rounds(3, 30)
}

/// What may be added to the memory of manager and runner, together.
const GROWTH: u64 = 5 * 1024;

/// Resident memory, KiB.
fn resident(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        sum += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(sum)
}

/// Another client of the same instance, which says something and waits for the answer.
struct Other {
    socket: Socket,
    session: String,
}

impl Other {
    async fn new(url: &str, session: bool) -> Result<Self> {
        let mut other = Self { socket: connect(url).await?, session: String::new() };
        if session {
            other.socket.send(Message::text(json!({"event": "user.create_session"}).to_string())).await?;
            other.session = other.until("agent.session_created").await?;
        }
        Ok(other)
    }

    /// The session of the next event of this name; or (without a session) the next message.
    async fn until(&mut self, name: &str) -> Result<String> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await?.context("closed")??;
            let Some(text) = message.as_text() else { continue };
            if self.session.is_empty() && name.is_empty() {
                return Ok(text.to_owned());
            }
            let event: serde_json::Value = serde_json::from_str(text)?;
            if event["event"] == name {
                return Ok(event["session_id"].as_str().unwrap_or_default().to_owned());
            }
        }
    }

    async fn exchange(&mut self) -> Result<Duration> {
        let began = Instant::now();
        if self.session.is_empty() {
            self.socket.send(Message::text("hello")).await?;
            self.until("").await?;
        } else {
            let event = json!({"event": "user.message", "session_id": self.session, "content": "hello"});
            self.socket.send(Message::text(event.to_string())).await?;
            self.until("agent.final_answer").await?;
        }
        Ok(began.elapsed())
    }

    /// How long so many exchanges take, one after the other.
    async fn exchanges(&mut self, count: usize) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(self.exchange().await?);
        }
        Ok(times)
    }
}

/// The time that 99 of 100 are done in.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Has a client ask for a gigabyte and read none of it.
async fn flood(manager: &TestManager, server: &Server, name: &str, is_file: bool) -> Result<()> {
    let url = server.ws_url(&format!("/s/{name}"))?;
    let runner = number(&instance(manager, name).await?["runner_pid"])?;
    let pids = [server.pid(), runner];
    let mut other = Other::new(&url, is_file).await?;
    let mut lazy = Other::new(&url, is_file).await?;
    // A machine has its own moods: this one is served by others, and what it sees is what can be had just then.
    let mut apart = Other::new(&server.ws_url(&format!("/s/{name}-apart"))?, is_file).await?;
    for client in [&mut other, &mut apart] {
        client.exchanges(200).await?;
    }
    let before = resident(&pids)?;

    let asked = Instant::now();
    let ask = if is_file {
        json!({"event": "user.message", "session_id": lazy.session, "content": "flood"}).to_string()
    } else {
        "send 16384".to_owned()
    };
    lazy.socket.send(Message::text(ask)).await?;
    let mut most = before;
    let (mut times, mut times_apart) = (Vec::new(), Vec::new());
    let log = manager.data_dir().join("access.log");
    let is_dropped = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["instance"] == format!("{name}-0") && line["code"] == 1013 && line["reason"] == "slow_client"
    };
    // There is none before the first connection has ended.
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    while !logged().lines().any(is_dropped) {
        ensure!(asked.elapsed() < PATIENCE, "it is not dropped: {}", logged());
        times.extend(other.exchanges(100).await?);
        times_apart.extend(apart.exchanges(100).await?);
        most = most.max(resident(&pids)?);
    }
    let took = asked.elapsed();
    ensure!(took >= Duration::from_secs(stall() as u64), "dropped after {took:?}");
    ensure!(most <= before + GROWTH, "{name}: {before} KiB became {most} KiB");
    // They share a thread, and a worker: for a moment what fits into buffers is moved, and then nothing is left to do.
    let (longest, count) = (times.iter().max().copied().unwrap_or_default(), times.len());
    let (busy, calm) = (p99(times), p99(times_apart));
    ensure!(busy <= calm * 5 + Duration::from_millis(10), "{name}: p99 is {busy:?}, apart {calm:?}");
    ensure!(longest <= Duration::from_secs(2), "{name}: somebody waited for {longest:?}");
    // What the client had not read is gone: so is its connection.
    let end = async { while let Some(Ok(_)) = lazy.socket.next().await {} };
    timeout(PATIENCE, end).await?;
    other.exchange().await?;
    wait_for(PATIENCE, "one connection", async || {
        let status = manager.json(&["status", name]).await.unwrap();
        let stats = &status["stats"];
        (stats["active_connections"] == 1 && stats["slow_clients"] == 1 && stats["vanished_clients"] == 0)
            .then_some(())
    })
    .await;
    writeln!(
        std::io::stderr(),
        "{name}: dropped after {took:?}; {before} KiB, at most {most} KiB; p99 {busy:?}, apart {calm:?} \
         ({count} exchanges), the longest {longest:?}"
    )?;
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_little_and_is_dropped() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let stall = format!("slow_client_timeout={}", stall());
    let options = ["--auto-start", "--set", stall.as_str()];
    std::fs::write(manager.work_dir().join("agent.py"), AGENT)?;
    for apart in ["", "-apart"] {
        register(&manager, &format!("command{apart}"), &options, &[&fake(), "--generous"]).await?;
        let name = format!("file{apart}");
        manager.ok(&[&["register", &name, "agent.py"], &options[..]].concat()).await?;
    }
    flood(&manager, &server, "command", false).await?;
    flood(&manager, &server, "file", true).await?;
    let fleet = manager.json(&["stats"]).await?;
    ensure!(fleet["totals"]["slow_clients"] == 2, "{fleet}");
    Ok(())
}
