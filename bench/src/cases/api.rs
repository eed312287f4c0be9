//! The API's list of 100 services, on kept connections.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::load;
use crate::report::{Budget, Report};
use anyhow::Result;
use std::time::Duration;

const SERVICES: usize = 100;
const ROUND: Duration = Duration::from_secs(2);
const TARGET: &str = "/api/v1/services?limit=100";
/// What the prototype did: the budget is twenty times that.
const PROTOTYPE_RATE: f64 = 339.0;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    for number in 0..SERVICES {
        fleet.register(&format!("agent-{number:03}"), fleet::command()?, serde_json::json!({})).await?;
    }
    let api = fleet.api()?;
    for at_once in [1, 16] {
        let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            let measured = load::requests(api, TARGET, at_once, ROUND)?;
            rates.push(measured.rate);
            p50.push(measured.p50 / 1000.0);
            p99.push(measured.p99 / 1000.0);
        }
        let what = format!("list of 100 services × {at_once}");
        let budget = if at_once == 1 { Budget::None } else { Budget::AtLeast(20.0 * PROTOTYPE_RATE) };
        report.line(&what, &rates, "/s", budget);
        report.line(&format!("{what}: p50"), &p50, "ms", Budget::None);
        report.line(&format!("{what}: p99"), &p99, "ms", Budget::None);
    }
    Ok(())
}
