//! An agent file through the front door against the same file on its own port: new connections, and conversations, whose
//! frames the manager never sees. For new connections also through proxies of others, which stand before the same port.

mod peers;

use super::Bench;
use super::ways::{SLICE, Way, interleave};
use crate::fleet::{self, Fleet};
use crate::load::{Connects, Exchange, Talk};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use serde_json::json;

const TARGET: &str = "/s/echo";
const DIRECT: usize = 0;
const THROUGH: usize = 1;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let source = fleet::file(&Bench::agent("echo_agent.py"));
    let instance = fleet.run("echo", source, json!({})).await?.pop().context("no instance")?;
    let processes = [("manager", fleet.server()?.pid()), ("runner", instance.runner_pid)];
    let ours = || {
        Ok::<_, anyhow::Error>(vec![
            Way::new("direct", instance.address(), &processes),
            Way::new("through", fleet.proxy()?, &processes),
        ])
    };

    let peers = peers::start(instance.address())?;
    for at_once in [1, 64] {
        let mut ways = ours()?;
        ways.extend(peers.iter().map(|peer| Way::new(peer.name, peer.address, &processes)));
        interleave(bench, &mut ways, |_, address| Connects { address, target: TARGET, at_once }.run(SLICE))?;
        let what = format!("connect, {at_once} at once");
        lines(report, &what, &ways);
        report.ratio(
            &format!("{what}: through ÷ direct"),
            &ways[THROUGH].rate(),
            &ways[DIRECT].rate(),
            Budget::None,
        );
        let best = ways[THROUGH + 1..].iter().max_by(|a, b| median(a).total_cmp(&median(b)));
        if let Some(best) = best {
            let budget = if at_once > 1 { Budget::AtLeast(1.7) } else { Budget::None };
            report.ratio(
                &format!("{what}: through ÷ {}", best.name),
                &ways[THROUGH].rate(),
                &best.rate(),
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
        interleave(bench, &mut ways, |number, _| exchanges[number].run(SLICE))?;
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
            &through.rate(),
            &direct.rate(),
            Budget::AtLeast(0.97),
        );
    }
    Ok(())
}

fn median(way: &Way) -> f64 {
    crate::report::median(&way.rate())
}

fn lines(report: &mut Report, what: &str, ways: &[Way]) {
    for way in ways {
        way.lines(report, what, 1.0, "/s");
    }
}
