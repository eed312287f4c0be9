//! Ways to do the same thing, measured side by side: slices of all of them in turn, and what their processes use meanwhile.

use super::Bench;
use crate::load::Measured;
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::time::Duration;

/// A round of a way is so many slices, with slices of the other ways between them: what others do on the machine meanwhile
/// hits all alike.
const SLICES: usize = 3;
/// Length of a slice.
pub(super) const SLICE: Duration = Duration::from_millis(700);

/// A way to an agent, with what came of each round.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    processes: Vec<Process>,
    rounds: Vec<Measured>,
}

/// One in the path.
struct Process {
    name: &'static str,
    pid: u32,
    /// Processor time for an operation, seconds.
    cpu: Vec<f64>,
}

impl Way {
    /// `processes` are those in its path.
    pub(super) fn new(name: &'static str, address: SocketAddr, processes: &[(&'static str, u32)]) -> Self {
        let process = |(name, pid): &(&'static str, u32)| Process { name, pid: *pid, cpu: Vec::new() };
        Self { name, address, processes: processes.iter().map(process).collect(), rounds: Vec::new() }
    }

    /// Of each round.
    pub(super) fn of(&self, value: fn(&Measured) -> f64) -> Vec<f64> {
        self.rounds.iter().map(value).collect()
    }

    /// Operations per second.
    pub(super) fn rate(&self) -> Vec<f64> {
        self.of(|measured| measured.rate)
    }

    /// Processor time of all its processes for an operation, seconds.
    pub(super) fn cpu(&self) -> Vec<f64> {
        (0..self.rounds.len())
            .map(|round| self.processes.iter().map(|process| process.cpu[round]).sum())
            .collect()
    }

    fn cpu_now(&self) -> Result<Vec<Duration>> {
        self.processes.iter().map(|process| procs::cpu(process.pid)).collect()
    }

    /// Rate, times, processor time; with one operation being so many of `unit`.
    pub(super) fn lines(&self, report: &mut Report, what: &str, each: f64, unit: &str) {
        let scale =
            |values: Vec<f64>, by: f64| values.into_iter().map(|value| value * by).collect::<Vec<_>>();
        report.line(&format!("{what}: {}", self.name), &scale(self.rate(), each), unit, Budget::None);
        report.line("    p50", &self.of(|measured| measured.p50), "µs", Budget::None);
        report.line("    p99", &self.of(|measured| measured.p99), "µs", Budget::None);
        for process in &self.processes {
            let cpu = scale(process.cpu.clone(), 1e6 / each);
            report.line(&format!("    CPU of {}, each", process.name), &cpu, "µs", Budget::None);
        }
        if self.processes.len() > 1 {
            report.line("    CPU of all of them, each", &scale(self.cpu(), 1e6 / each), "µs", Budget::None);
        }
        let generator = self.of(|measured| measured.generator);
        report.line("    generator, share of its core", &generator, "", Budget::None);
    }
}

/// Slices of all ways, forwards and backwards in turn. The first round is thrown away.
pub(super) fn interleave(
    bench: &Bench,
    ways: &mut [Way],
    mut slice_of: impl FnMut(usize, SocketAddr) -> Result<Measured>,
) -> Result<()> {
    for number in 0..=bench.rounds {
        let mut slices: Vec<(Vec<Measured>, Vec<Duration>)> =
            ways.iter().map(|way| (Vec::new(), vec![Duration::ZERO; way.processes.len()])).collect();
        for slice in 0..SLICES {
            let mut order: Vec<usize> = (0..ways.len()).collect();
            if slice % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let way = &ways[index];
                let before = way.cpu_now()?;
                let measured = slice_of(index, way.address).with_context(|| way.name.to_owned())?;
                slices[index].0.push(measured);
                for ((sum, before), now) in slices[index].1.iter_mut().zip(before).zip(way.cpu_now()?) {
                    *sum += now.saturating_sub(before);
                }
            }
        }
        for (way, (slices, cpu)) in ways.iter_mut().zip(slices).filter(|_| number > 0) {
            let whole = Measured::of_slices(&slices);
            for (process, cpu) in way.processes.iter_mut().zip(cpu) {
                process.cpu.push(cpu.as_secs_f64() / whole.count as f64);
            }
            way.rounds.push(whole);
        }
    }
    Ok(())
}
