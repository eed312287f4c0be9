//! Measures what the product promises: each case starts the real program (release), puts load on it from here, and prints
//! medians over interleaved rounds beside their budgets.
//!
//! `bench/run.sh` builds everything and runs all cases; `myagent-bench CASE…` runs some, `--help` lists them. The load generator is in `load`, a
//! case per file in `cases`. With `agent` or `quick-agent` as its first argument the program is the agent that cases need, with
//! `load` it puts one load on an address, with `many-load` it is one of the processes that share a load.

mod by_hand;
mod cases;
mod fleet;
mod load;
mod machine;
mod peers;
mod procs;
mod quick_agent;
mod report;

use anyhow::{Context, Result, bail, ensure};
use cases::{Bench, Many};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: myagent-bench [--rounds N] [--peers DIR] [--all-peers] [--conversations N] [--rate N] [--seconds N] [CASE…]";

fn help() -> String {
    let cases = cases::CASES.iter().map(|case| format!("\n  {:<14} {}", case.name, case.about));
    format!(
        "{USAGE}\n\n--all-peers: Caddy and Traefik, too\n--conversations, --rate, --seconds: of many-conversations and many-relayed; how many, messages a second in all, how \
         long\n\nCases, all of them if none is named:{}\n\nBy hand: {}",
        cases.collect::<String>(),
        by_hand::USAGE
    )
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == "agent").is_some() {
        return myagent_testkit::fake_agent::main(arguments);
    }
    let mut report = Report::new(std::io::stdout());
    if arguments.next_if(|first| first == "quick-agent").is_some() {
        return finished(quick_agent::main(), &mut report);
    }
    if arguments.next_if(|first| first == "many-load").is_some() {
        return finished(load::many::main(arguments), &mut report);
    }
    if arguments.peek().is_some_and(|first| first == "--help" || first == "-h") {
        report.note(&help());
        return ExitCode::SUCCESS;
    }
    let by_hand = arguments.next_if(|first| first == "load").is_some();
    let result = if by_hand {
        by_hand::run(&arguments.collect::<Vec<_>>()).map(|line| report.note(&line))
    } else {
        run(arguments, &mut report)
    };
    finished(result, &mut report)
}

fn finished(result: Result<()>, report: &mut Report) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.note(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>, report: &mut Report) -> Result<()> {
    let (mut rounds, mut peers, mut all_peers, mut wanted) = (5, None, false, Vec::new());
    let mut many = Many::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().context(USAGE)?.parse().context(USAGE)?,
            "--peers" => peers = Some(PathBuf::from(arguments.next().context(USAGE)?)),
            "--all-peers" => all_peers = true,
            "--conversations" => {
                many.conversations = Some(arguments.next().context(USAGE)?.parse().context(USAGE)?)
            }
            "--rate" => many.rate = arguments.next().context(USAGE)?.parse().context(USAGE)?,
            "--seconds" => many.seconds = arguments.next().context(USAGE)?.parse().context(USAGE)?,
            name if cases::CASES.iter().any(|case| case.name == name) => wanted.push(argument),
            _ => bail!("{USAGE}; --help lists the cases"),
        }
    }
    ensure!(rounds > 0, "--rounds must be at least 1");
    ensure!(many.conversations != Some(0), "--conversations must be at least 1");
    ensure!(many.rate > 0 && many.seconds > 0, "--rate and --seconds must be at least 1");
    let bench = Bench::new(rounds, peers, all_peers, many)?;
    report.note(&machine::describe(&bench)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for case in cases::CASES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == case.name) {
            report.heading(case.name);
            // One that fails must not keep the others from being measured.
            if let Err(error) = runtime.block_on((case.run)(&bench, report)) {
                report.note(&format!("  {} failed: {error:#}", case.name));
                report.fail();
            }
        }
    }
    report.finish()
}
