//! `myagent-manager`: the one binary. What each command does is in `commands`, what it takes in `cli`; the hidden
//! subcommands, which processes of ours and `make gen` call, never meet the argument parser.

mod args;
mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod datadir;
mod doctor;
mod envfile;
mod exit;
mod hidden;
mod lifecycle;
mod listeners;
mod log;
mod output;
mod own_process;
mod progress;
mod reference;
mod source;
mod wire;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next();
    match first.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("runner") => {
            name_process(c"myagent-runner");
            hidden::runner()
        }
        Some("exec-agent") => myagent_runner::exec_agent(args),
        Some("take-over") => {
            name_process(c"myagent-manager");
            hidden::take_over()
        }
        Some("follow") => {
            name_process(c"myagent-manager");
            hidden::follow(args)
        }
        Some("clear-tree") => hidden::clear_tree(args.next()),
        Some("reference") => hidden::reference(args.next()),
        _ => {
            name_process(c"myagent-manager");
            match cli::Cli::try_parse() {
                Ok(cli) => exit::report(commands::run(cli)),
                Err(error) => exit::report_usage(&error),
            }
        }
    }
}

/// What `ps` and `top` show; started through `/proc/self/exe`, it would be "exe".
fn name_process(name: &std::ffi::CStr) {
    // Only for people: a process with another name works as well.
    let _ = rustix::thread::set_name(name);
}
