//! An agent that stops answering is taken out of routing; whether it is restarted as well depends on whether anybody waits
//! for it.

use crate::fleet::{PATIENCE, fake, instance, manager, number, register, wait_for_instance, wait_for_state};
use anyhow::Result;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, wait_for};
use serde_json::Value;
use std::path::PathBuf;

struct Story {
    manager: TestManager,
    server: Server,
    /// While it is there the agent hangs.
    hang: PathBuf,
}

impl Story {
    async fn new(words: &[&str]) -> Result<Self> {
        let mut manager = manager()?;
        // Nobody shall wait for long where there is nothing to wait for.
        manager.set_env("MYAGENT_QUEUE_TIMEOUT", "0.5");
        let server = manager.up().await?;
        let hang = manager.work_dir().join("hang");
        let options = [
            "--set",
            "health_check_interval=0.2",
            "--set",
            "health_check_timeout=0.2",
            "--set",
            "restart_delay=0.1",
            "--set",
            "stop_grace=0.5",
        ];
        let (fake, file) = (fake(), hang.display().to_string());
        register(&manager, "agent", &options, &[&[fake.as_str(), "--hang-while", &file], words].concat())
            .await?;
        manager.ok(&["start", "agent"]).await?;
        Ok(Self { manager, server, hang })
    }

    /// A new client's fate: the first event that it gets.
    async fn first_event(&self) -> Result<Value> {
        EventClient::connect(&self.server.ws_url("/s/agent")?).await?.next_event().await
    }

    async fn checks(&self) -> Result<usize> {
        let history = self.manager.json(&["health", "agent", "--history"]).await?;
        Ok(history.as_array().map_or(0, Vec::len))
    }
}

#[tokio::test]
async fn idle_and_hanging_it_is_taken_out_and_restarted() -> Result<()> {
    let story = Story::new(&[]).await?;
    let before = instance(&story.manager, "agent").await?;
    assert_eq!(story.first_event().await?["event"], "system.connected");
    std::fs::write(&story.hang, "")?;
    let seen = wait_for_instance(&story.manager, "agent", "out of routing", |instance| {
        instance["status"] != "running"
    })
    .await;
    assert!(seen["status"] == "unhealthy" || seen["restart_count"] != 0, "{seen:#}");
    let restarted = wait_for_instance(&story.manager, "agent", "a restart", |instance| {
        instance["pid"].is_u64() && instance["pid"] != before["pid"]
    })
    .await;
    assert_eq!(restarted["restart_count"], 1, "{restarted:#}");
    // The new one hangs as well, so no client is let through to it.
    assert_eq!(story.first_event().await?["metadata"]["code"], "ROUTING_FAILED");
    std::fs::remove_file(&story.hang)?;
    wait_for_state(&story.manager, "agent", "running").await;
    assert_eq!(story.first_event().await?["event"], "system.connected");
    Ok(())
}

#[tokio::test]
async fn busy_and_hanging_it_is_taken_out_and_left_alone() -> Result<()> {
    let story = Story::new(&["--delay", "0.3"]).await?;
    let before = instance(&story.manager, "agent").await?;
    let mut client = EventClient::connect(&story.server.ws_url("/s/agent")?).await?;
    let session = client.create_session().await?;
    client.message(&session, "a long thought").await?;
    client.next_named("agent.partial_answer").await?;
    std::fs::write(&story.hang, "")?;
    let unhealthy = wait_for_state(&story.manager, "agent", "unhealthy").await;
    assert_eq!(unhealthy["busy"], true, "{unhealthy:#}");
    assert_eq!(story.first_event().await?["metadata"]["code"], "ROUTING_FAILED");
    // Many more checks fail, and it is left alone.
    let checks = story.checks().await?;
    wait_for(PATIENCE, "ten more checks", async || (story.checks().await.ok()? >= checks + 10).then_some(()))
        .await;
    let still = instance(&story.manager, "agent").await?;
    assert_eq!((&still["status"], &still["pid"]), (&"unhealthy".into(), &before["pid"]), "{still:#}");
    assert_eq!(number(&still["restart_count"])?, 0);

    std::fs::remove_file(&story.hang)?;
    let back = wait_for_state(&story.manager, "agent", "running").await;
    assert_eq!((&back["pid"], &back["restart_count"]), (&before["pid"], &0.into()), "{back:#}");
    client.until_final(&session).await?;
    client.check_seq(&session, 1)?;
    assert_eq!(story.first_event().await?["event"], "system.connected");
    Ok(())
}
