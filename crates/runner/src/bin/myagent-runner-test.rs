//! The runner's hidden subcommands as a program of their own, so that this crate's tests can start real runners. Not a
//! part of what is installed.

use jiff::Timestamp;
use myagent_core::Clock;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is a composition root, if only for tests")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_ref().and_then(|name| name.to_str()) {
        Some("runner") => myagent_runner::run(Arc::new(SystemClock)),
        Some("exec-agent") => myagent_runner::exec_agent(args),
        Some("clear-tree") => {
            let file = PathBuf::from(args.next().unwrap_or_default());
            let (text, code) = match myagent_runner::clear_tree(&file) {
                Ok(survivors) => (format!("{survivors:?}"), ExitCode::SUCCESS),
                Err(error) => (error.to_string(), ExitCode::FAILURE),
            };
            let _ = writeln!(std::io::stdout(), "{text}");
            code
        }
        _ => ExitCode::from(2),
    }
}
