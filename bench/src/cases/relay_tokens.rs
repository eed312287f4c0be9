//! Tokens through the relay of a command agent, beside other proxies before the same agent.

use super::Bench;
use super::setup::{Setup, services, tell};
use super::ways::{Figure, SLICE, Way, interleave};
use crate::load::{Pace, Streams};
use crate::peers::LATE;
use crate::report::{Budget, Report};
use anyhow::Result;
use std::time::Duration;

const PACED: (Figure, Budget) = (Figure::P99, Budget::AtMost(1.05));
const CPU: (Figure, Budget) = (Figure::Cpu, Budget::AtMost(1.0));

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for (streams, pace, name, promises, more) in [
        (
            100,
            Pace::Each(Duration::from_millis(20)),
            "tokens × 100, one each 20 ms",
            vec![CPU, (Figure::P50, Budget::None), PACED],
            &[][..],
        ),
        (32, Pace::Flat, "tokens × 32, flat out", vec![CPU, (Figure::Rate, Budget::None)], &LATE[..]),
    ] {
        for count in [1, 2] {
            let setup = Setup::quick(bench, count, more).await?;
            let mut ways = setup.ways()?;
            let open = |way: &Way| Streams::open(&way.places, streams, pace);
            let mut all = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
            interleave(bench, &mut ways, |number, _| all[number].run(SLICE))?;
            tell(report, &format!("{name}, {}", services(count)), "/s", &ways, &promises);
        }
    }
    Ok(())
}
