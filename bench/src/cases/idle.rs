//! A manager with 500 registered services that has nothing to do.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::Result;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SERVICES: usize = 500;
/// After the last registration.
const SETTLE: Duration = Duration::from_secs(3);
/// Longer than every period in the manager.
const WINDOW: Duration = Duration::from_secs(6);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut fleet = Fleet::up(bench).await?;
    let started = Instant::now();
    for number in 0..SERVICES {
        fleet.register(&format!("agent-{number:03}"), fleet::command()?, serde_json::json!({})).await?;
    }
    let registered = SERVICES as f64 / started.elapsed().as_secs_f64();
    report.line("registrations", &[registered], "/s", Budget::None);
    measure(bench, report, &fleet, "manager, 500 registered").await?;
    fleet.kill_manager();
    fleet.up_again().await?;
    measure(bench, report, &fleet, "the next manager, 500 registered").await
}

async fn measure(bench: &Bench, report: &mut Report, fleet: &Fleet, what: &str) -> Result<()> {
    sleep(SETTLE).await;
    let pid = fleet.server()?.pid();
    let (mut memory, mut private, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let (before, started) = (procs::cpu(pid)?, Instant::now());
        sleep(WINDOW).await;
        busy.push(
            procs::cpu(pid)?.saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64() * 100.0,
        );
        memory.push(procs::rss_mib(pid)?);
        private.push(procs::private_mib(pid)?);
    }
    report.line(&format!("{what}: RSS"), &memory, "MiB", Budget::AtMost(30.0));
    report.line(&format!("{what}: private"), &private, "MiB", Budget::None);
    report.line(&format!("{what}: of one core"), &busy, "%", Budget::AtMost(1.0));
    Ok(())
}
