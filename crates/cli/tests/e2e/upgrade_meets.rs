//! An upgrade in the middle of something else: another upgrade, a drain, a signal, a disk that is full.

use crate::caller::Caller;
use crate::fleet::{PATIENCE, manager, start_fake};
use anyhow::{Context, Result};
use myagent_testkit::{EventClient, TestManager, http, wait_for};
use rustix::process::Signal;
use serde_json::json;
use std::process::{Child, Stdio};

/// `upgrade`, begun and not waited for.
fn begin_upgrade(manager: &TestManager) -> Result<Child> {
    Ok(manager.command(&["upgrade"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

async fn end_of(mut child: Child) -> bool {
    let ended = async || child.try_wait().ok()?;
    wait_for(PATIENCE, "the end of the command", ended).await.success()
}

#[tokio::test]
async fn of_several_at_once_none_takes_what_the_other_has_not_got_yet() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "talk", &[], &[]).await?;
    for _ in 0..4 {
        let upgrades = [begin_upgrade(&manager)?, begin_upgrade(&manager)?, begin_upgrade(&manager)?];
        let mut succeeded = 0;
        for upgrade in upgrades {
            succeeded += u32::from(end_of(upgrade).await);
        }
        assert!(succeeded >= 1, "somebody must come first");
        assert_eq!(Caller::new("/s/talk/", &[]).goes_to(server.address("proxy")?).await?, "talk-0");
        assert_eq!(http::request(server.address("api")?, "GET", "/health", None).await?.status, 200);
    }
    Ok(())
}

/// Thinks for as long as there is no file beside it.
const SLOW: &str = r#"
import asyncio, os

class Agent:
    async def astream(self, message):
        while not os.path.exists(message):
            await asyncio.sleep(0.02)
        yield "done"

def create_agent():
    return Agent()
"#;

#[tokio::test]
async fn an_instance_that_is_drained_goes_on_with_that() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("slow.py"), SLOW)?;
    manager.ok(&["register", "slow", "slow.py", "--replicas", "2", "--auto-start"]).await?;
    let url = server.ws_url("/s/slow/")?;
    let (mut one, mut other) = (EventClient::connect(&url).await?, EventClient::connect(&url).await?);
    let done = manager.work_dir().join("done");
    for client in [&mut one, &mut other] {
        let session = client.create_session().await?;
        let content = done.display().to_string();
        client.send(json!({"event": "user.message", "session_id": session, "content": content})).await?;
    }
    let running = async || {
        let status = manager.json(&["status", "slow"]).await.ok()?;
        (status["stats"]["session_totals"]["turns"]["accepted"] == 2).then_some(())
    };
    wait_for(PATIENCE, "both answers to be under way", running).await;
    manager.ok(&["scale", "slow", "1"]).await?;
    // Two, so that the second meets what the first has found again.
    for _ in 0..2 {
        manager.ok(&["upgrade"]).await?;
    }
    std::fs::write(&done, "")?;
    for client in [&mut one, &mut other] {
        loop {
            let event = client.next_event().await?;
            assert_ne!(event["event"], "agent.error", "{event}");
            if event["event"] == "agent.final_answer" {
                assert_eq!(event["content"], "done");
                break;
            }
        }
    }
    let scaled = async || {
        let status = manager.json(&["status", "slow"]).await.ok()?;
        (status["instances"].as_array()?.len() == 1).then_some(())
    };
    wait_for(PATIENCE, "the one that is too many to be gone", scaled).await;
    Ok(())
}

#[tokio::test]
async fn a_signal_in_the_middle_of_it_is_for_whoever_is_the_manager_then() -> Result<()> {
    let manager = manager()?;
    for _ in 0..3 {
        let server = manager.up().await?;
        if manager.json(&["list"]).await?.as_array().context("no list")?.is_empty() {
            start_fake(&manager, "talk", &[], &[]).await?;
        }
        let upgrade = begin_upgrade(&manager)?;
        let begun = async || takes_over(server.pid());
        wait_for(PATIENCE, "a process that takes over", begun).await;
        server.signal(Signal::TERM);
        assert_eq!(server.wait().await?, 0);
        end_of(upgrade).await;
        assert_eq!(manager.processes(), Vec::<u32>::new());
    }
    Ok(())
}

/// Whether a process has a child that is to take over.
fn takes_over(pid: u32) -> Option<()> {
    // Whichever of its threads started it.
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let children: String =
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect();
    let mut lines =
        children.split_whitespace().filter_map(|child| std::fs::read(format!("/proc/{child}/cmdline")).ok());
    lines.any(|line| line.windows(9).any(|part| part == b"take-over")).then_some(())
}
