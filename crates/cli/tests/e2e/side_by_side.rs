//! What one conversation does, the others do not feel: those that sleep, those that do not read, and those that block what
//! they should not block.

use crate::fleet::{PATIENCE, bystander, instance, is_soak, manager, number, private_memory, wait_for_state};
use crate::wire::Wire;
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, wait_for};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Turns of agents without async that run at once.
const THREADS: usize = 64;
/// Five times what an async session may take while others sleep.
const QUICK: Duration = Duration::from_millis(500);
/// Between two questions of those who must not be slowed down.
const PACE: Duration = Duration::from_millis(20);

/// Sleeps in its thread, and answers with the most that ever ran at once.
const SLEEPS: &str = "
import threading, time

running, most = 0, 0
lock = threading.Lock()

class Sleeps:
    def run(self, text):
        global running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(float(text))
        with lock:
            running -= 1
            return str(most)

agent = Sleeps()
";

/// Sleeps in a thread that an async agent has asked for, or answers at once.
const BOTH: &str = "
import asyncio, threading, time

running, most = 0, 0
lock = threading.Lock()

def sleep(seconds):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    time.sleep(seconds)
    with lock:
        running -= 1
        return str(most)

class Both:
    async def arun(self, text):
        return text if text == 'quick' else await asyncio.to_thread(sleep, float(text))

agent = Both()
";

/// Blocks the loop.
const BLOCKS: &str = "
import time

def crunch_numbers(seconds):
    time.sleep(seconds)

class Blocks:
    async def arun(self, text):
        if text != 'quick':
            crunch_numbers(float(text))
        return text

agent = Blocks()
";

/// Says much more than a client who does not read takes.
const FLOODS: &str = "
sent = 0
PIECE = 'x' * 4096

class Floods:
    async def astream(self, text):
        global sent
        if text == 'count':
            yield str(sent)
            return
        for _ in range(int(text)):
            sent += len(PIECE)
            yield PIECE

agent = Floods()
";

async fn serve(services: &[(&str, &str)]) -> Result<(TestManager, Server)> {
    let manager = manager()?;
    let server = manager.up().await?;
    for (name, source) in services {
        let file = format!("{name}.py");
        std::fs::write(manager.work_dir().join(&file), source)?;
        manager.ok(&["register", name, &file, "--auto-start"]).await?;
    }
    Ok((manager, server))
}

/// Asks for something quick again and again until told to stop, and tells how long each answer took.
async fn asks(url: String, stop: watch::Receiver<bool>) -> Result<Vec<Duration>> {
    bystander(url, PACE, |_| ("quick".to_owned(), "quick".to_owned()), stop).await
}

/// Nine of ten answers were quick; the tenth may have met with a busy machine.
fn check_quick(mut took: Vec<Duration>) -> Result<()> {
    took.sort_unstable();
    let at = took.len() * 9 / 10;
    ensure!(
        took.len() >= 10 && took[at] < QUICK,
        "{} answers, of which a tenth took {:?}",
        took.len(),
        took[at]
    );
    Ok(())
}

/// Has so many sessions on one connection sleep for so long at once; when each had its answer, and what it was.
async fn sleepers(url: String, count: usize, seconds: u64) -> Result<Vec<(Duration, String)>> {
    let mut client = EventClient::connect(&url).await?;
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(client.create_session().await?);
    }
    let start = Instant::now();
    for session in &sessions {
        client.message(session, &seconds.to_string()).await?;
    }
    let mut answers = Vec::new();
    for _ in 0..count {
        let answer = client.next_named("agent.final_answer").await?;
        answers.push((start.elapsed(), answer["content"].as_str().context("no text")?.to_owned()));
    }
    Ok(answers)
}

#[tokio::test]
async fn sleeping_turns_run_side_by_side_and_slow_nobody_down() -> Result<()> {
    let seconds = if is_soak() { 5 } else { 1 };
    let (_manager, server) = serve(&[("sleeps", SLEEPS), ("both", BOTH)]).await?;
    let (stop, stopped) = watch::channel(false);
    let mut quick = JoinSet::new();
    quick.spawn(asks(server.ws_url("/s/both")?, stopped));
    // One more than there are threads: it waits, and then has its turn.
    let (in_turns, in_async) = tokio::try_join!(
        sleepers(server.ws_url("/s/sleeps")?, THREADS + 1, seconds),
        sleepers(server.ws_url("/s/both")?, THREADS, seconds),
    )?;
    stop.send_replace(true);
    let sleep = Duration::from_secs(seconds);
    for (kind, answers) in [("sync", &in_turns), ("async", &in_async)] {
        assert_eq!(answers[THREADS - 1].1, THREADS.to_string(), "{kind}: so many ran at once");
        // Behind one another they would take a minute and more.
        let last = answers[THREADS - 1].0;
        assert!(last >= sleep && last < sleep + Duration::from_secs(15), "{kind}: {last:?}");
    }
    let (waited, most) = &in_turns[THREADS];
    assert!(*waited >= 2 * sleep, "{waited:?}");
    assert_eq!(*most, THREADS.to_string(), "never more");
    check_quick(quick.join_next().await.context("nobody")???)
}

#[tokio::test]
async fn with_every_thread_asleep_sessions_begin_and_messages_can_be_taken_back() -> Result<()> {
    let (manager, server) = serve(&[("sleeps", SLEEPS)]).await?;
    let url = server.ws_url("/s/sleeps")?;
    let mut client = EventClient::connect(&url).await?;
    for _ in 0..THREADS {
        let session = client.create_session().await?;
        client.message(&session, "600").await?;
    }
    let mut other = EventClient::connect(&url).await?;
    let session = other.create_session().await?;
    other.message(&session, "0").await?;
    let asked = Instant::now();
    assert_eq!(other.cancel(&session).await?["metadata"]["reason"], "user_cancel");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    other.check_seq(&session, 1)?;
    let instance = instance(&manager, "sleeps").await?;
    assert_eq!(
        (&instance["status"], &instance["restart_count"]),
        (&"running".into(), &0.into()),
        "{instance:#}"
    );
    Ok(())
}

#[tokio::test]
async fn clients_that_do_not_read_stall_themselves_and_nothing_is_lost() -> Result<()> {
    const CLIENTS: usize = 4;
    const PIECES: u64 = 4096;
    const GROWTH: u64 = 24 * 1024 * 1024;
    let (manager, server) = serve(&[("floods", FLOODS)]).await?;
    let address = server.address("proxy")?;
    let instance = instance(&manager, "floods").await?;
    let (runner, worker) = (number(&instance["runner_pid"])?, number(&instance["pid"])?);
    let before = (private_memory(runner)?, private_memory(worker)?);
    let mut slow = Vec::new();
    for _ in 0..CLIENTS {
        let mut wire = Wire::greeted(address, "/s/floods").await?;
        let session = wire.create_session().await?;
        let message = json!({"event":"user.message","session_id":session,"content":PIECES.to_string()});
        wire.text(&message.to_string()).await?;
        slow.push(wire);
    }

    // They stand still, which another client is told by the same agent.
    let mut client = EventClient::connect(&server.ws_url("/s/floods")?).await?;
    let session = client.create_session().await?;
    let (mut made, mut same, mut took) = (0, 0, Vec::new());
    while same < 20 {
        let asked = Instant::now();
        let answer = client.turn(&session, "count").await?.pop().context("no answer")?;
        took.push(asked.elapsed());
        let count: u64 = answer["content"].as_str().context("no text")?.parse()?;
        same = if count == made && count > 0 { same + 1 } else { 0 };
        made = count;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    check_quick(took)?;
    let all = CLIENTS as u64 * PIECES * 4096;
    ensure!(made < all, "{made} bytes were made for clients that do not read");
    let after = (private_memory(runner)?, private_memory(worker)?);
    ensure!(after.0 < before.0 + GROWTH && after.1 < before.1 + GROWTH, "{before:?} became {after:?}");

    for mut wire in slow {
        for seq in 2..PIECES + 2 {
            let piece = wire.reader.event().await?;
            ensure!(piece["seq"] == seq && piece["event"] == "agent.partial_answer", "{seq}: {piece}");
        }
        assert_eq!(wire.expect("agent.final_answer").await?["seq"], PIECES + 2);
    }
    Ok(())
}

#[tokio::test]
async fn a_blocked_loop_is_told_with_the_function_that_blocks_it() -> Result<()> {
    let (manager, server) = serve(&[("blocks", BLOCKS), ("both", BOTH)]).await?;
    let (stop, stopped) = watch::channel(false);
    let mut quick = JoinSet::new();
    quick.spawn(asks(server.ws_url("/s/both")?, stopped));
    let mut client = EventClient::connect(&server.ws_url("/s/blocks")?).await?;
    let session = client.create_session().await?;
    client.message(&session, "8").await?;
    let told: Value = wait_for(PATIENCE, "the event", async || {
        let events = manager.json(&["events", "--service", "blocks", "--kind", "instance."]).await.ok()?;
        events.as_array()?.iter().find(|event| event["kind"] == "instance.loop_blocked").cloned()
    })
    .await;
    let why = told["why"].as_str().context("no reason")?;
    assert!(why.contains("blocks.py\", line 5, in crunch_numbers") && why.contains("in arun"), "{why}");
    assert_eq!(client.until_final(&session).await?.last().context("no answer")?["content"], "8");
    stop.send_replace(true);
    // Others are not touched, and nobody was restarted for it: a client waited.
    check_quick(quick.join_next().await.context("nobody")???)?;
    let instance = wait_for_state(&manager, "blocks", "running").await;
    assert_eq!(instance["restart_count"], 0, "{instance:#}");
    client.turn(&session, "quick").await?;
    client.check_seq(&session, 1)?;
    client.close().await
}
