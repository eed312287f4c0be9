//! A fleet that is changed while clients come: restarted one by one, scaled, updated.

use crate::fleet::{fake, manager, register, start_fake, wait_for_state};
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use myagent_core::view::ServiceView;
use myagent_testkit::{TestManager, client, processes};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_websockets::Message;

async fn view(manager: &TestManager, name: &str) -> Result<ServiceView> {
    Ok(serde_json::from_value(manager.json(&["status", name]).await?)?)
}

async fn runners(manager: &TestManager, name: &str) -> Result<Vec<u32>> {
    let view = view(manager, name).await?;
    view.instances.iter().map(|instance| instance.runner_pid.context("no runner")).collect()
}

/// One client: connects, says a word, hears it back.
async fn comes_and_goes(url: &str) -> Result<()> {
    let mut socket = client::connect(url).await?;
    socket.send(Message::text("word")).await?;
    let heard = timeout(Duration::from_secs(30), socket.next()).await?.context("closed")??;
    anyhow::ensure!(heard.as_text() == Some("word"), "{heard:?}");
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_always_leaves_somebody_who_serves() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "trio", &["--replicas", "3"], &["--echo"]).await?;
    let before = runners(&manager, "trio").await?;
    let (url, over) = (server.ws_url("/s/trio")?, Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    let told = Arc::clone(&over);
    clients.spawn(async move {
        let mut served = 0;
        while !told.load(Ordering::Relaxed) {
            // One that was just taken by an instance which is told to stop is closed with it; the next one is served.
            if comes_and_goes(&url).await.is_err() {
                comes_and_goes(&url).await?;
            }
            served += 1;
        }
        anyhow::Ok(served)
    });
    manager.ok(&["restart", "trio"]).await?;
    over.store(true, Ordering::Relaxed);
    let served: usize = clients.join_next().await.context("no client")???;
    assert!(served > 3, "only {served} clients came meanwhile");

    let after = runners(&manager, "trio").await?;
    assert!(
        before.iter().all(|pid| !after.contains(pid) && !processes::is_alive(*pid)),
        "{before:?} {after:?}"
    );
    // One after the other: each was ready before the next was started.
    let mut times: Vec<_> =
        view(&manager, "trio").await?.instances.into_iter().map(|i| (i.started_at, i.ready_at)).collect();
    times.sort();
    for pair in times.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{times:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_rolling_restart_that_fails_leaves_the_others_as_they_are() -> Result<()> {
    let manager = manager()?;
    let program = format!("[ -e broken ] && exit 4; exec {} --echo", fake());
    register(&manager, "pair", &["--replicas", "2", "--set", "max_restart_count=0"], &["sh", "-c", &program])
        .await?;
    manager.ok(&["start", "pair"]).await?;
    let before = runners(&manager, "pair").await?;
    std::fs::write(manager.work_dir().join("broken"), "")?;
    let restart = manager.cli(&["restart", "pair"]).await?;
    assert_eq!(restart.status, 1, "{restart}");
    assert!(restart.stderr.contains("pair-0 did not come back: exit code 4"), "{restart}");
    let now = view(&manager, "pair").await?;
    assert_eq!(now.instances[1].runner_pid, Some(before[1]), "{now:#?}");
    assert_eq!(now.status.to_string(), "running");
    // All at once, nobody is spared.
    assert_eq!(manager.cli(&["restart", "pair", "--all-at-once"]).await?.status, 1);
    wait_for_state(&manager, "pair", "error").await;
    myagent_testkit::wait_for(crate::fleet::PATIENCE, "the end of the second", async || {
        (!processes::is_alive(before[1])).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn scaling_starts_what_is_missing_and_ends_what_is_too_much() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "crowd", &[], &["--echo"]).await?;
    let first = runners(&manager, "crowd").await?;
    manager.ok(&["scale", "crowd", "3"]).await?;
    let three = runners(&manager, "crowd").await?;
    assert_eq!((three.len(), three[0]), (3, first[0]));
    let url = server.ws_url("/s/crowd")?;
    for _ in 0..6 {
        comes_and_goes(&url).await?;
    }
    let served: Vec<u64> =
        view(&manager, "crowd").await?.instances.iter().map(|i| u64::from(i.index)).collect();
    assert_eq!(served, [0, 1, 2]);
    manager.ok(&["scale", "crowd", "1"]).await?;
    wait_for_one(&manager).await;
    assert_eq!(runners(&manager, "crowd").await?, first);
    assert!(!processes::is_alive(three[1]) && !processes::is_alive(three[2]));
    Ok(())
}

async fn wait_for_one(manager: &TestManager) {
    myagent_testkit::wait_for(crate::fleet::PATIENCE, "one instance", async || {
        let view = view(manager, "crowd").await.ok()?;
        (view.instances.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_update_counts_for_the_next_start_and_survives_the_manager() -> Result<()> {
    let manager = manager()?;
    start_fake(&manager, "moving", &["--tags", "a"], &["--echo"]).await?;
    let before = runners(&manager, "moving").await?;
    let update = [
        "update",
        "moving",
        "--description",
        "moved",
        "--tags",
        "b,c",
        "--max-sessions",
        "7",
        "--set",
        "stop_grace=2",
    ];
    manager.ok(&update).await?;
    let view_now = view(&manager, "moving").await?;
    assert_eq!((view_now.version, view_now.config.max_sessions), (2, 7));
    assert_eq!(runners(&manager, "moving").await?, before, "what runs goes on");
    let refused = manager.cli(&["update", "moving", "--set", "stop_grace=-1"]).await?;
    assert!(refused.stderr.contains("stop_grace"), "{refused}");
    manager.ok(&["shutdown"]).await?;
    manager.ok(&["start", "moving"]).await?;
    let after = view(&manager, "moving").await?;
    assert_eq!((after.description.as_str(), after.config.stop_grace), ("moved", 2.0));
    assert_eq!(after.tags, BTreeSet::from(["b".to_owned(), "c".to_owned()]));
    Ok(())
}
