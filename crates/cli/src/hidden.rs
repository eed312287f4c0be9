//! The hidden subcommands: processes that the manager and its runners start themselves, and the generator of the reference.

use crate::clock::SystemClock;
use crate::exit;
use anyhow::Context;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// `runner`: one instance's process.
pub(crate) fn runner() -> ExitCode {
    // Standard error is `runners.log`: only what somebody has to look at.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // A full disk costs the line, not the task that wrote it.
        .log_internal_errors(false)
        .init();
    myagent_runner::run(Arc::new(SystemClock))
}

/// `clear-tree FILE`: kills what a dead runner left; prints the numbers of processes that survived as a JSON list.
pub(crate) fn clear_tree(file: Option<OsString>) -> ExitCode {
    let clear = || -> anyhow::Result<()> {
        let file = PathBuf::from(file.context("the file that lists the processes is missing")?);
        let survivors = myagent_runner::clear_tree(&file)?;
        crate::output::write_line(&serde_json::to_string(&survivors)?)?;
        Ok(())
    };
    exit::report(clear())
}

/// `take-over`: a new manager, in place of the one that starts it.
pub(crate) fn take_over() -> ExitCode {
    crate::lifecycle::upgrade::new::take_over()
}

/// `follow --data-dir DIR`: in place of a manager in the foreground that was taken over from.
pub(crate) fn follow(args: impl Iterator<Item = OsString>) -> ExitCode {
    crate::lifecycle::upgrade::follow::follow(args)
}

/// `reference FOLDER`: writes the pages of `docs/reference`.
pub(crate) fn reference(folder: Option<OsString>) -> ExitCode {
    let write = || crate::reference::write(&PathBuf::from(folder.context("the folder is missing")?));
    exit::report(write())
}
