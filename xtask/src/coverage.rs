//! The coverage gate: lines of production code that the tests ran, from an lcov file. Test modules, test files and
//! testkit do not count, else they would hide what is missing.

use crate::{Verdict, tree, verdict};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What must be reached: the whole, and single crates, percent of lines.
const GATES: &[(&str, f64)] = &[("crates/core/", 95.0), ("crates/", 85.0)];

/// Lines of each file: how often each was run.
type Lines = BTreeMap<String, BTreeMap<usize, u64>>;

/// Checks the file that `scripts/coverage.sh` made.
pub(crate) fn run(root: &Path, file: &Path) -> Result<Verdict> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    let root = root.canonicalize()?;
    let mut lines = read(&text, &root.to_string_lossy());
    for (path, lines) in &mut lines {
        if let Ok(source) = fs::read_to_string(root.join(path)) {
            let last = tree::production_lines(&source);
            lines.retain(|line, _| *line <= last);
        }
    }
    Ok(gate(&lines))
}

/// Reads the records of our own production files; a file may have several, one per test binary.
fn read(text: &str, root: &str) -> Lines {
    let mut files = Lines::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
            let counts = path.starts_with("crates/")
                && !path.starts_with("crates/testkit/")
                && !tree::is_test_file(path);
            current = counts.then(|| path.to_owned());
        } else if let (Some(path), Some(data)) = (&current, line.strip_prefix("DA:")) {
            let mut numbers = data.split(',').map(str::parse::<u64>);
            if let (Some(Ok(number)), Some(Ok(count))) = (numbers.next(), numbers.next()) {
                let slot = files.entry(path.clone()).or_default().entry(number as usize).or_default();
                *slot = (*slot).max(count);
            }
        }
    }
    files
}

/// Holds the shares against the gates; the line for people has every crate.
fn gate(files: &Lines) -> Verdict {
    let mut faults = Vec::new();
    let mut line = String::new();
    for (prefix, least) in GATES {
        let share = share(files, prefix);
        if share < *least {
            faults.push(format!("{prefix}: {share:.1} % of lines, at least {least} % are needed"));
        }
    }
    let mut crates: Vec<&str> = files.keys().filter_map(|path| path.split('/').nth(1)).collect();
    crates.dedup();
    for name in crates {
        let _ = write!(line, "{name} {:.1} %, ", share(files, &format!("crates/{name}/")));
    }
    let _ = write!(line, "all {:.1} % of lines", share(files, "crates/"));
    if !faults.is_empty() {
        faults.push(line.clone());
    }
    verdict(faults, line)
}

/// Percent of the lines in files under `prefix` that were run; no lines count as none.
fn share(files: &Lines, prefix: &str) -> f64 {
    let counts =
        || files.iter().filter(|(path, _)| path.starts_with(prefix)).flat_map(|(_, lines)| lines.values());
    let (run, all) = (counts().filter(|count| **count > 0).count(), counts().count());
    if all == 0 { 0.0 } else { 100.0 * run as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LCOV: &str = "SF:/w/crates/core/src/a.rs\nFN:1,x\nDA:1,3\nDA:2,0\nend_of_record\n\
                        SF:/w/crates/core/src/a.rs\nDA:2,1\nDA:x\nend_of_record\n\
                        SF:/w/crates/relay/src/b.rs\nDA:1,1\nDA:2,0\nDA:3,0\nend_of_record\n\
                        SF:/w/crates/testkit/src/c.rs\nDA:1,0\nend_of_record\n\
                        SF:/w/crates/relay/tests/d.rs\nDA:1,0\nend_of_record\n\
                        SF:/registry/e.rs\nDA:1,0\nend_of_record\n";

    #[test]
    fn records_of_one_file_are_joined_and_others_are_left_out() {
        let files = read(LCOV, "/w");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["crates/core/src/a.rs", "crates/relay/src/b.rs"]);
        assert!((share(&files, "crates/core/") - 100.0).abs() < 1e-9);
        assert!((share(&files, "crates/") - 60.0).abs() < 1e-9);
        assert!(share(&files, "crates/none/").abs() < 1e-9);
    }

    #[test]
    fn the_gate_names_what_falls_short() {
        let faults = gate(&read(LCOV, "/w")).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("crates/: 60.0 % of lines, at least 85 %"), "{faults:?}");
        assert_eq!(faults[1], "core 100.0 %, relay 33.3 %, all 60.0 % of lines");
        let good = read("SF:/w/crates/core/a.rs\nDA:1,1\n", "/w");
        assert_eq!(gate(&good).unwrap(), "core 100.0 %, all 100.0 % of lines");
    }
}
