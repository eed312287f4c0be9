//! An agent file through the front door: new connections beside other proxies before the same port and beside that port
//! itself, and conversations beside direct ones, which the manager never sees.

use super::Bench;
use super::setup::{Setup, services, tell};
use super::ways::{Figure, SLICE, Way, interleave};
use crate::load::{Connects, Exchange, Talk, Until};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::Result;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for count in [1, 2] {
        let setup = Setup::file(bench, count).await?;
        for at_once in [64, 1] {
            if at_once == 1 && count > 1 {
                continue;
            }
            let mut ways = setup.ways()?;
            interleave(bench, &mut ways, |_, places| {
                Connects { places, at_once, until: Until::Greeting }.run(SLICE)
            })?;
            let what = format!("agent file, new connections × {at_once}, {}", services(count));
            let budget = if at_once > 1 { Budget::AtLeast(1.7) } else { Budget::None };
            let promises = [(Figure::Rate, budget), (Figure::Cpu, Budget::None), (Figure::P99, Budget::None)];
            tell(report, &what, "/s", &ways, &promises);
            report.ratio(
                &format!("{what}: rate, ours ÷ direct"),
                &ways[1].of(Figure::Rate),
                &ways[0].of(Figure::Rate),
                Budget::None,
            );
        }
    }

    let setup = Setup::file(bench, 1).await?;
    for (count, talk) in [(64, Talk::Ping), (1, Talk::Ping), (16, Talk::Message("hello"))] {
        let mut ways = vec![setup.direct(), setup.ours()?];
        let open = |way: &Way| Exchange::open(way.places[0].address, &way.places[0].target, count, talk);
        let mut exchanges = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
        // With one conversation the two processes take turns. Where the kernel puts them decides about a factor of three:
        // on one core both ways are the same.
        let all = [std::process::id(), setup.instances[0].runner_pid];
        let alone = (count == 1).then(|| procs::OneCore::pin(&all)).transpose()?;
        interleave(bench, &mut ways, |number, _| exchanges[number].run(SLICE))?;
        drop(alone);
        let what = match talk {
            Talk::Ping if count == 1 => "agent file, echo by the host × 1, on one core".to_owned(),
            Talk::Ping => format!("agent file, echo by the host × {count}"),
            Talk::Message(_) => format!("agent file, message → final answer × {count}"),
        };
        tell(report, &what, "/s", &ways, &[]);
        let [direct, ours] = &ways[..] else { continue };
        for (figure, name, budget) in [
            (Figure::Rate, "rate", Budget::AtLeast(0.97)),
            (Figure::Cpu, "CPU", Budget::None),
            (Figure::P99, "p99", Budget::None),
        ] {
            let what = format!("{what}: {name}, ours ÷ direct");
            report.ratio(&what, &ours.of(figure), &direct.of(figure), budget);
        }
    }
    Ok(())
}
