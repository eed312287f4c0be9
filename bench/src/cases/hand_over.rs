//! An agent file through the front door against the same file on its own port: new connections, and conversations, whose
//! frames the manager never sees.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::load::{Connects, Exchange, Measured, Talk};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

const TARGET: &str = "/s/echo";
const ROUND: Duration = Duration::from_secs(2);

/// Results of both ways, a value for each round.
#[derive(Default)]
struct Both {
    direct: Vec<Measured>,
    through: Vec<Measured>,
    /// Processor time of manager and runner for an operation, µs.
    direct_cpu: Vec<f64>,
    through_cpu: Vec<f64>,
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let source = fleet::file(&Bench::agent("echo_agent.py"));
    let instance = fleet.run("echo", source, json!({})).await?.pop().context("no instance")?;
    let (direct, through) = (instance.address(), fleet.proxy()?);
    let pids = [fleet.server()?.pid(), instance.runner_pid];

    for at_once in [1, 64] {
        let connects = |address| Connects { address, target: TARGET, at_once };
        let both = interleave(bench, &pids, direct, through, |address| connects(address).run(ROUND))?;
        both.report(report, &format!("connect, {at_once} at once"), "/s", Budget::None);
    }
    for (count, talk) in [(64, Talk::Ping), (1, Talk::Ping), (16, Talk::Message("hello"))] {
        let mut straight = Exchange::open(direct, TARGET, count, talk)?;
        let mut handed = Exchange::open(through, TARGET, count, talk)?;
        let both = interleave(bench, &pids, direct, through, |address| {
            if address == direct { straight.run(ROUND) } else { handed.run(ROUND) }
        })?;
        let what = match talk {
            Talk::Ping => format!("echo by the host × {count}"),
            Talk::Message(_) => format!("message → final answer × {count}"),
        };
        both.report(report, &what, "/s", Budget::AtLeast(0.97));
    }
    Ok(())
}

/// Direct, through; through, direct; and so on, so that a drift of the machine hits both. One round of each is thrown away.
fn interleave(
    bench: &Bench,
    pids: &[u32],
    direct: SocketAddr,
    through: SocketAddr,
    mut round: impl FnMut(SocketAddr) -> Result<Measured>,
) -> Result<Both> {
    let mut both = Both::default();
    for number in 0..=bench.rounds {
        let mut order = [direct, through];
        if number % 2 == 1 {
            order.reverse();
        }
        for address in order {
            let before = procs::cpu_of_all(pids)?;
            let measured = round(address)?;
            let cpu =
                procs::cpu_of_all(pids)?.saturating_sub(before).as_secs_f64() * 1e6 / measured.count as f64;
            if number > 0 {
                let (results, cpus) = if address == direct {
                    (&mut both.direct, &mut both.direct_cpu)
                } else {
                    (&mut both.through, &mut both.through_cpu)
                };
                results.push(measured);
                cpus.push(cpu);
            }
        }
    }
    Ok(both)
}

impl Both {
    fn report(&self, report: &mut Report, what: &str, unit: &str, budget: Budget) {
        let of =
            |results: &[Measured], value: fn(&Measured) -> f64| results.iter().map(value).collect::<Vec<_>>();
        let (direct, through) = (of(&self.direct, |m| m.rate), of(&self.through, |m| m.rate));
        report.line(&format!("{what}: direct"), &direct, unit, Budget::None);
        report.line(&format!("{what}: through"), &through, unit, Budget::None);
        report.ratio(&format!("{what}: through ÷ direct"), &through, &direct, budget);
        for (way, results) in [("direct", &self.direct), ("through", &self.through)] {
            report.line(&format!("{what}: {way}, p50"), &of(results, |m| m.p50), "µs", Budget::None);
            report.line(&format!("{what}: {way}, p99"), &of(results, |m| m.p99), "µs", Budget::None);
        }
        report.line(
            &format!("{what}: direct, CPU of manager and runner"),
            &self.direct_cpu,
            "µs",
            Budget::None,
        );
        report.line(
            &format!("{what}: through, CPU of manager and runner"),
            &self.through_cpu,
            "µs",
            Budget::None,
        );
        let busy = of(&[&self.direct[..], &self.through].concat(), |m| m.generator);
        report.line(&format!("{what}: generator, share of its core"), &busy, "", Budget::None);
    }
}
