//! Messages through the relay of a command agent, beside other proxies before the same agent: small ones on many connections,
//! larger ones, one alone, and so many in a second that nobody has all hands full.

use super::Bench;
use super::setup::{Setup, services, tell};
use super::ways::{Figure, SLICE, Way, interleave};
use crate::load::Echo;
use crate::peers::{Kind, SPLICE};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::Result;

/// Messages a second: less than half of what the slowest peer can do.
const MODERATE: f64 = 20_000.0;
/// What was promised for processor time and the slowest of 100 messages.
const SAME: Budget = Budget::AtMost(1.05);

/// So many connections with messages of so many bytes.
struct Load {
    bytes: usize,
    count: usize,
    name: &'static str,
    services: &'static [usize],
    promises: &'static [(Figure, Budget)],
    more: &'static [&'static Kind],
}

const LOADS: [Load; 4] = [
    Load {
        bytes: 64,
        count: 64,
        name: "echo 64 B × 64",
        services: &[1, 2],
        promises: &[(Figure::Cpu, SAME), (Figure::Rate, Budget::AtLeast(0.97)), (Figure::P99, SAME)],
        more: &[],
    },
    Load {
        bytes: 1024,
        count: 64,
        name: "echo 1 KiB × 64",
        services: &[1, 2],
        promises: &[(Figure::Cpu, SAME), (Figure::Rate, Budget::None), (Figure::P99, Budget::None)],
        more: &[],
    },
    Load {
        bytes: 16,
        count: 1,
        name: "echo 16 B × 1, on one core",
        services: &[1],
        promises: &[(Figure::Cpu, SAME), (Figure::P50, SAME), (Figure::P99, SAME)],
        more: &[],
    },
    Load {
        bytes: 64 * 1024,
        count: 16,
        name: "echo 64 KiB × 16",
        services: &[1, 2],
        promises: &[
            (Figure::Cpu, Budget::AtMost(0.9)),
            (Figure::Rate, Budget::None),
            (Figure::P99, Budget::None),
        ],
        more: &[&SPLICE],
    },
];

/// As fast as they go.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for load in &LOADS {
        for count in load.services {
            let setup = Setup::quick(bench, *count, load.more).await?;
            let mut ways = setup.ways()?;
            let open = |way: &Way| Echo::open(&way.places, load.count, load.bytes);
            let mut echoes = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
            // One conversation is a matter of waking: where the kernel puts the processes decides about a factor of three.
            let all: Vec<u32> =
                [std::process::id()].into_iter().chain(ways.iter().flat_map(Way::pids)).collect();
            let alone = (load.count == 1).then(|| procs::OneCore::pin(&all)).transpose()?;
            interleave(bench, &mut ways, |number, _| echoes[number].run(SLICE))?;
            drop(alone);
            tell(report, &format!("{}, {}", load.name, services(*count)), "/s", &ways, load.promises);
        }
    }
    Ok(())
}

/// So many in a second.
pub(super) async fn run_paced(bench: &Bench, report: &mut Report) -> Result<()> {
    for count in [1, 2] {
        let setup = Setup::quick(bench, count, &[]).await?;
        let mut ways = setup.ways()?;
        let open = |way: &Way| Echo::open(&way.places, 64, 64);
        let mut echoes = ways.iter().map(open).collect::<Result<Vec<_>>>()?;
        interleave(bench, &mut ways, |number, _| echoes[number].paced(MODERATE, SLICE))?;
        let what = format!("echo 64 B × 64, {MODERATE} a second, {}", services(count));
        let promises = [(Figure::Cpu, Budget::None), (Figure::P50, SAME), (Figure::P99, SAME)];
        tell(report, &what, "/s", &ways, &promises);
    }
    Ok(())
}
