//! Deployments under clients who talk all the while: instances are replaced and taken away, and no socket is closed, no event
//! lost, doubled or out of order.

use crate::fleet::{PATIENCE, manager, number, rounds};
use crate::talk::Talk;
use anyhow::{Context, Result, bail, ensure};
use myagent_testkit::{Resuming, wait_for};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

/// Says as many pieces as it is asked for, at this pace; and remembers how often it has answered.
const TALKER: &str = r#"
import asyncio

class Talker:
    def __init__(self):
        self.asked = 0

    async def astream(self, message, ctx):
        words = str(message).split()
        if words[0] == "recall":
            self.asked += 1
            yield "asked %d, history %d" % (self.asked, len(ctx.history))
            return
        for number in range(int(words[1])):
            yield "%d " % number + (int(words[3]) * "x" if len(words) > 3 else "")
            await asyncio.sleep(float(words[2]))
        self.asked += 1

    def export_state(self):
        return {"asked": self.asked}

    def import_state(self, state):
        self.asked = state["asked"]

def create_agent():
    return Talker()
"#;

/// With clients that are told of everything.
pub(crate) async fn talk(options: &[&str]) -> Result<Talk> {
    Talk::with(TALKER, "/s/talk?events=1", options).await
}

impl Talk {
    /// The address of an instance itself.
    pub(crate) async fn door(&self, index: usize) -> Result<String> {
        Ok(format!("ws://127.0.0.1:{}/?events=1", self.instances().await?[index]["port"]))
    }

    pub(crate) async fn runners(&self) -> Result<Vec<u32>> {
        self.instances().await?.iter().map(|instance| number(&instance["runner_pid"])).collect()
    }

    /// Waits until all of so many instances run and have so many connections together.
    pub(crate) async fn settled(&self, instances: usize, connections: usize) {
        let what = format!("{instances} instances with {connections} connections");
        wait_for(PATIENCE, &what, async || {
            let all = self.instances().await.ok()?;
            let open: u64 = all.iter().filter_map(|instance| instance["active_connections"].as_u64()).sum();
            let right = all.len() == instances && all.iter().all(|instance| instance["status"] == "running");
            (right && open == connections as u64).then_some(())
        })
        .await;
    }

    /// How much has been told of what became of the instances.
    pub(crate) async fn records(&self) -> Result<usize> {
        let events = self.manager.json(&["events", "--kind", "instance.", "-n", "1000"]).await?;
        let kinds = events.as_array().context("no events")?.iter().filter_map(|event| event["kind"].as_str());
        Ok(kinds.filter(|kind| kind.starts_with("instance.")).count())
    }

    /// What has been told of instances that were drained: moved, closed, interrupted.
    pub(crate) async fn drained(&self) -> Result<Vec<[u64; 3]>> {
        let events = self.manager.json(&["events", "--kind", "instance.", "-n", "1000"]).await?;
        let events = events.as_array().context("no events")?;
        let of_drains = events.iter().filter(|event| event["kind"] == "instance.drained");
        let numbers = of_drains.map(|event| {
            let words = event["why"].as_str().unwrap_or_default().split([' ', ',']);
            let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            numbers.try_into().map_err(|numbers| anyhow::anyhow!("{numbers:?} in {event}"))
        });
        numbers.collect()
    }
}

/// What a client does all the while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Habit {
    /// Nothing.
    Listens,
    /// Asks for something short, rests, and asks again.
    Chats,
    /// Lets one answer follow the other, with two that wait.
    Hurries,
    /// Asks for what takes longer than it is given.
    Exceeds,
}

/// A client that talks until it is told to stop. It never comes back: a connection that ends is an error.
pub(crate) struct Talking {
    pub(crate) client: Resuming,
    habit: Habit,
    /// Turns that were answered, and that were interrupted.
    answered: u64,
    interrupted: u64,
}

impl Talking {
    pub(crate) async fn start(url: &str, number: usize) -> Result<Self> {
        let habit = [Habit::Listens, Habit::Chats, Habit::Hurries, Habit::Exceeds][number % 4];
        Ok(Self { client: Resuming::start(url).await?, habit, answered: 0, interrupted: 0 })
    }

    /// One answer, whole and in order, or the word that it was interrupted.
    async fn hear(&mut self, pieces: u64) -> Result<()> {
        let mut next = 0;
        loop {
            let event = self.client.next().await?;
            match event["event"].as_str() {
                Some("agent.partial_answer") => {
                    ensure!(event["content"] == format!("{next} "), "piece {next} is {event}");
                    next += 1;
                }
                Some("agent.final_answer") => {
                    ensure!(next == pieces, "an answer of {next} pieces instead of {pieces}");
                    self.answered += 1;
                    return Ok(());
                }
                Some("agent.error") if event["metadata"]["code"] == "INTERRUPTED_BY_RESTART" => {
                    self.interrupted += 1;
                    return Ok(());
                }
                _ => bail!("unexpected: {event}"),
            }
        }
    }

    /// Does what it does until told to stop.
    async fn talk(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow_and_update() {
            match self.habit {
                Habit::Listens => {
                    stop.changed().await?;
                }
                Habit::Chats => {
                    self.client.message("say 3 0.02").await?;
                    self.hear(3).await?;
                    sleep(Duration::from_millis(150)).await;
                }
                Habit::Hurries => {
                    for _ in 0..3 {
                        self.client.message("say 4 0.05").await?;
                    }
                    for _ in 0..3 {
                        self.hear(4).await?;
                    }
                }
                Habit::Exceeds => {
                    self.client.message("say 1000000 0.2").await?;
                    let is_stopped = tokio::select! {
                        told = self.hear(1_000_000) => told.map(|()| false)?,
                        stopped = async { stop.wait_for(|stop| *stop).await.is_ok() } => stopped,
                    };
                    if is_stopped {
                        self.cancel().await?;
                    }
                }
            }
        }
        self.remembers().await
    }

    /// Ends the answer. It may be interrupted just then.
    async fn cancel(&mut self) -> Result<()> {
        self.client.cancel().await?;
        loop {
            let event = self.client.next().await?;
            match event["event"].as_str() {
                Some("agent.interrupted") => return Ok(()),
                Some("agent.error") => self.interrupted += 1,
                _ => {}
            }
        }
    }

    /// The agent knows all that was answered, and nothing of what was not.
    pub(crate) async fn remembers(&mut self) -> Result<()> {
        self.client.message("recall").await?;
        let answer = self.client.until("agent.final_answer").await?;
        self.answered += 1;
        let history = (2 * (self.answered - 1)).min(200);
        let expected = format!("asked {}, history {history}", self.answered);
        ensure!(answer["content"] == expected, "{answer}, expected {expected}");
        Ok(())
    }

    /// How often it has moved: from the instance that it came to, and each time from the one to which it went before.
    pub(crate) fn moves(&self) -> Result<usize> {
        let mut at = self.client.instance().context("no instance")?.to_owned();
        let switched = self.client.others.iter().filter(|event| event["event"] == "service_switched");
        let mut moves = 0;
        for event in switched {
            let metadata = &event["metadata"];
            ensure!(metadata["from"] == at && metadata["to"] != at, "at {at}: {event}");
            metadata["to"].as_str().context("no instance")?.clone_into(&mut at);
            moves += 1;
        }
        let other = self
            .client
            .others
            .iter()
            .find(|event| event["event"] != "service_switched" && event["event"] != "system.heartbeat");
        ensure!(other.is_none(), "{other:?}");
        Ok(moves)
    }
}

/// Clients that talk all the while.
pub(crate) struct Crowd {
    clients: JoinSet<Result<Talking>>,
    stop: watch::Sender<bool>,
    pub(crate) count: usize,
}

impl Crowd {
    pub(crate) async fn start(url: &str, count: usize) -> Result<Self> {
        let mut starting = JoinSet::new();
        for number in 0..count {
            let url = url.to_owned();
            starting.spawn(async move { Talking::start(&url, number).await });
        }
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        while let Some(client) = starting.join_next().await {
            let (mut client, mut stopped) = (client??, stopped.clone());
            clients.spawn(async move {
                let told = client.talk(&mut stopped).await;
                told.with_context(|| format!("{:?} at {}", client.habit, client.client.last_seq))?;
                Ok(client)
            });
        }
        Ok(Self { clients, stop, count })
    }

    /// An error if one of them has noticed anything up to now.
    fn check(&mut self) -> Result<()> {
        match self.clients.try_join_next() {
            Some(ended) => ended?.map(drop),
            None => Ok(()),
        }
    }

    /// All of them, when they have said their last.
    pub(crate) async fn end(mut self) -> Result<Vec<Talking>> {
        self.stop.send_replace(true);
        let mut all = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            all.push(client??);
        }
        ensure!(all.len() == self.count, "{} of {} clients", all.len(), self.count);
        Ok(all)
    }
}

/// Nobody was cut off, everybody was told of each move, and interrupted were those that took too long, and nobody else.
async fn check_moves(talk: &Talk, clients: &[Talking]) -> Result<()> {
    let drained = talk.drained().await?;
    let sum = |at: usize| drained.iter().map(|numbers| numbers[at]).sum::<u64>();
    let moves = clients.iter().map(Talking::moves).sum::<Result<usize>>()?;
    ensure!(moves as u64 == sum(0), "{moves} moves were told, and {} were made: {drained:?}", sum(0));
    ensure!(sum(1) == 0, "some were closed: {drained:?}");
    let interrupted: u64 = clients.iter().map(|client| client.interrupted).sum();
    ensure!(interrupted == sum(2), "{interrupted} were told that they were interrupted: {drained:?}");
    for client in clients {
        let may_be = matches!(client.habit, Habit::Exceeds);
        ensure!(may_be || client.interrupted == 0, "{:?} was interrupted", client.habit);
    }
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_is_noticed_by_nobody() -> Result<()> {
    let talk = talk(&["--replicas", "3", "--set", "drain_timeout=1.5"]).await?;
    let before = talk.runners().await?;
    let count = rounds(60, 300);
    let mut crowd = Crowd::start(&talk.front, count).await?;
    for _ in 0..rounds(1, 4) {
        talk.manager.ok(&["restart", "talk"]).await?;
        crowd.check()?;
    }
    talk.settled(3, count).await;
    // How they came is still known.
    let all = talk.manager.json(&["connections", "--limit", "1000"]).await?;
    let all = all.as_array().context("a list")?;
    ensure!(all.len() == count && all.iter().all(|one| one["pool"] == "service"), "{all:?}");
    let after = talk.runners().await?;
    assert!(after.iter().all(|runner| !before.contains(runner)), "{before:?} and {after:?}");
    let clients = crowd.end().await?;
    check_moves(&talk, &clients).await?;
    // Each has moved at least once in each restart: nobody is where it was.
    for client in &clients {
        ensure!(client.moves()? >= rounds(1, 4), "{:?}", client.client.others);
    }
    let status = talk.manager.json(&["status", "talk"]).await?;
    assert_eq!(status["stats"]["connections"], count, "nobody has come twice");
    Ok(())
}

#[tokio::test]
async fn a_scale_in_moves_everybody_to_those_that_stay() -> Result<()> {
    let talk = talk(&["--replicas", "3", "--set", "drain_timeout=1.5"]).await?;
    let count = rounds(40, 200);
    let mut crowd = Crowd::start(&talk.front, count).await?;
    talk.manager.ok(&["scale", "talk", "1"]).await?;
    talk.settled(1, count).await;
    crowd.check()?;
    // And out and in again, while those that leave have not left yet.
    talk.manager.ok(&["scale", "talk", "2"]).await?;
    talk.manager.ok(&["restart", "talk"]).await?;
    talk.manager.ok(&["scale", "talk", "1"]).await?;
    talk.manager.ok(&["scale", "talk", "2"]).await?;
    talk.settled(2, count).await;
    let clients = crowd.end().await?;
    check_moves(&talk, &clients).await
}

#[tokio::test]
async fn a_manager_that_is_killed_in_the_middle_of_it_changes_nothing() -> Result<()> {
    let mut talk = talk(&["--replicas", "3", "--set", "drain_timeout=2"]).await?;
    let before = talk.runners().await?;
    let count = rounds(30, 150);
    let mut crowd = Crowd::start(&talk.front, count).await?;
    let mut restarting = talk.manager.command(&["restart", "talk"]).spawn()?;
    let draining = async || {
        let instances = talk.instances().await.ok()?;
        instances.iter().position(|instance| instance["status"] == "stopping")
    };
    let drained = wait_for(PATIENCE, "an instance that is drained", draining).await;
    talk.server.signal(Signal::KILL);
    wait_for(PATIENCE, "the manager's end", async || talk.server.try_wait().ok()?).await;
    talk.server = talk.manager.up().await?;
    // The one that asked is told that its manager has gone.
    wait_for(PATIENCE, "the end of the command", async || restarting.try_wait().ok()?).await;
    // The one that was being drained is restarted by the next manager; the others are as they were.
    let restarted = async || {
        let after = talk.runners().await.ok()?;
        (after.len() == 3 && after[drained] != before[drained]).then_some(after)
    };
    let after = wait_for(PATIENCE, "the restart of that one", restarted).await;
    talk.settled(3, count).await;
    for index in (0..3).filter(|index| *index != drained) {
        assert_eq!(after[index], before[index]);
    }
    crowd.check()?;
    // And now all of it.
    talk.manager.ok(&["restart", "talk"]).await?;
    talk.settled(3, count).await;
    for client in crowd.end().await? {
        ensure!(client.moves()? >= 1, "{:?}", client.client.others);
        ensure!(client.interrupted == 0 || matches!(client.habit, Habit::Exceeds));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_half_sent_and_half_received_goes_along() -> Result<()> {
    let talk = talk(&["--replicas", "2", "--set", "drain_timeout=60"]).await?;
    let door = talk.door(1).await?;
    // One has sent the first two of three fragments, and the third up to its last byte.
    let mut sends = Resuming::start(&door).await?;
    let padding = "ä".repeat(150_000);
    let event = json!({"event": "user.message", "session_id": sends.session, "content": "say 3 0", "metadata": {"padding": padding}});
    let frames = fragments(&event.to_string(), 3);
    let (begin, last) = frames.split_at(frames.len() - 1);
    let mut raw = sends.raw()?;
    raw.write_all(begin).await?;
    // Another one has not read a byte of its megabytes, which no socket takes.
    let mut reads = Resuming::start(&door).await?;
    reads.message("say 300 0 50000").await?;
    let answered = async || {
        let status = talk.manager.json(&["status", "talk"]).await.ok()?;
        (status["stats"]["session_totals"]["turns"]["accepted"] == 1).then_some(())
    };
    wait_for(PATIENCE, "the message to have arrived", answered).await;
    let scaled = Instant::now();
    talk.manager.ok(&["scale", "talk", "1"]).await?;
    // The first one has nothing under way; the other one's turn waits for its client.
    let moved = async || {
        let instances = talk.instances().await.ok()?;
        (instances[0]["active_connections"] == 1).then_some(())
    };
    wait_for(PATIENCE, "the first one to have moved", moved).await;
    raw.write_all(last).await?;
    assert_eq!(sends.any().await?["event"], "service_switched");
    sends.until("agent.final_answer").await?;
    assert!(sends.others.len() == 1 && sends.events.len() == 1 + 4, "{:?}", sends.events);

    for number in 0..300 {
        let event = reads.next().await?;
        let piece = event["content"].as_str().context("no text")?;
        ensure!(piece.split_once(' ').is_some_and(|(before, _)| before == number.to_string()), "{number}");
    }
    reads.until("agent.final_answer").await?;
    talk.settled(1, 2).await;
    assert!(scaled.elapsed() < Duration::from_secs(40), "{:?}", scaled.elapsed());
    reads.message("recall").await?;
    assert_eq!(reads.until("agent.final_answer").await?["content"], "asked 2, history 0");
    Ok(())
}

/// A client's message in so many frames.
fn fragments(text: &str, count: usize) -> Vec<u8> {
    let parts: Vec<_> = text.as_bytes().chunks(text.len().div_ceil(count)).collect();
    let mut out = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
        out.push(fin | u8::from(index == 0));
        // The long form of a length is for what needs it.
        assert!(part.len() > 0xffff);
        out.push(0x80 | 127);
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        // A key of zeros changes nothing.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(part);
    }
    out
}

#[tokio::test]
async fn a_single_instance_sends_its_clients_away_and_finds_them_again() -> Result<()> {
    let talk = talk(&[]).await?;
    let mut client = Resuming::start(&talk.front).await?;
    client.message("say 3 0").await?;
    client.until("agent.final_answer").await?;
    client.message("say 1000 0.01").await?;
    client.next().await?;
    talk.manager.ok(&["restart", "talk"]).await?;
    assert_eq!(client.until_closed().await?, (1012, "service restart".to_owned()));
    let last = client.events.last().context("no event")?;
    assert_eq!(last["metadata"]["code"], "INTERRUPTED_BY_RESTART");
    client.come_back_over(std::slice::from_ref(&talk.front)).await?;
    client.message("recall").await?;
    assert_eq!(client.until("agent.final_answer").await?["content"], "asked 2, history 2");
    Ok(())
}

#[tokio::test]
async fn whoever_stops_everything_says_so_to_one_after_the_other() -> Result<()> {
    let talk = talk(&["--replicas", "2"]).await?;
    let count = 40;
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let mut client = Resuming::start(&talk.front).await?;
        clients.spawn(async move {
            let closed = client.until_closed().await?;
            anyhow::Ok((closed, Instant::now()))
        });
    }
    talk.settled(2, count).await;
    talk.server.signal(Signal::INT);
    let mut times = Vec::new();
    while let Some(told) = clients.join_next().await {
        let ((code, reason), at) = told??;
        assert_eq!((code, reason.as_str()), (1001, "service stopped"));
        times.push(at);
    }
    // 40 of them at 5 ms each, in two instances side by side.
    let took = *times.iter().max().context("nobody")? - *times.iter().min().context("nobody")?;
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert_eq!(talk.server.wait().await?, 0);
    Ok(())
}

#[tokio::test]
async fn behind_a_relay_a_conversation_ends_in_a_quiet_moment() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let options = ["--replicas", "2", "--set", "drain_timeout=30"];
    crate::fleet::start_fake(&manager, "fake", &options, &["--delay", "0.2"]).await?;
    let status = manager.json(&["status", "fake"]).await?;
    // (Its own port is the agent's: only who comes through the front door is ours.)
    let front = server.ws_url("/s/fake")?;
    let mut clients = BTreeMap::new();
    for _ in 0..2 {
        let client = Resuming::start(&front).await?;
        let instance = client.instance().context("no instance")?.to_owned();
        clients.insert(instance, client);
    }
    assert_eq!(clients.len(), 2, "round robin");
    let mut leaves = clients.remove("fake-1").context("fake-1")?;
    let mut stays = clients.remove("fake-0").context("fake-0")?;
    leaves.message("one two three four five").await?;
    leaves.until("agent.partial_answer").await?;
    manager.ok(&["scale", "fake", "1"]).await?;
    // It has its whole answer, and then some time in which nothing was said.
    leaves.until("agent.final_answer").await?;
    let answered = Instant::now();
    assert_eq!(leaves.until_closed().await?, (1012, "service restart".to_owned()));
    assert!(answered.elapsed() < Duration::from_secs(20), "{:?}", answered.elapsed());
    stays.message("still here").await?;
    stays.until("agent.final_answer").await?;
    drop(status);
    Ok(())
}
