//! An agent file served by our host, runner and worker, against the same file behind a plain Python server on `websockets`:
//! messages that are echoed, and answers of 200 tokens, as fast as they go and paced as by a model.
//!
//! The clients go to the instance's own port: what the front door costs is another case.

pub(super) mod peer;

use super::Bench;
use super::ways::{Figure, SLICE, Way, interleave};
use crate::fleet::Fleet;
use crate::load::{Exchange, Place, Talk};
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use peer::Peer;
use serde_json::json;

/// Tokens of an answer of `tokens.py`.
const TOKENS: f64 = 200.0;
/// What was promised: ours ÷ the peer.
const PROMISE: Budget = Budget::AtLeast(1.5);
const OURS: &str = "agent host";
const BARE: &str = "agent host without journal";
const THEIRS: &str = "websockets server";

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let python = bench.peers.as_deref().and_then(peer::python);
    if python.is_none() {
        report.note("  websockets is not installed in the folder of the peers: left out");
    }
    for agent in ["echo", "tokens"] {
        let file = Bench::own_agent(&format!("{agent}.py"));
        // The same interpreter on both sides.
        let source = json!({"kind": "file", "path": file, "python": python});
        let server = python.as_deref().map(|python| Peer::start(python, &file)).transpose()?;
        let mut places = Vec::new();
        for (name, service, options) in [
            (OURS, agent.to_owned(), json!({})),
            (BARE, format!("{agent}-bare"), json!({"config": {"journal_max_mb": 0}})),
        ] {
            let instance = fleet.run(&service, source.clone(), options).await?.pop();
            places.push((name, instance.context("no instance")?));
        }
        let ways = || {
            let ours = places.iter().map(|(name, instance)| {
                Way::new(name, vec![Place::new(instance.address(), "/")])
                    .through("runner", vec![instance.runner_pid])
                    .through("worker", vec![instance.pid])
            });
            let theirs = server.iter().map(|server| {
                Way::new(THEIRS, vec![Place::new(server.address, "/")]).through("server", vec![server.pid()])
            });
            ours.chain(theirs).collect::<Vec<_>>()
        };
        if agent == "echo" {
            for count in [64, 16, 1] {
                let what = format!("echo × {count}");
                // Few clients measure how fast processes are woken, and we have one more to wake.
                let budget = if count == 64 { PROMISE } else { Budget::None };
                measure(bench, report, ways(), &what, (count, "hello"), (1.0, "/s"), budget)?;
            }
        } else {
            let unit = (TOKENS, "tokens/s");
            for count in [16, 1] {
                let what = format!("tokens × {count}, flat out");
                measure(bench, report, ways(), &what, (count, "0"), unit, PROMISE)?;
            }
            for count in [100, 10] {
                let what = format!("tokens × {count}, one each 5 ms");
                // The rate is given: what counts is the processor time.
                measure(bench, report, ways(), &what, (count, "5"), unit, Budget::None)?;
            }
        }
    }
    Ok(())
}

/// The same load on all ways: so many clients that say this. An answer counts as so many of a unit; the budget is one for the
/// rate.
fn measure(
    bench: &Bench,
    report: &mut Report,
    mut ways: Vec<Way>,
    what: &str,
    (count, message): (usize, &str),
    (each, unit): (f64, &str),
    budget: Budget,
) -> Result<()> {
    let open = |way: &Way| Exchange::open(way.places[0].address, "/", count, Talk::Message(message));
    let mut exchanges = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
    interleave(bench, &mut ways, |number, _| exchanges[number].run(SLICE))?;
    for way in &ways {
        way.line(report, what, each, unit);
    }
    let [ours, others @ ..] = &ways[..] else { return Ok(()) };
    for other in others {
        let budget = if other.name == THEIRS { budget } else { Budget::None };
        let against = format!("{what}: {OURS} ÷ {}", other.name);
        report.ratio(&format!("{against}, rate"), &ours.of(Figure::Rate), &other.of(Figure::Rate), budget);
        report.ratio(&format!("{against}, CPU"), &ours.of(Figure::Cpu), &other.of(Figure::Cpu), Budget::None);
    }
    Ok(())
}
