//! New connections to a command agent through the front door and the relay, beside other proxies before the same agent.

use super::Bench;
use super::setup::{Setup, services, tell};
use super::ways::{Figure, SLICE, interleave};
use crate::load::{Connects, Until};
use crate::report::{Budget, Report};
use anyhow::Result;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for count in [1, 2] {
        let setup = Setup::quick(bench, count, &[]).await?;
        let mut ways = setup.ways()?;
        interleave(bench, &mut ways, |_, places| {
            Connects { places, at_once: 64, until: Until::Upgrade }.run(SLICE)
        })?;
        let promises =
            [(Figure::Rate, Budget::AtLeast(1.0)), (Figure::Cpu, Budget::None), (Figure::P99, Budget::None)];
        tell(report, &format!("relay, new connections × 64, {}", services(count)), "/s", &ways, &promises);
    }
    Ok(())
}
