//! `kill -9` of one of two agents: until when a client still meets it, when it is back, and what clients notice.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::load;
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result, ensure};
use myagent_testkit::processes;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A restart is delayed by 0.75 s at least: an answer of the instance that was killed before half of that is an answer of
/// the agent that is dead.
const BACK_AFTER: Duration = Duration::from_millis(375);
const DEADLINE: Duration = Duration::from_secs(20);

/// One round.
struct Killed {
    /// The last client that met the dead agent, or was not served, ms; 0: none did.
    met: f64,
    /// Clients that were not served.
    failed: f64,
    /// Until the API said that it no longer runs, ms.
    seen: f64,
    /// Until it served a client again, ms.
    back: f64,
    /// The slowest connect, ms.
    slowest: f64,
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let kinds = [("command", fleet::command()?), ("agent file", fleet::file(&Bench::agent("echo_agent.py")))];
    let mut killed: [Vec<Killed>; 2] = [Vec::new(), Vec::new()];
    for round in 0..bench.rounds {
        for ((kind, source), rounds) in kinds.iter().zip(&mut killed) {
            // A new service each time: the delay of restarts doubles.
            let name = format!("{}-{round}", kind.replace(' ', "-"));
            let instances = fleet.run(&name, source.clone(), json!({"replicas": 2})).await?;
            let victim = instances.first().context("no instance")?;
            let target = format!("/s/{name}");
            let api = format!("/api/v1/services/{name}/instances");
            rounds.push(kill(&fleet, victim.pid, &victim.name, &target, &api)?);
            fleet.remove(&name).await?;
        }
    }
    for ((kind, _), rounds) in kinds.iter().zip(&killed) {
        let all = |value: fn(&Killed) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
        let mut line = |what: &str, values: &[f64], unit, budget| {
            report.line(&format!("{kind} killed: {what}"), values, unit, budget);
        };
        line("last client that met it", &all(|round| round.met), "ms", Budget::AtMost(50.0));
        line("clients not served", &all(|round| round.failed), "", Budget::Never);
        line("shown as not running", &all(|round| round.seen), "ms", Budget::AtMost(50.0));
        line("back, serving clients", &all(|round| round.back), "ms", Budget::AtMost(2000.0));
        line("slowest connect meanwhile", &all(|round| round.slowest), "ms", Budget::None);
    }
    Ok(())
}

fn kill(fleet: &Fleet, pid: u32, name: &str, target: &str, api: &str) -> Result<Killed> {
    ensure!(procs::rss_mib(pid)? > 0.0, "process {pid} is not there");
    let proxy = fleet.proxy()?;
    let mut asker = load::Asker::connect(fleet.api()?, api)?;
    asker.ask()?;
    let over = AtomicBool::new(false);
    let started = Instant::now();
    processes::send(pid, Signal::KILL);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| seen(&mut asker, name, started, &over));
        let clients = clients(proxy, name, target, started);
        over.store(true, Ordering::Relaxed);
        let seen = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        Ok(Killed { seen, ..clients? })
    })
}

/// One client after the other until the instance serves again.
fn clients(proxy: SocketAddr, name: &str, target: &str, killed: Instant) -> Result<Killed> {
    let mut result = Killed { met: 0.0, failed: 0.0, seen: 0.0, back: 0.0, slowest: 0.0 };
    loop {
        let started = Instant::now();
        let opened = load::open(proxy, target);
        let (now, took) = (killed.elapsed(), started.elapsed());
        let milliseconds = now.as_secs_f64() * 1000.0;
        result.slowest = result.slowest.max(took.as_secs_f64() * 1000.0);
        let served_by = opened.as_ref().ok().and_then(|opened| opened.header("x-myagent-instance"));
        match served_by {
            None => {
                result.failed += 1.0;
                result.met = milliseconds;
            }
            Some(by) if by == name && now < BACK_AFTER => result.met = milliseconds,
            Some(by) if by == name => {
                result.back = milliseconds;
                return Ok(result);
            }
            Some(_) => {}
        }
        ensure!(now < DEADLINE, "{name} did not come back: {:?}", opened.err());
    }
}

/// Asks for the instances again and again, on one connection.
fn seen(asker: &mut load::Asker, name: &str, killed: Instant, over: &AtomicBool) -> Result<f64> {
    while !over.load(Ordering::Relaxed) {
        let answer = asker.ask()?;
        let status = answer.as_array().or_else(|| answer["items"].as_array()).into_iter().flatten();
        let status =
            status.filter(|instance| instance["name"] == name).map(|instance| &instance["status"]).next();
        if status.is_some_and(|status| status != "running" && *status != Value::Null) {
            return Ok(killed.elapsed().as_secs_f64() * 1000.0);
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    Ok(f64::INFINITY)
}
