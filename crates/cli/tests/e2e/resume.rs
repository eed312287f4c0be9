//! Clients that lose their connection come back to their conversation: to any replica, with a manager or without one.

use crate::fleet::{PATIENCE, Process, number, rounds};
use crate::talk::Talk;
use anyhow::{Context, Result, ensure};
use myagent_testkit::{EventClient, Resuming, TestManager, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// An agent whose answer has as many pieces as it is asked for; it remembers how often it was asked.
const TALKER: &str = r#"
import asyncio

class Talker:
    def __init__(self):
        self.asked = 0

    async def astream(self, message, ctx):
        self.asked += 1
        words = str(message).split()
        if words[0] == "think":
            ctx.emit("agent.thinking", "hm")
            await asyncio.sleep(float(words[1]))
            yield "thought"
            return
        if words[0] == "recall":
            yield "asked %d, history %d" % (self.asked, len(ctx.history))
            return
        for number in range(int(words[1])):
            yield "%d " % number + (10000 * "x" if words[0] == "shout" else "")
            await asyncio.sleep(float(words[2]) if len(words) > 2 else 0)

    def export_state(self):
        return {"asked": self.asked}

    def import_state(self, state):
        self.asked = state["asked"]

def create_agent():
    return Talker()
"#;

/// A small generator: the stories are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

async fn talk(options: &[&str]) -> Result<Talk> {
    Talk::with(TALKER, "/s/talk", options).await
}

impl Talk {
    /// The addresses of the instances themselves, which are there without a manager, too.
    async fn doors(&self) -> Result<Vec<String>> {
        let door =
            |instance: &Value| Some(format!("ws://{}:{}/", instance["host"].as_str()?, instance["port"]));
        self.instances().await?.iter().map(|instance| door(instance).context("no address")).collect()
    }

    /// The instance that has this session: where its only connection is.
    async fn owner(&self, session: &str) -> Result<String> {
        let look = async || {
            let connections = self.manager.json(&["status", "talk"]).await.ok()?;
            let found = connections["instances"]
                .as_array()?
                .iter()
                .find(|instance| instance["active_connections"] == 1)?;
            Some(found["name"].as_str()?.to_owned())
        };
        Ok(wait_for(PATIENCE, &format!("the owner of {session}"), look).await)
    }

    /// The runner of an instance.
    async fn runner(&self, name: &str) -> Result<Process> {
        let instances = self.instances().await?;
        let instance =
            instances.iter().find(|instance| instance["name"] == name).context("no such instance")?;
        Process::of(number(&instance["runner_pid"])?)
    }

    /// Kills the manager as a crash would.
    async fn lose_manager(self) -> Result<TestManager> {
        self.server.signal(Signal::KILL);
        self.server.wait().await?;
        Ok(self.manager)
    }
}

/// The pieces of an answer and the answer are what was asked for, each piece once.
fn check_answer(client: &Resuming, pieces: u64) -> Result<()> {
    let expected: String = (0..pieces).map(|number| number.to_string() + " ").collect();
    let named = |name: &'static str| client.events.iter().filter(move |event| event["event"] == name);
    let whole: String = named("agent.partial_answer").filter_map(|event| event["content"].as_str()).collect();
    ensure!(whole == expected, "the pieces are {whole:?}");
    ensure!(named("agent.final_answer").count() == 1, "not one final answer");
    let answer = named("agent.final_answer").next().context("no answer")?;
    ensure!(answer["content"] == expected, "the answer is {answer}");
    Ok(())
}

/// Loses the connection at random points of an answer of 2,000 pieces, and comes back over any of these addresses.
async fn drop_often(start: &str, urls: &[String], drops: u64, seed: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let mut client = Resuming::start(start).await?;
    client.message("say 2000").await?;
    let mut points: Vec<u64> = (0..drops).map(|_| 1 + dice.below(2001)).collect();
    points.sort_unstable();
    for point in points {
        while client.last_seq < point {
            client.next().await?;
        }
        let mut url = urls[usize::try_from(dice.below(urls.len() as u64))?].clone();
        if dice.below(2) == 0 {
            url = format!("{url}?session_id={}", client.session);
        }
        let restored = client.come_back(&url).await?;
        ensure!(restored.is_ok(), "at {point}, over {url}: {restored:?}");
    }
    client.until("agent.final_answer").await?;
    check_answer(&client, 2000)?;
    client.message("recall").await?;
    let answer = client.until("agent.final_answer").await?;
    ensure!(answer["content"] == "asked 2, history 2", "{answer}");
    Ok(())
}

#[tokio::test]
async fn an_answer_survives_a_hundred_lost_connections() -> Result<()> {
    let talk = talk(&["--replicas", "2"]).await?;
    let mut anywhere = talk.doors().await?;
    anywhere.push(talk.front.clone());
    drop_often(&talk.front, &anywhere, 100, 11).await?;
    // Ten of them at once, some through the front door alone.
    let mut clients = JoinSet::new();
    for seed in 1..=10 {
        let urls = if seed % 2 == 0 { anywhere.clone() } else { vec![talk.front.clone()] };
        let start = talk.front.clone();
        clients.spawn(async move { drop_often(&start, &urls, 20, seed * 977).await });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }

    // Without a manager the instances' own ports serve, and pass clients on among themselves.
    let doors = talk.doors().await?;
    let manager = talk.lose_manager().await?;
    drop_often(&doors[0], &doors, 100, 42).await?;
    drop(manager);
    Ok(())
}

#[tokio::test]
async fn two_clients_fight_for_one_session() -> Result<()> {
    let talk = talk(&["--replicas", "2"]).await?;
    let doors = talk.doors().await?;
    let mut first = Resuming::start(&talk.front).await?;
    let mut second = Resuming::start(&doors[0]).await?;
    first.message("say 600 0.002").await?;
    (second.session, second.last_seq, second.events) = (first.session.clone(), 1, first.events.clone());
    for round in 0..10 {
        // Whoever comes last has it, wherever it comes in. The other one is told, and gets nothing more.
        let (winner, loser) =
            if round % 2 == 0 { (&mut second, &mut first) } else { (&mut first, &mut second) };
        let restored = winner.come_back(&doors[round / 2 % 2]).await?;
        ensure!(restored.is_ok(), "round {round}: {restored:?}");
        loser.until_code("session_moved").await?;
        for _ in 0..10 {
            winner.next().await?;
        }
    }
    first.until("agent.final_answer").await?;
    check_answer(&first, 600)
}

#[tokio::test]
async fn who_comes_back_too_late_is_told() -> Result<()> {
    let talk = talk(&["--set", "session_timeout=1"]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    client.message("say 5").await?;
    client.until("agent.final_answer").await?;
    let session = client.session.clone();
    let sessions = async |count| (talk.instances().await.ok()?[0]["active_sessions"] == count).then_some(());
    wait_for(PATIENCE, "the session to be seen", async || sessions(1).await).await;
    client.leave();
    wait_for(PATIENCE, "the session to end", async || sessions(0).await).await;
    let told = client.come_back(&talk.front).await?.unwrap_err();
    assert_eq!(told["event"], "error.recovery_failed");
    assert_eq!(told["metadata"]["code"], "SESSION_NOT_FOUND");
    assert!(told["content"].as_str().unwrap().contains("has ended"), "{told}");
    assert_eq!(told["metadata"]["session_id"], session.as_str());

    // One that never was, and names that are none, are answered the same way; the socket goes on.
    let mut other = EventClient::connect(&talk.front).await?;
    for name in ["37e1893c-0000-4000-8000-000000000000", "nope", "../../../etc/passwd", ""] {
        other.send(json!({"event": "user.reconnect", "session_id": name, "last_seq": 3})).await?;
        let told = other.next_named("error.recovery_failed").await?;
        assert_eq!(told["metadata"]["code"], "SESSION_NOT_FOUND", "{told}");
    }
    let session = other.create_session().await?;
    other.turn(&session, "say 3").await?;
    Ok(())
}

/// Asks for something, and says so at a point at which the worker may die; then reads on to the turn's end, and on to the
/// end of the next one. Returns how the first one ended.
async fn live_through_it(
    client: &mut Resuming,
    thinks: bool,
    point: u64,
    at_point: &Barrier,
) -> Result<bool> {
    client.message(if thinks { "think 0.3" } else { "say 300 0.002" }).await?;
    let point = client.last_seq + 1 + if thinks { 0 } else { point };
    while client.last_seq < point {
        client.next().await?;
    }
    at_point.wait().await;
    let answered = loop {
        let event = client.next().await?;
        match event["event"].as_str() {
            Some("agent.final_answer") => break true,
            Some("agent.error") => {
                ensure!(event["metadata"]["code"] == "WORKER_LOST", "{event}");
                break false;
            }
            _ => {}
        }
    };
    ensure!(answered == thinks, "thinks: {thinks}, but answered: {answered}");
    // The next message is answered with the history of all that was answered, and the state.
    client.message("recall").await?;
    client.until("agent.final_answer").await?;
    Ok(answered)
}

#[tokio::test]
async fn a_killed_worker_costs_an_answer_at_the_most() -> Result<()> {
    let talk = talk(&[]).await?;
    let mut dice = Dice(7);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push((Resuming::start(&talk.front).await?, 0));
    }
    for round in 0..rounds(5, 8) {
        let worker = wait_for(PATIENCE, "a worker", async || {
            let instance = talk.instances().await.ok()?.remove(0);
            (instance["status"] == "running").then(|| number(&instance["pid"]).ok()).flatten()
        });
        let worker = Process::of(worker.await)?;
        // Ten turns at ten points; every other one only thinks. The worker dies when all are there.
        let at_point = Arc::new(Barrier::new(clients.len() + 1));
        let mut turns = JoinSet::new();
        for (number, (mut client, mut asked)) in clients.drain(..).enumerate() {
            let (at_point, point, thinks) = (Arc::clone(&at_point), dice.below(100), number % 2 == 0);
            turns.spawn(async move {
                asked += 1 + u64::from(live_through_it(&mut client, thinks, point, &at_point).await?);
                let last = client.events.last().context("no event")?;
                let expected = format!("asked {asked}, history {}", 2 * (asked - 1));
                ensure!(last["content"] == expected, "round {round}: {last}, expected {expected}");
                anyhow::Ok((client, asked))
            });
        }
        at_point.wait().await;
        worker.kill();
        while let Some(client) = turns.join_next().await {
            clients.push(client??);
        }
    }
    Ok(())
}

/// Kills the runner that has the session in the middle of an answer; the client comes back over one of these addresses.
async fn lose_runner(client: &mut Resuming, runner: Process, urls: &[String], asked: &mut u64) -> Result<()> {
    client.message("say 500 0.002").await?;
    let point = client.last_seq + 50;
    while client.last_seq < point {
        client.next().await?;
    }
    runner.kill();
    client.come_back_over(urls).await?;
    // It had said something, and is not safe to repeat.
    let told = client.until("agent.error").await?;
    ensure!(told["metadata"]["code"] == "WORKER_LOST", "{told}");
    client.message("recall").await?;
    let answer = client.until("agent.final_answer").await?;
    *asked += 1;
    let expected = format!("asked {asked}, history {}", 2 * (*asked - 1));
    ensure!(answer["content"] == expected, "{answer}, expected {expected}");
    Ok(())
}

#[tokio::test]
async fn a_killed_runner_leaves_its_sessions_to_another() -> Result<()> {
    let talk = talk(&["--replicas", "2"]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    let mut asked = 0;
    for _ in 0..rounds(3, 20) {
        let owner = talk.owner(&client.session).await?;
        let runner = talk.runner(&owner).await?;
        lose_runner(&mut client, runner, std::slice::from_ref(&talk.front), &mut asked).await?;
        let back = async || {
            talk.instances().await.ok()?.iter().all(|instance| instance["status"] == "running").then_some(())
        };
        wait_for(PATIENCE, "both instances", back).await;
    }

    // Without a manager nobody starts the runner again; the other one has all of its sessions.
    let owner = talk.owner(&client.session).await?;
    let runner = talk.runner(&owner).await?;
    let doors = talk.doors().await?;
    let manager = talk.lose_manager().await?;
    lose_runner(&mut client, runner, &doors, &mut asked).await?;
    drop(manager);
    Ok(())
}

#[tokio::test]
async fn what_waited_is_answered_also_if_its_client_leaves_again_at_once() -> Result<()> {
    let talk = talk(&["--replicas", "2"]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    let owner = talk.owner(&client.session).await?;
    let runner = talk.runner(&owner).await?;
    client.message("shout 10000 0.002").await?;
    client.message("recall").await?;
    while client.last_seq < 350 {
        client.next().await?;
    }
    runner.kill();
    // It begins anew, and leaves before it has taken the megabytes that it missed.
    client.last_seq = 1;
    client.come_back_over(std::slice::from_ref(&talk.front)).await?;
    client.leave();
    let answered = async || {
        let status = talk.manager.json(&["status", "talk"]).await.ok()?;
        (status["stats"]["session_totals"]["turns"]["completed"] == 1).then_some(())
    };
    wait_for(PATIENCE, "the waiting message to be answered", answered).await;
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_restarted_keeps_its_sessions() -> Result<()> {
    let talk = talk(&[]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    client.message("say 20").await?;
    client.until("agent.final_answer").await?;
    client.message("say 1000 0.01").await?;
    client.until("agent.partial_answer").await?;
    talk.manager.ok(&["restart", "talk"]).await?;
    client.come_back_over(std::slice::from_ref(&talk.front)).await?;
    let told = client.until("agent.error").await?;
    assert_eq!(told["metadata"]["code"], "INTERRUPTED_BY_RESTART");
    client.message("recall").await?;
    assert_eq!(client.until("agent.final_answer").await?["content"], "asked 2, history 2");
    Ok(())
}

#[tokio::test]
async fn a_runner_that_was_stopped_cannot_fork_a_session() -> Result<()> {
    // So rarely that nobody finds it hanging meanwhile.
    let talk = talk(&["--replicas", "2", "--set", "health_check_interval=3600"]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    let owner = talk.owner(&client.session).await?;
    let runner = talk.runner(&owner).await?;
    let doors = talk.doors().await?;
    let other = usize::from(owner == "talk-0");
    client.message("say 300 0.002").await?;
    client.next().await?;
    myagent_testkit::processes::send(runner.pid, Signal::STOP);
    // Its sessions are out of reach, and the client is told that it may ask again.
    let told = client.come_back(&doors[other]).await?.unwrap_err();
    assert_eq!(told["event"], "error.recovery_failed");
    assert_eq!(told["metadata"]["code"], "SESSION_UNAVAILABLE", "{told}");
    assert!(told["metadata"]["retry_after_ms"].is_u64(), "{told}");
    myagent_testkit::processes::send(runner.pid, Signal::CONT);
    client.come_back_over(&doors).await?;
    client.until("agent.final_answer").await?;
    check_answer(&client, 300)?;

    // Killed while it is stopped it cannot wake; the other one has the session, and goes on counting where it was.
    client.message("think 1000").await?;
    client.next().await?;
    myagent_testkit::processes::send(runner.pid, Signal::STOP);
    client.come_back(&doors[other]).await?.unwrap_err();
    runner.kill();
    client.come_back_over(std::slice::from_ref(&doors[other])).await?;
    // It had only thought: the other one answers.
    client.until_code("turn_restarted").await?;
    client.until("agent.thinking").await?;
    client.cancel().await?;
    client.until("agent.interrupted").await?;
    client.message("recall").await?;
    assert_eq!(client.until("agent.final_answer").await?["content"], "asked 3, history 2");
    Ok(())
}
