//! What `/proc` tells of this process: the usual numbers of a process that is watched by Prometheus.

use myagent_core::process::ProcessStats;
use rustix::process::{Resource, getrlimit};
use std::fs;

/// The numbers now; none where `/proc` cannot be read.
pub(crate) fn stats() -> Option<ProcessStats> {
    let mut stats = parse(&fs::read_to_string("/proc/self/stat").ok()?, boot_time()?)?;
    // The folder itself is open while it is read.
    stats.open_files = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
    stats.max_files = getrlimit(Resource::Nofile).current;
    Some(stats)
}

/// What is in one line of `stat`. `boot`: when the system was started, seconds since 1970.
fn parse(line: &str, boot: f64) -> Option<ProcessStats> {
    // The name is in parentheses and may itself contain spaces and parentheses.
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Some(ProcessStats {
        cpu_seconds: seconds(number(11)? + number(12)?),
        threads: number(17)?,
        started_at: boot + seconds(number(19)?),
        virtual_bytes: number(20)?,
        resident_bytes: number(21)? * rustix::param::page_size() as u64,
        ..ProcessStats::default()
    })
}

fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use myagent_core::Clock;

    #[test]
    fn a_line_is_read_whatever_the_name_is() {
        let line = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 100 50 0 0 20 0 4 0 300 8192 55 1844 1 1";
        let stats = parse(line, 1000.0).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!((stats.cpu_seconds, stats.started_at), (150.0 / ticks, 1000.0 + 300.0 / ticks));
        assert_eq!((stats.threads, stats.virtual_bytes), (4, 8192));
        assert_eq!(stats.resident_bytes, 55 * rustix::param::page_size() as u64);
        for garbage in ["", "7 (a", "7 (a) S", "7 (a) S x"] {
            assert_eq!(parse(garbage, 0.0), None);
        }
    }

    #[test]
    fn this_process_has_sensible_numbers() {
        let stats = stats().unwrap();
        assert!(stats.resident_bytes > 100_000 && stats.virtual_bytes >= stats.resident_bytes);
        assert!(stats.threads >= 1 && stats.open_files >= 3, "{stats:?}");
        let age = SystemClock.now().as_duration().as_secs_f64() - stats.started_at;
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
