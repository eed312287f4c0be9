//! How the program ends: what was wrong as one line on standard error, and a documented exit code.

use crate::cli::Cli;
use crate::output;
use clap::CommandFactory;
use std::io;
use std::process::ExitCode;

/// For `--help`.
pub(crate) const CODES: &str = "Exit codes: 0 it worked; 1 it failed; 2 the command line is wrong; \
3 no manager runs; 4 a manager runs already.";

/// The same for the reference page.
pub(crate) const MEANINGS: &[(u8, &str)] = &[
    (0, "it worked"),
    (1, "it failed; what failed is told as one line that begins with `error:`"),
    (2, "the command line is wrong; nothing was done"),
    (3, "the command needs a manager, and none runs"),
    (4, "the command wants to be the manager, and one runs already"),
];

/// Failures with a code of their own; every other error is 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is wrong in a way that the parser cannot see.
    #[error("{0}")]
    Usage(String),
    /// Looking needs a manager, and none runs.
    #[error(
        "no manager runs for {0}; start one with: myagent-manager daemon (or up), or with any command that changes something"
    )]
    NoManager(String),
    /// There is a manager already, and this command wants to be it.
    #[error("{0}")]
    AlreadyRunning(String),
    /// Some of several things went wrong; each was told.
    #[error("{failed} of {total} failed")]
    Partly {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Partly { .. } => 1,
            Self::Usage(_) => 2,
            Self::NoManager(_) => 3,
            Self::AlreadyRunning(_) => 4,
        }
    }
}

/// Tells what went wrong, if something did, and gives the exit code.
pub(crate) fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // `… | head` has what it wanted.
    if is_closed_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    output::error(&message(&error));
    ExitCode::from(code(&error))
}

/// Tells what is wrong with the command line: one line, like every other error. Help that was asked for, or is shown because
/// there is nothing on the line at all, is printed as it is.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // Whoever has closed the pipe has read enough.
        let _ = error.print();
        return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    output::error(&usage_line(&error.render().to_string(), &words.collect::<Vec<_>>()));
    ExitCode::from(2)
}

/// The parser's message without its usage, in one line, with the command whose help has more: as the usage names it, or, where
/// there is none, the first of the `words` of the command line that is one.
fn usage_line(text: &str, words: &[String]) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let is_more = |line: &&str| !line.starts_with("Usage: ") && !line.starts_with("For more information");
    let mut said = String::new();
    for line in text.lines().take_while(is_more).map(str::trim).filter(|line| !line.is_empty()) {
        if !said.is_empty() {
            said.push_str(if line.starts_with("tip: ") { "; " } else { " " });
        }
        said.push_str(line);
    }
    let is_name = |word: &&str| !word.starts_with(['[', '<', '-']);
    let command: Vec<&str> = if let Some(usage) = text.lines().find_map(|line| line.strip_prefix("Usage: ")) {
        usage.split(' ').take_while(is_name).collect()
    } else {
        let table = Cli::command();
        let name = words.iter().find(|word| table.find_subcommand(word).is_some());
        std::iter::once("myagent-manager").chain(name.map(String::as_str)).collect()
    };
    format!("{said}; see: {} --help", command.join(" "))
}

fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(1, Failure::code)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<output::WriteFailed>()
            .is_some_and(|failed| failed.0.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}

/// The error and its causes. The detail of a problem of the manager has its fields in it already.
fn message(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::{Code, Problem};

    #[test]
    fn each_failure_has_its_code_and_one_line() {
        let check = |error: anyhow::Error, expected_code, expected: &str| {
            assert_eq!((code(&error), message(&error).as_str()), (expected_code, expected));
        };
        check(Failure::Usage("give a name".to_owned()).into(), 2, "give a name");
        check(Failure::AlreadyRunning("it runs".to_owned()).into(), 4, "it runs");
        check(Failure::Partly { failed: 1, total: 3 }.into(), 1, "1 of 3 failed");
        check(Problem::new(Code::ServiceNotFound, "no such service").into(), 1, "no such service");
        let problem = Problem::new(Code::ServiceStartFailed, "exit code 3");
        check(anyhow::Error::from(problem).context("not started"), 1, "not started: exit code 3");
        check(anyhow::anyhow!("inner").context("outer"), 1, "outer: inner");
        assert_eq!(code(&Failure::NoManager("/x".to_owned()).into()), 3);
        assert_eq!(code(&anyhow::Error::from(Failure::NoManager("/x".to_owned())).context("more")), 3);
    }

    #[test]
    fn what_the_parser_says_is_one_line() {
        use clap::Parser;
        let check = |line: &str, expected: &str| {
            let error = Cli::try_parse_from(format!("myagent-manager {line}").split(' ')).unwrap_err();
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(usage_line(&error.render().to_string(), &words), expected, "{line}");
        };
        check(
            "register x a.py --port 70000",
            "invalid value '70000' for '--port <PORT>': 70000 is not in 0..=65535; see: myagent-manager register --help",
        );
        check(
            "strat",
            "unrecognized subcommand 'strat'; tip: some similar subcommands exist: 'status', 'restart', 'stats', 'start'; \
             see: myagent-manager --help",
        );
        check(
            "scale a",
            "the following required arguments were not provided: <N>; see: myagent-manager scale --help",
        );
        check(
            "start",
            "the following required arguments were not provided: <NAME|--all|--tag <TAG>>; see: myagent-manager start --help",
        );
        check(
            "start a --all",
            "the argument '[NAME]...' cannot be used with '--all'; see: myagent-manager start --help",
        );
    }

    #[test]
    fn a_closed_pipe_on_our_output_is_no_error_and_elsewhere_it_is() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&output::WriteFailed(broken()).into()));
        assert!(!is_closed_pipe(&broken().into()));
    }
}
