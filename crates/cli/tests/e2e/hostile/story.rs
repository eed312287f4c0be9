//! One instance that is attacked, somebody who is served by it all the while, and what has become of it at the end.

use crate::fleet::{Process, bystander, instance, manager, number, private_memory};
use crate::wire::{Got, Wire};
use anyhow::{Context, Result, ensure};
use myagent_testkit::TestManager;
use myagent_testkit::manager::Server;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// Where the instance is.
pub(super) const PATH: &str = "/s/target";
/// What an error may have at the most, however large its cause was.
const LONGEST_ERROR: usize = 4096;
/// Between two questions of the bystander.
const PACE: Duration = Duration::from_millis(10);
/// Five times what an answer may take that is not in the way of anything; half of them must be as fast as this.
const USUAL: Duration = Duration::from_millis(250);
/// No answer takes longer.
const SLOWEST: Duration = Duration::from_secs(5);
/// What the runner may have more than before, bytes: the largest messages on their way, and what the allocator keeps.
const GROWTH: u64 = 32 * 1024 * 1024;
/// Less than what is said by all of them together.
const JOURNAL_MB: u64 = 24;
/// What all files of the data directory may have together: the journal, and little else.
const ON_DISK: u64 = (JOURNAL_MB + 8) * 1024 * 1024;

/// Answers with what it got, as JSON without anything beyond ASCII.
const AGENT: &str = r#"
import asyncio, json

def show(value):
    if isinstance(value, str) and len(value) > 10000:
        return "%d characters" % len(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

class Target:
    def __init__(self, params):
        self.released = None

    async def arun(self, message, ctx):
        if message == "wait":
            self.released = asyncio.Event()
            ctx.emit("agent.thinking", "waiting")
            await self.released.wait()
        return show(message)

    async def on_event(self, event, ctx):
        if event["event"] == "user.release":
            self.released.set()
        ctx.emit("custom.event", show(event["event"]))

def create_agent(params):
    return Target(params)
"#;

/// Manager, instance, and how they were before.
pub(super) struct Story {
    pub(super) manager: TestManager,
    server: Server,
    pub(super) address: SocketAddr,
    runner: Process,
    worker: Process,
    memory: u64,
    events: usize,
}

impl Story {
    pub(super) async fn begin() -> Result<Self> {
        let manager = manager()?;
        let server = manager.up().await?;
        std::fs::write(manager.work_dir().join("target.py"), AGENT)?;
        let journal = format!("journal_max_mb={JOURNAL_MB}");
        manager.ok(&["register", "target", "target.py", "--auto-start", "--set", &journal]).await?;
        let address = server.address("proxy")?;
        let instance = instance(&manager, "target").await?;
        let runner = Process::of(number(&instance["runner_pid"])?)?;
        let worker = Process::of(number(&instance["pid"])?)?;
        let mut story = Self { manager, server, address, runner, worker, memory: 0, events: 0 };
        // Whatever is allocated once is not what grows.
        let mut wire = Wire::greeted(address, PATH).await?;
        let session = wire.create_session().await?;
        story.still_answers(&mut wire, &session).await?;
        story.memory = private_memory(runner.pid)?;
        story.events = story.happened().await?.len();
        Ok(story)
    }

    /// What was noted about the service.
    async fn happened(&self) -> Result<Vec<Value>> {
        let events = self
            .manager
            .json(&["events", "--service", "target", "--kind", "service.,instance.", "-n", "1000"])
            .await?;
        Ok(events.as_array().context("no array")?.clone())
    }

    /// The session goes on, and nothing came before its answer.
    pub(super) async fn still_answers(&self, wire: &mut Wire, session: &str) -> Result<()> {
        wire.text(&json!({"event":"user.message","session_id":session,"content":"still"}).to_string())
            .await?;
        let answer = wire.expect("agent.final_answer").await?;
        ensure!(answer["content"] == "\"still\"" && answer["session_id"] == session, "{answer}");
        Ok(())
    }

    /// The next event, which is a short one.
    pub(super) async fn short(wire: &mut Wire) -> Result<Value> {
        match wire.next().await? {
            Got::Event(length, event) if length <= LONGEST_ERROR => Ok(event),
            Got::Event(length, _) => anyhow::bail!("an answer of {length} bytes"),
            other => anyhow::bail!("an event was expected, and {other:?} came"),
        }
    }

    /// Somebody else, who asks the same instance all the time until told to stop.
    pub(super) async fn bystander(url: String, stop: watch::Receiver<bool>) -> Result<Vec<Duration>> {
        let turn = |number| (format!("question {number}"), format!("\"question {number}\""));
        bystander(url, PACE, turn, stop).await
    }

    pub(super) fn url(&self) -> Result<String> {
        self.server.ws_url(PATH)
    }

    /// Everything is as it was before, but for what has been asked and answered.
    pub(super) async fn end(self, mut took: Vec<Duration>) -> Result<()> {
        took.sort_unstable();
        let slowest = took.last().copied().unwrap_or_default();
        ensure!(took.len() >= 100, "only {} questions were answered", took.len());
        ensure!(slowest < SLOWEST, "an answer took {slowest:?}");
        ensure!(took[took.len() / 2] < USUAL, "half of the answers took {:?} and more", took[took.len() / 2]);

        let now = instance(&self.manager, "target").await?;
        ensure!(self.runner.is_alive() && self.worker.is_alive(), "{now:#}");
        ensure!(now["status"] == "running" && now["restart_count"] == 0, "{now:#}");
        ensure!(now["pid"] == self.worker.pid && now["runner_pid"] == self.runner.pid, "{now:#}");
        let memory = private_memory(self.runner.pid)?;
        ensure!(memory < self.memory + GROWTH, "the runner has {memory} bytes, and had {}", self.memory);
        let happened = self.happened().await?;
        ensure!(happened.len() <= self.events + 2, "{happened:#?}");
        let on_disk = bytes_in(&self.manager.data_dir())?;
        ensure!(on_disk < ON_DISK, "{on_disk} bytes are on the disk");
        Ok(())
    }
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
