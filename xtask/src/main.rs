//! The checks of this repository that are programs: `cargo xtask layers`, `tidy`, `licences` and `coverage`.
//!
//! Each reads the tree and either prints one line or lists every fault and fails. What is checked is decided by pure
//! functions on text; this file and `tree.rs` do the reading.

mod coverage;
mod layers;
mod licences;
mod spdx;
mod tidy;
mod tree;

use anyhow::{Result, bail};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask layers | tidy | licences | coverage LCOV_FILE";

/// A line for people, or everything that is wrong.
type Verdict = Result<String, Vec<String>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (faults, task) = match run(&arguments) {
        Ok((task, Ok(line))) => return say(&mut io::stdout(), task, &line, ExitCode::SUCCESS),
        Ok((task, Err(faults))) => (faults, task),
        Err(error) => (vec![format!("{error:#}")], "xtask"),
    };
    faults.iter().fold(ExitCode::FAILURE, |code, fault| say(&mut io::stderr(), task, fault, code))
}

/// Runs one task and names it.
fn run<'a>(arguments: &[&'a str]) -> Result<(&'a str, Verdict)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Ok(match *arguments {
        [task @ "layers"] => (task, layers::run(&root)?),
        [task @ "tidy"] => (task, tidy::run(&root)?),
        [task @ "licences"] => (task, licences::run(&root)?),
        [task @ "coverage", file] => (task, coverage::run(&root, Path::new(file))?),
        _ => bail!(USAGE),
    })
}

/// A line that cannot be written has nobody to read it: the exit code tells.
fn say(stream: &mut impl Write, task: &str, line: &str, code: ExitCode) -> ExitCode {
    let _ = writeln!(stream, "{task}: {line}");
    code
}

fn verdict(faults: Vec<String>, line: String) -> Verdict {
    if faults.is_empty() { Ok(line) } else { Err(faults) }
}
