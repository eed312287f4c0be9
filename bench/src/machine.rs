//! The first line of a run: on what it was measured.

use crate::cases::Bench;
use anyhow::Result;
use std::fs;

/// Processor, kernel, memory, load by others, and the program that is measured.
pub(crate) fn describe(bench: &Bench) -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |at| at.1);
    let cores = std::thread::available_parallelism()?;
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let memory_kb: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    let load = read("/proc/loadavg");
    let program = bench.manager.metadata()?.len();
    Ok(format!(
        "machine: {cores} × {model}, {} GiB, Linux {}; load before: {}; {} ({:.1} MiB, {}); {} rounds, median [lowest … highest]",
        memory_kb >> 20,
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default(),
        bench.manager.display(),
        program as f64 / 1_048_576.0,
        if cfg!(debug_assertions) { "DEBUG: figures mean nothing" } else { "release" },
        bench.rounds,
    ))
}
