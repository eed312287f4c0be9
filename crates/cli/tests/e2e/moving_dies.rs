//! Runners that are killed while connections move between them: whoever dies, a client loses its connection at the most, and
//! finds its conversation as it left it.

use crate::fleet::{PATIENCE, Process, rounds};
use crate::moving::talk;
use anyhow::{Context, Result, bail, ensure};
use myagent_testkit::{Resuming, wait_for};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Which runner dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dies {
    Giver,
    Receiver,
}

/// Clients of the second of two instances, which is to be removed; at the first that has moved somebody dies. How many were
/// still connected afterwards.
async fn die_at_the_first_move(dies: Dies) -> Result<usize> {
    let talk = talk(&["--replicas", "2", "--set", "drain_timeout=60"]).await?;
    let door = talk.door(1).await?;
    let runners = talk.runners().await?;
    let victim = Process::of(runners[usize::from(dies == Dies::Giver)])?;
    let count = rounds(24, 100);
    let (moved, mut first_move) = mpsc::channel(count);
    let (go_on, gone_on) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let mut client = Resuming::start(&door).await?;
        client.message("say 3 0").await?;
        client.until("agent.final_answer").await?;
        let (moved, mut gone_on) = (moved.clone(), gone_on.clone());
        let front = talk.front.clone();
        clients.spawn(async move {
            tokio::select! {
                event = client.next_or_end() => if event?.is_some_and(|event| event["event"] == "service_switched") {
                    // Nobody looks for the second one.
                    let _ = moved.try_send(());
                },
                went_on = gone_on.wait_for(|go_on| *go_on) => drop(went_on?),
            }
            gone_on.wait_for(|go_on| *go_on).await.map(drop)?;
            let connected = client.is_connected().await?;
            if !connected {
                client.come_back_over(std::slice::from_ref(&front)).await?;
            }
            client.message("recall").await?;
            let answer = client.until("agent.final_answer").await?;
            ensure!(answer["content"] == "asked 2, history 2", "{answer}, connected: {connected}");
            anyhow::Ok(connected)
        });
    }
    talk.manager.ok(&["scale", "talk", "1"]).await?;
    first_move.recv().await.context("nobody moved")?;
    victim.kill();
    let alone = async || {
        let instances = talk.instances().await.ok()?;
        (instances.len() == 1 && instances[0]["status"] == "running").then_some(())
    };
    wait_for(PATIENCE, "the one that is left", alone).await;
    go_on.send_replace(true);
    let mut connected = 0;
    while let Some(client) = clients.join_next().await {
        connected += usize::from(client??);
    }
    Ok(connected)
}

#[tokio::test]
async fn a_giver_that_is_killed_keeps_nobody_that_has_moved() -> Result<()> {
    let connected = die_at_the_first_move(Dies::Giver).await?;
    assert!(connected > 0, "at least one had moved");
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_killed_leaves_its_sessions_to_the_next() -> Result<()> {
    die_at_the_first_move(Dies::Receiver).await?;
    Ok(())
}

/// A client that goes on whatever happens to its connection.
struct Stubborn {
    client: Resuming,
    front: String,
    answered: u64,
    /// Turns that were lost or interrupted: the agent may or may not know of them.
    lost: u64,
}

impl Stubborn {
    async fn start(front: &str) -> Result<Self> {
        let client = Resuming::start(front).await?;
        Ok(Self { client, front: front.to_owned(), answered: 0, lost: 0 })
    }

    /// One message and its end, sent again if it had not arrived; the answer, if there is one.
    async fn turn(&mut self, message: &str) -> Result<Option<Value>> {
        let before = self.client.last_seq;
        // If the connection is gone, reading tells.
        let _ = self.client.message(message).await;
        loop {
            let Some(event) = self.client.next_or_end().await? else {
                let restored = self.client.come_back_over(std::slice::from_ref(&self.front)).await?;
                let state = &restored["metadata"];
                let last = state["last_seq"].as_u64().context("no last_seq")?;
                if last == before && state["running"] == false && state["waiting"] == 0 {
                    let _ = self.client.message(message).await;
                }
                continue;
            };
            match event["event"].as_str() {
                Some("agent.final_answer") => {
                    self.answered += 1;
                    return Ok(Some(event));
                }
                Some("agent.error") => {
                    let code = event["metadata"]["code"].as_str().unwrap_or_default();
                    if !["WORKER_LOST", "INTERRUPTED_BY_RESTART"].contains(&code) {
                        bail!("unexpected: {event}");
                    }
                    self.lost += 1;
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    async fn talk(&mut self, stop: &watch::Receiver<bool>) -> Result<()> {
        while !*stop.borrow() {
            self.turn("say 5 0.02").await?;
        }
        let answer = loop {
            if let Some(answer) = self.turn("recall").await? {
                break answer;
            }
        };
        let text = answer["content"].as_str().context("no text")?;
        let numbers: Vec<u64> = text.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        let [asked, history] = numbers[..] else { bail!("{text}") };
        // What was exported of a turn that was lost at its very end is known to the agent, and to nobody else.
        let may_be = self.answered..=self.answered + self.lost;
        ensure!(
            may_be.contains(&asked),
            "asked {asked}, but {} were answered, {} lost",
            self.answered,
            self.lost
        );
        ensure!(history == (2 * (self.answered - 1)).min(200), "{text}, answered {}", self.answered);
        Ok(())
    }
}

#[tokio::test]
async fn whoever_is_killed_in_a_rolling_restart_no_conversation_is_lost() -> Result<()> {
    let talk = talk(&["--replicas", "3", "--set", "drain_timeout=5"]).await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..rounds(15, 60) {
        let mut client = Stubborn::start(&talk.front).await?;
        let stopped = stopped.clone();
        clients.spawn(async move {
            client.talk(&stopped).await.with_context(|| format!("after {} answers", client.answered))?;
            anyhow::Ok(client.answered)
        });
    }
    for round in 0..rounds(3, 20) {
        let before = talk.records().await?;
        let mut restarting = talk.manager.command(&["restart", "talk"]).spawn()?;
        // Each time another one, at another moment: when so much has happened.
        let happened = before + 1 + round * 7 % 12;
        let moment = async || {
            let ended = restarting.try_wait().ok()?.is_some();
            (ended || talk.records().await.ok()? >= happened).then_some(())
        };
        wait_for(PATIENCE, "the moment", moment).await;
        let running = async || {
            let instances = talk.instances().await.ok()?;
            let victim = &instances[(round * 2 + 1) % 3];
            Process::of(u32::try_from(victim["runner_pid"].as_u64()?).ok()?).ok()
        };
        wait_for(PATIENCE, "a runner to kill", running).await.kill();
        // Whether it is content with that is told in other stories.
        wait_for(PATIENCE, "the end of the restart", async || restarting.try_wait().ok()?).await;
        let all = async || {
            let instances = talk.instances().await.ok()?;
            instances.iter().all(|instance| instance["status"] == "running").then_some(())
        };
        wait_for(PATIENCE, "all instances", all).await;
        if let Some(ended) = clients.try_join_next() {
            ended??;
        }
    }
    stop.send_replace(true);
    let mut answers = 0;
    while let Some(client) = clients.join_next().await {
        answers += client??;
    }
    assert!(answers > 100, "{answers}");
    Ok(())
}
