//! `list` with 100 registered services: the whole process, from the start of the program to its end; beside it the same
//! command of other supervisors with 100 programs.

mod peers;

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::report::{Budget, Report};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use tokio::time::Instant;

const SERVICES: usize = 100;
/// Runs in each round; each round counts with its median.
const RUNS: usize = 20;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    for number in 0..SERVICES {
        fleet.register(&format!("agent-{number:03}"), fleet::command()?, serde_json::json!({})).await?;
    }
    let listed = fleet.manager.json(&["list"]).await?;
    ensure!(listed.as_array().is_some_and(|all| all.len() == SERVICES), "not all services are listed");
    let peers = match &bench.peers {
        Some(folder) => peers::start(folder, SERVICES)?,
        None => Vec::new(),
    };
    let (mut table, mut json) = (Vec::new(), Vec::new());
    let mut theirs: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
    for _ in 0..bench.rounds {
        table.push(milliseconds(RUNS, || fleet.manager.command(&["list"]))?);
        json.push(milliseconds(RUNS, || fleet.manager.command(&["list", "--format", "json"]))?);
        for (peer, values) in peers.iter().zip(&mut theirs) {
            // These take up to a second each.
            values.push(milliseconds(3, || peer.status())?);
        }
    }
    report.line("list, 100 services, whole process", &table, "ms", Budget::AtMost(20.0));
    report.line("list --format json, 100 services, whole process", &json, "ms", Budget::AtMost(20.0));
    for (peer, values) in peers.iter().zip(&theirs) {
        report.line(&format!("{}, 100 programs, whole process", peer.name), values, "ms", Budget::None);
        report.ratio(&format!("list ÷ {}", peer.name), &table, values, Budget::None);
    }
    Ok(())
}

/// The median of several runs of a command that must succeed.
fn milliseconds(runs: usize, command: impl Fn() -> Command) -> Result<f64> {
    let mut took = Vec::with_capacity(runs);
    for _ in 0..runs {
        let mut command = command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
        // supervisorctl exits with 3 when something is stopped.
        ensure!(matches!(status.code(), Some(0 | 3)), "{command:?}: {status}");
    }
    Ok(crate::report::median(&took))
}
