//! Ways to do the same thing, measured side by side: slices of all of them in turn, and what their processes use meanwhile.

use super::Bench;
use crate::load::{Measured, Place};
use crate::procs;
use crate::report::{Budget, Report, median, number, spread};
use anyhow::{Context, Result};
use std::time::Duration;

/// A round of a way is so many slices, with slices of the other ways between them: what others do on the machine meanwhile
/// hits all alike.
const SLICES: usize = 3;
/// Length of a slice.
pub(super) const SLICE: Duration = Duration::from_millis(350);

/// A way to agents, with what came of each round.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) places: Vec<Place>,
    processes: Vec<Processes>,
    agents: Processes,
    rounds: Vec<Measured>,
}

/// Some in the path that belong together.
struct Processes {
    name: &'static str,
    pids: Vec<u32>,
    /// Processor time of a round.
    cpu: Vec<Duration>,
}

impl Processes {
    fn new(name: &'static str, pids: Vec<u32>) -> Self {
        Self { name, pids, cpu: Vec::new() }
    }

    fn now(&self) -> Result<Duration> {
        self.pids.iter().map(|pid| procs::cpu(*pid)).sum()
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Figure {
    /// Operations per second.
    Rate,
    /// Processor time of all processes in the path for an operation.
    Cpu,
    /// Half of them took no longer.
    P50,
    /// 99 of 100 took no longer.
    P99,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Cpu => "CPU",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    /// Whether more is better.
    fn is_gain(self) -> bool {
        self == Self::Rate
    }
}

impl Way {
    /// To these places; nobody is in its path yet.
    pub(super) fn new(name: &'static str, places: Vec<Place>) -> Self {
        let agents = Processes::new("agents", Vec::new());
        Self { name, places, processes: Vec::new(), agents, rounds: Vec::new() }
    }

    /// With these processes in its path.
    pub(super) fn through(mut self, name: &'static str, pids: Vec<u32>) -> Self {
        self.processes.push(Processes::new(name, pids));
        self
    }

    /// With these at its end, which are not counted.
    pub(super) fn agents(mut self, pids: &[u32]) -> Self {
        self.agents.pids = pids.to_vec();
        self
    }

    /// All processes in its path and at its end.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.processes.iter().chain([&self.agents]).flat_map(|some| some.pids.iter().copied())
    }

    /// A figure of each round.
    pub(super) fn of(&self, figure: Figure) -> Vec<f64> {
        let values = self.rounds.iter().enumerate();
        values
            .map(|(round, measured)| match figure {
                Figure::Rate => measured.rate,
                Figure::P50 => measured.p50,
                Figure::P99 => measured.p99,
                Figure::Cpu => {
                    self.processes.iter().map(|some| some.cpu[round].as_secs_f64()).sum::<f64>()
                        / measured.count as f64
                }
            })
            .collect()
    }

    /// A line: rate, times, processor time for 100,000; with one operation being so many of `unit`.
    pub(super) fn line(&self, report: &mut Report, what: &str, each: f64, unit: &str) {
        let scale =
            |values: Vec<f64>, by: f64| values.into_iter().map(|value| value * by).collect::<Vec<_>>();
        let rate = scale(self.of(Figure::Rate), each);
        report.line(&format!("{what}: {}", self.name), &rate, unit, Budget::None);
        let mut parts = Vec::new();
        let (p50, p99) = (median(&self.of(Figure::P50)), median(&self.of(Figure::P99)));
        // Tokens that come as fast as they go are not timed.
        if !p50.is_nan() {
            parts.push(format!("p50 {} µs, p99 {} µs", number(p50), number(p99)));
        }
        if !self.processes.is_empty() {
            let cpu = scale(self.of(Figure::Cpu), 1e5 / each);
            parts.push(format!("CPU for 100,000: {} s {}", number(median(&cpu)), spread(&cpu)));
        }
        if self.processes.len() > 1 {
            let of_some = |some: &Processes| {
                let cpu = some.cpu.iter().zip(&self.rounds);
                let cpu = cpu.map(|(cpu, round)| cpu.as_secs_f64() * 1e5 / each / round.count as f64);
                format!("{} {}", some.name, number(median(&cpu.collect::<Vec<_>>())))
            };
            parts.push(self.processes.iter().map(of_some).collect::<Vec<_>>().join(" and "));
        }
        let generator: Vec<f64> = self.rounds.iter().map(|round| round.generator).collect();
        parts.push(format!("of a core: generator {}", number(median(&generator))));
        if !self.agents.pids.is_empty() {
            let agents = self.agents.cpu.iter().zip(&self.rounds);
            let agents = agents.map(|(cpu, round)| cpu.as_secs_f64() * round.rate / round.count as f64);
            parts.push(format!("agents {}", number(median(&agents.collect::<Vec<_>>()))));
        }
        report.note(&format!("      {}", parts.join(", ")));
    }
}

/// Slices of all ways, forwards and backwards in turn. A slice of each is thrown away first.
pub(super) fn interleave(
    bench: &Bench,
    ways: &mut [Way],
    mut slice_of: impl FnMut(usize, &[Place]) -> Result<Measured>,
) -> Result<()> {
    for number in 0..=bench.rounds {
        let count = if number == 0 { 1 } else { SLICES };
        let mut slices: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
        let mut used: Vec<Vec<Duration>> =
            ways.iter().map(|way| vec![Duration::ZERO; way.processes.len() + 1]).collect();
        for slice in 0..count {
            let mut order: Vec<usize> = (0..ways.len()).collect();
            if slice % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let way = &ways[index];
                let groups = || way.processes.iter().chain([&way.agents]);
                let before = groups().map(Processes::now).collect::<Result<Vec<_>>>()?;
                let measured = slice_of(index, &way.places).with_context(|| way.name.to_owned())?;
                slices[index].push(measured);
                for ((sum, before), group) in used[index].iter_mut().zip(before).zip(groups()) {
                    *sum += group.now()?.saturating_sub(before);
                }
            }
        }
        for ((way, slices), used) in ways.iter_mut().zip(slices).zip(used).filter(|_| number > 0) {
            for (group, cpu) in way.processes.iter_mut().chain([&mut way.agents]).zip(used) {
                group.cpu.push(cpu);
            }
            way.rounds.push(Measured::of_slices(&slices));
        }
    }
    Ok(())
}

/// Ours ÷ the best of the others, for each of these figures; which one is the best may differ from figure to figure.
pub(super) fn against_best(
    report: &mut Report,
    what: &str,
    ours: &Way,
    others: &[&Way],
    promises: &[(Figure, Budget)],
) {
    for (figure, budget) in promises {
        let value = |way: &Way| median(&way.of(*figure)) * if figure.is_gain() { -1.0 } else { 1.0 };
        if let Some(best) = others.iter().min_by(|a, b| value(a).total_cmp(&value(b))) {
            let what = format!("{what}: {}, {} ÷ {}", figure.name(), ours.name, best.name);
            report.ratio(&what, &ours.of(*figure), &best.of(*figure), *budget);
        }
    }
}
