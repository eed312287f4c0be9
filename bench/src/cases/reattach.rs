//! A manager is killed; the next one finds 50 instances, restarts none, and cuts no conversation.

use super::Bench;
use crate::fleet::{self, Fleet, Instance};
use crate::load::{Exchange, Talk};
use crate::report::{Budget, Report};
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

const INSTANCES: usize = 50;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::up(bench).await?;
    let started = Instant::now();
    // Half of them relay, half of them serve.
    fleet.run("command", fleet::command()?, json!({"replicas": INSTANCES / 2})).await?;
    fleet
        .run("file", fleet::file(&Bench::agent("echo_agent.py")), json!({"replicas": INSTANCES / 2}))
        .await?;
    report.line("50 instances, start to all ready", &[started.elapsed().as_secs_f64()], "s", Budget::None);
    let mut talks = Vec::new();
    for target in ["/s/command", "/s/file"] {
        talks.push(Exchange::open(fleet.proxy()?, target, INSTANCES / 2, Talk::Ping)?);
    }
    let (mut took, mut to_client, mut restarts, mut cut) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let before = pids(&all(&fleet).await?);
        let started = Instant::now();
        fleet.kill_manager();
        fleet.up_again().await?;
        // The first that is served by the new manager.
        drop(Exchange::open(fleet.proxy()?, "/s/file", 1, Talk::Ping)?);
        to_client.push(started.elapsed().as_secs_f64());
        let instances = all(&fleet).await?;
        took.push(started.elapsed().as_secs_f64());
        ensure!(instances.len() == INSTANCES, "{} instances", instances.len());
        let after = pids(&instances);
        let new = after.iter().filter(|pid| !before.contains(pid)).count() as u64;
        restarts.push((new + instances.iter().map(|instance| instance.restarts).sum::<u64>()) as f64);
        cut.push(talks.iter_mut().map(Exchange::broken).sum::<usize>() as f64);
    }
    report.line("manager killed → new one serves the first client", &to_client, "s", Budget::AtMost(3.0));
    report.line("manager killed → 50 instances re-attached", &took, "s", Budget::AtMost(3.0));
    report.line("… agents restarted", &restarts, "", Budget::Never);
    report.line("… conversations cut, of 50", &cut, "", Budget::Never);
    Ok(())
}

/// All instances, once each runner has told who its agent is: before that the manager shows what it remembers.
async fn all(fleet: &Fleet) -> Result<Vec<Instance>> {
    loop {
        let mut instances = fleet.running("command").await?;
        instances.extend(fleet.running("file").await?);
        if instances.iter().all(|instance| instance.pid != 0) {
            return Ok(instances);
        }
    }
}

fn pids(instances: &[Instance]) -> Vec<(u32, u32)> {
    instances.iter().map(|instance| (instance.pid, instance.runner_pid)).collect()
}
