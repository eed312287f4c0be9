//! The cases, in the order in which they run, and what they share.

mod api;
mod hand_over;
mod idle;
mod killed_agent;
mod list;
mod reattach;
mod routing;
mod runner_memory;
mod start;

use crate::report::Report;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::pin::Pin;

/// What every case gets.
pub(crate) struct Bench {
    /// Rounds of each measurement.
    pub(crate) rounds: usize,
    /// The program that is measured.
    pub(crate) manager: PathBuf,
    /// Where other supervisors are installed, for the comparison.
    pub(crate) peers: Option<PathBuf>,
}

impl Bench {
    /// The program is looked for beside this one.
    pub(crate) fn new(rounds: usize, peers: Option<PathBuf>) -> Result<Self> {
        let here = std::env::current_exe()?;
        let manager = here.parent().context("no folder")?.join("myagent-manager");
        ensure!(manager.exists(), "{} is missing: build myagent-cli in the same profile", manager.display());
        Ok(Self { rounds, manager, peers })
    }

    /// An example agent.
    pub(crate) fn agent(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../agents")).join(name)
    }
}

type Case = for<'a> fn(&'a Bench, &'a mut Report) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

const CASES: &[(&str, Case)] = &[
    ("list", |bench, report| Box::pin(list::run(bench, report))),
    ("idle", |bench, report| Box::pin(idle::run(bench, report))),
    ("runner-memory", |bench, report| Box::pin(runner_memory::run(bench, report))),
    ("killed-agent", |bench, report| Box::pin(killed_agent::run(bench, report))),
    ("start", |bench, report| Box::pin(start::run(bench, report))),
    ("reattach", |bench, report| Box::pin(reattach::run(bench, report))),
    ("hand-over", |bench, report| Box::pin(hand_over::run(bench, report))),
    ("api", |bench, report| Box::pin(api::run(bench, report))),
    ("routing", |bench, report| Box::pin(std::future::ready(routing::run(bench, report)))),
];

/// All names.
pub(crate) fn names() -> Vec<&'static str> {
    CASES.iter().map(|(name, _)| *name).collect()
}

/// The case of that name.
pub(crate) fn find(name: &str) -> Option<Case> {
    CASES.iter().find(|(found, _)| *found == name).map(|(_, case)| *case)
}
