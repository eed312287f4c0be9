//! What a runner costs: memory that is its own, for each kind of service, fresh and after conversations.

use super::Bench;
use crate::fleet::{self, Fleet, Instance};
use crate::load::{Connects, Exchange, Place, Talk, Until};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// The promise; and what must not be exceeded.
const BUDGET: f64 = 2.0;
const LIMIT: f64 = 4.0;
const CONVERSATIONS: usize = 100;
/// As many short connections as it takes, and then the time in which their records are told to the manager.
const RUSH: Duration = Duration::from_secs(2);
const AFTER_RUSH: Duration = Duration::from_secs(15);
/// A probe and a report of counters have passed.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let replicas = json!({"replicas": bench.rounds});
    let file = fleet.run("file", fleet::file(&Bench::agent("echo_agent.py")), replicas.clone()).await?;
    let command = fleet.run("command", fleet::command()?, replicas).await?;
    let mut external = Vec::new();
    for (number, instance) in command.iter().enumerate() {
        let source = json!({"kind": "external", "url": format!("ws://{}/", instance.address())});
        external.extend(fleet.run(&format!("external-{number}"), source, json!({})).await?);
    }
    sleep(SETTLE).await;
    for (kind, instances) in [("agent file", &file), ("command", &command), ("external", &external)] {
        report.line(
            &format!("runner of {kind}: private"),
            &private(instances)?,
            "MiB",
            Budget::AtMost(BUDGET),
        );
        let resident: Vec<f64> =
            instances.iter().map(|instance| procs::rss_mib(instance.runner_pid)).collect::<Result<_>>()?;
        report.line(&format!("runner of {kind}: RSS"), &resident, "MiB", Budget::None);
    }
    for (kind, target, instances) in [("agent file", "/s/file", &file), ("command", "/s/command", &command)] {
        let count = CONVERSATIONS * instances.len();
        let before = private(instances)?;
        let mut talks = Exchange::open(fleet.proxy()?, target, count, Talk::Ping)?;
        talks.run(Duration::from_millis(500))?;
        sleep(SETTLE).await;
        let open = private(instances)?;
        let each: Vec<f64> = open
            .iter()
            .zip(&before)
            .map(|(open, before)| (open - before) * 1024.0 / CONVERSATIONS as f64)
            .collect();
        report.line(&format!("runner of {kind}: per idle conversation"), &each, "KiB", Budget::None);
        drop(talks);
        sleep(SETTLE).await;
        let after = private(instances)?;
        let what = format!("runner of {kind}: private after {CONVERSATIONS} conversations");
        report.line(&what, &after, "MiB", Budget::AtMost(LIMIT));
    }
    for instance in &file {
        let places = [Place::new(instance.address(), "/")];
        Connects { places: &places, at_once: 64, until: Until::Greeting }.run(RUSH)?;
    }
    sleep(AFTER_RUSH).await;
    let what = "runner of agent file: private after a rush of connections";
    report.line(what, &private(&file)?, "MiB", Budget::AtMost(LIMIT));
    let workers = file.iter().map(|instance| procs::private_mib(instance.pid)).collect::<Result<Vec<_>>>();
    report.line(
        "Python worker of agent file: private",
        &workers.context("a worker has gone")?,
        "MiB",
        Budget::None,
    );
    Ok(())
}

fn private(instances: &[Instance]) -> Result<Vec<f64>> {
    instances.iter().map(|instance| procs::private_mib(instance.runner_pid)).collect()
}
