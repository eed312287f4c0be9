//! What an idle connection to a command agent holds in the proxy's processes: memory of their own, before and after thousands
//! of them. All processes are new in each round, because none gives everything back.

use super::Bench;
use super::setup::{NAMES, OURS, quick_agent};
use crate::fleet::{Fleet, Instance};
use crate::load::{Echo, Place};
use crate::peers;
use crate::procs;
use crate::report::{Budget, Report, median};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const CONNECTIONS: usize = 5000;
/// Memory differs little from round to round, and a round takes half a minute.
const MOST_ROUNDS: usize = 3;
/// Reports have been told, buffers that are not used given back.
const SETTLE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    // Theirs needs an agent, too.
    let (_fleet, agent) = fleet(bench).await?;
    let kinds = peers::installed(bench, &[]);
    let mut ours: [Vec<f64>; 3] = Default::default();
    let mut theirs: Vec<Vec<f64>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.rounds.min(MOST_ROUNDS) {
        let (fleet, instance) = self::fleet(bench).await?;
        let place = Place::new(fleet.proxy()?, format!("/s/{}/", NAMES[0]));
        let groups = [vec![fleet.server()?.pid()], vec![instance.runner_pid]];
        let grown = grown(&place, &groups, Some(&fleet)).await?;
        ours[0].push(grown.iter().sum());
        ours[1].push(grown[0]);
        ours[2].push(grown[1]);
        for (kind, values) in kinds.iter().zip(&mut theirs) {
            let peer = kind.start(bench, &[agent.address()])?;
            let place = Place::new(peer.address, "/");
            values.push(self::grown(&place, &[peer.pids()?], None).await?.iter().sum());
        }
    }
    let what = format!("bytes for each of {CONNECTIONS} idle connections");
    report.line(&format!("{what}: {OURS}"), &ours[0], "B", Budget::AtMost(2560.0));
    report.line("    manager", &ours[1], "B", Budget::None);
    report.line("    runner", &ours[2], "B", Budget::None);
    for (kind, values) in kinds.iter().zip(&theirs) {
        report.line(&format!("{what}: {}", kind.name), values, "B", Budget::None);
    }
    let best = kinds.iter().zip(&theirs).min_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)));
    if let Some((kind, values)) = best {
        report.ratio(&format!("{what}: {OURS} ÷ {}", kind.name), &ours[0], values, Budget::None);
    }
    Ok(())
}

async fn fleet(bench: &Bench) -> Result<(Fleet, Instance)> {
    let fleet = Fleet::up(bench).await?;
    let instance = fleet.run(NAMES[0], quick_agent()?, json!({})).await?.pop().context("no instance")?;
    Ok((fleet, instance))
}

/// By how much these processes grow for each connection, bytes. Each connection has had a message before it falls silent.
async fn grown(place: &Place, groups: &[Vec<u32>], fleet: Option<&Fleet>) -> Result<Vec<f64>> {
    let places = std::slice::from_ref(place);
    // Some have been through everything.
    drop(Echo::open(places, 16, 64)?);
    settled(fleet, 0).await?;
    let before = private(groups)?;
    let clients = Echo::open(places, CONNECTIONS, 64)?;
    settled(fleet, CONNECTIONS).await?;
    let after = private(groups)?;
    drop(clients);
    let each =
        before.iter().zip(&after).map(|(before, after)| (after - before) * 1_048_576.0 / CONNECTIONS as f64);
    Ok(each.collect())
}

/// Waits until the manager knows of so many connections, and then until nothing moves any more.
async fn settled(fleet: Option<&Fleet>, connections: usize) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while let Some(fleet) = fleet {
        let known = fleet.request("GET", "connections?limit=1", None).await?["total"].as_u64();
        if known == Some(connections as u64) {
            break;
        }
        ensure!(Instant::now() < end, "the manager knows of {known:?} connections, not of {connections}");
        sleep(Duration::from_millis(50)).await;
    }
    sleep(SETTLE).await;
    Ok(())
}

/// MiB that are nobody else's.
fn private(groups: &[Vec<u32>]) -> Result<Vec<f64>> {
    groups.iter().map(|pids| pids.iter().map(|pid| procs::private_mib(*pid)).sum()).collect()
}
