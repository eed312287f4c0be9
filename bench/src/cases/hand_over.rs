//! An agent file through the front door against the same file on its own port: new connections, and conversations, whose
//! frames the manager never sees. For new connections also through proxies of others, which stand before the same port.

mod peers;

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
/// A round of a way is so many slices, with slices of the other ways between them: what others do on the machine meanwhile
/// hits all alike.
const SLICES: usize = 3;
const SLICE: Duration = Duration::from_millis(700);
const DIRECT: usize = 0;
const THROUGH: usize = 1;

/// A way to the agent, with what came of each round.
struct Way {
    name: &'static str,
    address: SocketAddr,
    rounds: Vec<Measured>,
    /// Processor time of manager and runner for an operation, µs.
    cpu: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, address: SocketAddr) -> Self {
        Self { name, address, rounds: Vec::new(), cpu: Vec::new() }
    }

    fn of(&self, value: fn(&Measured) -> f64) -> Vec<f64> {
        self.rounds.iter().map(value).collect()
    }
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let source = fleet::file(&Bench::agent("echo_agent.py"));
    let instance = fleet.run("echo", source, json!({})).await?.pop().context("no instance")?;
    let pids = [fleet.server()?.pid(), instance.runner_pid];
    let ours = || {
        Ok::<_, anyhow::Error>(vec![
            Way::new("direct", instance.address()),
            Way::new("through", fleet.proxy()?),
        ])
    };

    let peers = peers::start(instance.address())?;
    for at_once in [1, 64] {
        let mut ways = ours()?;
        ways.extend(peers.iter().map(|peer| Way::new(peer.name, peer.address)));
        interleave(bench, &pids, &mut ways, |_, address| {
            Connects { address, target: TARGET, at_once }.run(SLICE)
        })?;
        let what = format!("connect, {at_once} at once");
        lines(report, &what, &ways);
        report.ratio(
            &format!("{what}: through ÷ direct"),
            &rate(&ways[THROUGH]),
            &rate(&ways[DIRECT]),
            Budget::None,
        );
        let best = ways[THROUGH + 1..].iter().max_by(|a, b| median(a).total_cmp(&median(b)));
        if let Some(best) = best {
            let budget = if at_once > 1 { Budget::AtLeast(1.7) } else { Budget::None };
            report.ratio(
                &format!("{what}: through ÷ {}", best.name),
                &rate(&ways[THROUGH]),
                &rate(best),
                budget,
            );
        }
    }
    drop(peers);

    for (count, talk) in [(64, Talk::Ping), (1, Talk::Ping), (16, Talk::Message("hello"))] {
        let mut ways = ours()?;
        let open = |way: &Way| Exchange::open(way.address, TARGET, count, talk);
        let mut exchanges = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
        // With one conversation the two processes take turns. Where the kernel puts them decides about a factor of three:
        // on one core both ways are the same.
        let alone = (count == 1)
            .then(|| procs::OneCore::pin(&[std::process::id(), instance.runner_pid]))
            .transpose()?;
        interleave(bench, &pids, &mut ways, |number, _| exchanges[number].run(SLICE))?;
        drop(alone);
        let what = match talk {
            Talk::Ping if count == 1 => "echo by the host × 1, on one core".to_owned(),
            Talk::Ping => format!("echo by the host × {count}"),
            Talk::Message(_) => format!("message → final answer × {count}"),
        };
        lines(report, &what, &ways);
        let (direct, through) = (&ways[DIRECT], &ways[THROUGH]);
        report.ratio(
            &format!("{what}: through ÷ direct"),
            &rate(through),
            &rate(direct),
            Budget::AtLeast(0.97),
        );
    }
    Ok(())
}

fn rate(way: &Way) -> Vec<f64> {
    way.of(|measured| measured.rate)
}

fn median(way: &Way) -> f64 {
    crate::report::median(&rate(way))
}

/// Slices of all ways, forwards and backwards in turn. The first round is thrown away.
fn interleave(
    bench: &Bench,
    pids: &[u32],
    ways: &mut [Way],
    mut slice_of: impl FnMut(usize, SocketAddr) -> Result<Measured>,
) -> Result<()> {
    for number in 0..=bench.rounds {
        let mut slices: Vec<(Vec<Measured>, Duration)> = ways.iter().map(|_| Default::default()).collect();
        for slice in 0..SLICES {
            let mut order: Vec<usize> = (0..ways.len()).collect();
            if slice % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let way = &ways[index];
                let before = procs::cpu_of_all(pids)?;
                let measured = slice_of(index, way.address).with_context(|| way.name.to_owned())?;
                slices[index].0.push(measured);
                slices[index].1 += procs::cpu_of_all(pids)?.saturating_sub(before);
            }
        }
        for (way, (slices, cpu)) in ways.iter_mut().zip(slices).filter(|_| number > 0) {
            let whole = Measured::of_slices(&slices);
            way.cpu.push(cpu.as_secs_f64() * 1e6 / whole.count as f64);
            way.rounds.push(whole);
        }
    }
    Ok(())
}

fn lines(report: &mut Report, what: &str, ways: &[Way]) {
    for way in ways {
        report.line(&format!("{what}: {}", way.name), &rate(way), "/s", Budget::None);
        report.line("    p50", &way.of(|measured| measured.p50), "µs", Budget::None);
        report.line("    p99", &way.of(|measured| measured.p99), "µs", Budget::None);
        report.line("    CPU of manager and runner, each", &way.cpu, "µs", Budget::None);
        report.line(
            "    generator, share of its core",
            &way.of(|measured| measured.generator),
            "",
            Budget::None,
        );
    }
}
