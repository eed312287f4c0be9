//! Limits of memory and processor time hold for the whole tree of an agent.

use crate::fleet::{
    Count, Process, cpu_seconds, fake, instance, manager, number, register, start_fake, wait_for_instance,
    wait_for_state,
};
use anyhow::Result;
use myagent_testkit::TestManager;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The leak of a child, so that it is not the main process that grows.
fn leaking_child() -> String {
    format!("PORT=0 {fake} --leak-mb-per-s 200 & exec {fake}", fake = fake())
}

async fn is_killed_for_its_memory(manager: &TestManager, name: &str) -> Result<()> {
    let failed = wait_for_state(manager, name, "error").await;
    assert_eq!(failed["last_exit"]["cause"]["kind"], "oom", "{failed:#}");
    assert_eq!(failed["last_exit"]["cause"]["limit_mb"], 100, "{failed:#}");
    assert!(failed["error_message"].as_str().unwrap().contains("memory_limit_mb=100"), "{failed:#}");
    Ok(())
}

async fn leaks(manager: &TestManager) -> Result<()> {
    let settings = ["--no-auto-restart", "--set", "memory_limit_mb=100"];
    start_fake(manager, "leak", &settings, &["--leak-mb-per-s", "200"]).await?;
    let leaking = Process::of(number(&instance(manager, "leak").await?["pid"])?);
    is_killed_for_its_memory(manager, "leak").await?;
    assert!(leaking.is_err() || leaking.is_ok_and(|process| !process.is_alive()));

    register(manager, "child", &settings, &["sh", "-c", &leaking_child()]).await?;
    manager.ok(&["start", "child"]).await?;
    is_killed_for_its_memory(manager, "child").await?;
    assert_eq!(instance(manager, "child").await?["processes"], 0);

    // Like any other end it is followed by a restart.
    let settings = ["--set", "restart_delay=0.1", "--set", "memory_limit_mb=100"];
    start_fake(manager, "again", &settings, &["--leak-mb-per-s", "200"]).await?;
    let again =
        wait_for_instance(manager, "again", "a restart", |instance| instance["restart_count"] != 0).await;
    assert!(again["last_exit"].is_null() || again["last_exit"]["cause"]["kind"] == "oom", "{again:#}");
    Ok(())
}

#[tokio::test]
async fn memory() -> Result<()> {
    leaks(&manager()?).await
}

#[tokio::test]
async fn memory_where_no_control_group_can_be_made() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_NO_CGROUP", "1");
    leaks(&manager).await
}

#[tokio::test]
async fn processor_time() -> Result<()> {
    let manager = manager()?;
    start_fake(&manager, "burn", &["--set", "cpu_limit_percent=10"], &["--burn-cpu"]).await?;
    let events = manager.json(&["events", "--service", "burn"]).await?;
    if events.as_array().unwrap().iter().any(|event| event["kind"] == "instance.cpu_limit_unavailable") {
        // No control group can be made here, and that is said.
        return Ok(());
    }
    let pid = number(&instance(&manager, "burn").await?["pid"])?;
    let (before, began) = (cpu_seconds(pid, Count::Itself)?, Instant::now());
    // Not a wait for something to happen: this is the time over which is measured.
    sleep(Duration::from_secs(2)).await;
    let percent = (cpu_seconds(pid, Count::Itself)? - before) / began.elapsed().as_secs_f64() * 100.0;
    assert!(percent < 50.0, "{percent:.0} % of a core, where 10 % are allowed");
    Ok(())
}
