//! `completions SHELL`.

use crate::cli::Cli;
use crate::output;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

pub(super) fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "myagent-manager", &mut script);
    Ok(output::write_line(&String::from_utf8_lossy(&script))?)
}
