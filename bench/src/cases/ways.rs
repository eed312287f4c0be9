//! Ways to do the same thing, measured side by side: slices of all of them in turn, and what their processes use meanwhile.

use super::Bench;
use crate::load::{Measured, Place};
use crate::procs;
use crate::report::{Budget, Report, median, number, spread};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::time::Instant;

/// A round of a way is so many slices, with slices of the other ways between them: what others do on the machine meanwhile
/// hits all alike.
const SLICES: usize = 3;
/// A slice is measured again if others used more than this of a core meanwhile…
const DISTURBED: f64 = 0.1;
/// … as long as there are no more than so many for each slice that counts.
const AGAIN: f64 = 0.7;
/// Length of a slice.
pub(super) const SLICE: Duration = Duration::from_millis(300);

/// A way to agents, with what came of each round.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) places: Vec<Place>,
    processes: Vec<Processes>,
    agents: Processes,
    rounds: Vec<Measured>,
    /// What others used of a core meanwhile, for each round.
    others: Vec<f64>,
}

/// One slice of a way.
struct Slice {
    measured: Measured,
    /// Processor time of each of its groups of processes.
    used: Vec<Duration>,
    others: f64,
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
        Self { name, places, processes: Vec::new(), agents, rounds: Vec::new(), others: Vec::new() }
    }

    /// With these processes in its path.
    pub(super) fn through(mut self, name: &'static str, pids: Vec<u32>) -> Self {
        self.processes.push(Processes::new(name, pids));
        self
    }

    /// With these at its end, which are not counted.
    pub(super) fn agents(mut self, pids: Vec<u32>) -> Self {
        self.agents.pids = pids;
        self
    }

    fn groups(&self) -> impl Iterator<Item = &Processes> {
        self.processes.iter().chain([&self.agents])
    }

    fn slice(&self, load: impl FnOnce(&[Place]) -> Result<Measured>) -> Result<Slice> {
        let now = || self.groups().map(Processes::now).collect::<Result<Vec<_>>>();
        let (everybody, started, before) = (procs::everybody()?, Instant::now(), now()?);
        let measured = load(&self.places).with_context(|| self.name.to_owned())?;
        let used: Vec<Duration> =
            now()?.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        let took = started.elapsed();
        let known: Vec<u32> = self.pids().chain([std::process::id()]).collect();
        let others = procs::everybody()?.into_iter().filter(|(pid, _)| !known.contains(pid));
        let others: Duration = others
            .map(|(pid, now)| now.saturating_sub(everybody.get(&pid).copied().unwrap_or_default()))
            .sum();
        Ok(Slice { measured, used, others: others.div_duration_f64(took) })
    }

    fn note(&mut self, slices: &[Slice]) {
        for (index, group) in self.processes.iter_mut().chain([&mut self.agents]).enumerate() {
            group.cpu.push(slices.iter().map(|slice| slice.used[index]).sum());
        }
        self.others.push(slices.iter().map(|slice| slice.others).sum::<f64>() / slices.len() as f64);
        let measured: Vec<Measured> = slices.iter().map(|slice| slice.measured).collect();
        self.rounds.push(Measured::of_slices(&measured));
    }

    /// All processes in its path and at its end.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.groups().flat_map(|some| some.pids.iter().copied())
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
        parts.push(format!("others {}", number(median(&self.others))));
        report.note(&format!("      {}", parts.join(", ")));
    }
}

/// Slices of all ways, forwards and backwards in turn. A slice of each is thrown away first, and later some of those that
/// others on the machine have disturbed.
pub(super) fn interleave(
    bench: &Bench,
    ways: &mut [Way],
    mut slice_of: impl FnMut(usize, &[Place]) -> Result<Measured>,
) -> Result<()> {
    for (index, way) in ways.iter().enumerate() {
        way.slice(|places| slice_of(index, places))?;
    }
    let mut spare = (AGAIN * (bench.rounds * SLICES * ways.len()) as f64) as usize;
    for _ in 0..bench.rounds {
        let mut slices: Vec<Vec<Slice>> = ways.iter().map(|_| Vec::new()).collect();
        for number in 0..SLICES {
            let mut order: Vec<usize> = (0..ways.len()).collect();
            if number % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let mut slice = ways[index].slice(|places| slice_of(index, places))?;
                while slice.others > DISTURBED && spare > 0 {
                    spare -= 1;
                    slice = ways[index].slice(|places| slice_of(index, places))?;
                }
                slices[index].push(slice);
            }
        }
        for (way, slices) in ways.iter_mut().zip(slices) {
            way.note(&slices);
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
