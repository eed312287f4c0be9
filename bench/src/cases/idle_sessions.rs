//! What 10,000 sessions cost that have had a message each and do nothing: 9,000 that wait for their clients to come back, and
//! 1,000 with one. Beside it 1,000 idle clients of the plain Python server.

use super::Bench;
use super::agent_host::peer::{self, Peer};
use crate::fleet::{Fleet, Instance};
use crate::load::idle_sessions;
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

const ATTACHED: usize = 1000;
const DETACHED: usize = 9000;
/// As many as a connection may have.
const PER_CONNECTION: usize = 100;
/// Buffers that are not used are given back within.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let python = bench.peers.as_deref().and_then(peer::python);
    let file = Bench::own_agent("echo.py");
    let source = json!({"kind": "file", "path": file, "python": python});
    let config = json!({"config": {"max_detached_sessions": DETACHED + ATTACHED}});
    let instance = fleet.run("echo", source, config).await?.pop().context("no instance")?;
    let processes = [("runner", instance.runner_pid), ("worker", instance.pid)];
    // One session has been through everything.
    drop(idle_sessions(instance.address(), "/", 1)?);
    sleep(SETTLE).await;
    let fresh = memory(report, "no sessions", &processes)?;

    for _ in 0..DETACHED / PER_CONNECTION {
        drop(idle_sessions(instance.address(), "/", PER_CONNECTION)?);
    }
    sleep(SETTLE).await;
    let detached = memory(report, &format!("{DETACHED} sessions without a client"), &processes)?;
    each(report, "of these", &processes, &fresh, &detached, DETACHED);
    let clients = open(instance.address(), ATTACHED)?;
    sleep(SETTLE).await;
    let all = memory(report, &format!("and {ATTACHED} with one"), &processes)?;
    each(report, "of these", &processes, &detached, &all, ATTACHED);
    let seen = sessions(&fleet, &instance).await?;
    ensure!(seen >= DETACHED + ATTACHED, "only {seen} sessions are still there");
    drop(clients);

    let Some(python) = python else { return Ok(()) };
    let server = Peer::start(&python, &file)?;
    let processes = [("websockets server", server.pid())];
    drop(idle_sessions(server.address, "/", 1)?);
    sleep(SETTLE).await;
    let fresh = memory(report, "no sessions", &processes)?;
    let clients = open(server.address, ATTACHED)?;
    sleep(SETTLE).await;
    let attached = memory(report, &format!("{ATTACHED} sessions with a client"), &processes)?;
    each(report, "of these", &processes, &fresh, &attached, ATTACHED);
    drop(clients);
    Ok(())
}

/// They do not answer pings, so they must not be needed for long.
fn open(address: SocketAddr, count: usize) -> Result<Vec<std::net::TcpStream>> {
    (0..count).map(|_| idle_sessions(address, "/", 1)).collect()
}

/// RSS of each, MiB.
fn memory(report: &mut Report, when: &str, processes: &[(&str, u32)]) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for (name, pid) in processes {
        let rss = procs::rss_mib(*pid)?;
        report.line(&format!("{name}, {when}: RSS"), &[rss], "MiB", Budget::None);
        all.push(rss);
    }
    Ok(all)
}

fn each(report: &mut Report, what: &str, names: &[(&str, u32)], before: &[f64], after: &[f64], count: usize) {
    for (((name, _), before), after) in names.iter().zip(before).zip(after) {
        let kib = (after - before) * 1024.0 / count as f64;
        report.line(&format!("    {name}, each {what}"), &[kib], "KiB", Budget::None);
    }
}

/// Sessions as the manager shows them.
async fn sessions(fleet: &Fleet, instance: &Instance) -> Result<usize> {
    let view = fleet.request("GET", "services/echo", None).await?;
    let instances = view["instances"].as_array().context("no instances")?;
    let found = instances.iter().find(|view| view["name"] == instance.name.as_str()).context("it is gone")?;
    Ok(found["active_sessions"].as_u64().context("no number of sessions")? as usize)
}
