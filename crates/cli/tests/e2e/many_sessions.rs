//! One runner with more sessions than anybody talks in: what they cost, and what becomes of the journal.

use crate::fleet::{PATIENCE, instance, manager, number};
use anyhow::{Context, Result, ensure};
use myagent_testkit::{EventClient, Resuming, TestManager, wait_for};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const AGENT: &str = "
class Echo:
    async def arun(self, message, ctx):
        return 'echo: %s' % message
def create_agent():
    return Echo()
";

/// An answer of a megabyte for each message.
const LOUD: &str = "
class Loud:
    async def astream(self, message):
        for number in range(16):
            yield '%d' % number + 64 * 1024 * 'x'
agent = Loud()
";

/// Sessions that one connection may have.
const PER_CONNECTION: usize = 100;

/// Memory that nobody else has, KiB.
fn private_kib(pid: u32) -> Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let sizes = private.map(|line| line.split_whitespace().nth(1).unwrap_or_default().parse::<f64>());
    Ok(sizes.sum::<Result<f64, _>>()?)
}

/// Open descriptors.
fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Bytes of everything in a folder.
fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
        Ok(found) => found.len(),
        // It was removed just now.
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// A connection with so many sessions, each with an answer behind it.
async fn talk(url: String, sessions: usize) -> Result<(EventClient, Vec<String>)> {
    let mut client = EventClient::connect(&url).await?;
    let mut ids = Vec::new();
    for _ in 0..sessions {
        let id = client.create_session().await?;
        client.message(&id, "hello").await?;
        ids.push(id);
    }
    let answered = |client: &EventClient| {
        client.received.iter().filter(|event| event["event"] == "agent.final_answer").count()
    };
    while answered(&client) < sessions {
        client.next_event().await?;
    }
    Ok((client, ids))
}

async fn talk_in_all(url: &str, sessions: usize) -> Result<Vec<(EventClient, Vec<String>)>> {
    let mut talks = JoinSet::new();
    for _ in 0..sessions / PER_CONNECTION {
        talks.spawn(talk(url.to_owned(), PER_CONNECTION));
    }
    let mut clients = Vec::new();
    while let Some(client) = talks.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

async fn start(manager: &TestManager, source: &str, options: &[&str]) -> Result<Value> {
    std::fs::write(manager.work_dir().join("agent.py"), source)?;
    manager.ok(&[&["register", "talk", "agent.py", "--auto-start"], options].concat()).await?;
    instance(manager, "talk").await
}

#[tokio::test]
async fn ten_thousand_idle_sessions_cost_little() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let url = server.ws_url("/s/talk")?;
    // All of them in memory: with the default, nine in ten would be in the journal alone.
    let before = start(&manager, AGENT, &["--set", "max_detached_sessions=12000"]).await?;
    let (runner, worker) = (number(&before["runner_pid"])?, number(&before["pid"])?);
    drop(talk_in_all(&url, PER_CONNECTION).await?);
    let base = (private_kib(runner)?, private_kib(worker)?);
    let mut left = talk_in_all(&url, 10_000).await?;
    let old = left[0].1[0].clone();
    for (client, _) in left.drain(..) {
        drop(client);
    }
    let here = talk_in_all(&url, 1000).await?;
    let counted = async || {
        let now = instance(&manager, "talk").await.ok()?;
        (now["active_sessions"] == 11_100 && now["active_connections"] == 10).then_some(())
    };
    wait_for(PATIENCE, "11,100 sessions", counted).await;

    // The first hundred count as the base.
    let per_session = |now: f64, base: f64| (now - base) / 11_000.0;
    let cost = (per_session(private_kib(runner)?, base.0), per_session(private_kib(worker)?, base.1));
    // The budget is 8 KiB for both together.
    ensure!(
        cost.0 + cost.1 <= 8.0,
        "KiB per session: {:.1} in the runner, {:.1} in the worker",
        cost.0,
        cost.1
    );
    ensure!(descriptors(runner)? <= here.len() + 50, "{} descriptors", descriptors(runner)?);
    let mut back = EventClient::connect(&url).await?;
    back.send(json!({"event": "user.reconnect", "session_id": old, "last_seq": 2})).await?;
    let restored = back.next_named("agent.state_restored").await?;
    ensure!(restored["session_id"] == old.as_str(), "{restored}");
    let answer = back.turn(&old, "still there?").await?;
    ensure!(answer.last().context("no answer")?["content"] == "echo: still there?", "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_full_journal_stays_within_its_bound_and_costs_no_start() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let url = server.ws_url("/s/talk")?;
    let before = start(&manager, LOUD, &["--set", "journal_max_mb=32"]).await?;
    let folder = manager.data_dir().join("journal");
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Resuming::start(&url).await?);
    }
    // Sixty-four answers of a megabyte, each of them twice: in pieces and whole.
    for _ in 0..8 {
        for client in &mut clients {
            client.message("speak").await?;
            client.until("agent.final_answer").await?;
            let bytes = disk_bytes(&folder);
            ensure!(bytes <= 40 << 20, "{} MiB in the journal", bytes >> 20);
        }
    }
    // The next start finds the journal of a runner that died, full, and is up as fast as ever.
    myagent_testkit::processes::send(number(&before["runner_pid"])?, rustix::process::Signal::KILL);
    let begun = Instant::now();
    let client = &mut clients[0];
    client.come_back_over(&[url]).await?;
    // A second for each of: the restart's delay, the start, and reading the journal; five times that.
    ensure!(begun.elapsed() < Duration::from_secs(15), "back after {:?}", begun.elapsed());
    client.message("speak").await?;
    client.until("agent.final_answer").await?;
    ensure!(
        !client.others.iter().any(|event| event["metadata"]["code"] == "replay_gap"),
        "nothing was missed"
    );
    Ok(())
}
