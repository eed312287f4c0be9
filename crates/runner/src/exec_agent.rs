//! The step between the runner's fork and the agent's program: joins the control groups, makes a session of its own,
//! ties the process's life to the runner's, and then becomes the agent. It runs in the new process, so that no process of
//! the tree exists outside its groups for even a moment.

use rustix::process::{Pid, Resource, Rlimit, Signal};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Begins the line that says why no agent runs; the runner looks for it in the output.
pub(crate) const FAILURE_PREFIX: &str = "exec-agent: ";
/// Exit code when a control group cannot be joined; the runner then tries again without.
pub(crate) const CANNOT_JOIN: i32 = 125;
/// Exit code when the program is there but cannot be run.
pub(crate) const CANNOT_RUN: i32 = 126;
/// Exit code when there is no such program.
pub(crate) const NOT_FOUND: i32 = 127;

/// What is to be done before the program is run. Its text form is the argument list of the hidden subcommand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExecAgent {
    /// The runner's process; the agent must not outlive it.
    pub(crate) parent: u32,
    /// `cgroup.procs` files to join.
    pub(crate) join: Vec<PathBuf>,
    /// Working directory.
    pub(crate) cwd: Option<PathBuf>,
    /// Soft limit of open files; none: as inherited.
    pub(crate) open_files: Option<u64>,
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
}

impl ExecAgent {
    /// As arguments.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--parent".into(), self.parent.to_string().into()];
        for path in &self.join {
            args.extend(["--join".into(), path.into()]);
        }
        if let Some(cwd) = &self.cwd {
            args.extend(["--cwd".into(), cwd.into()]);
        }
        if let Some(limit) = self.open_files {
            args.extend(["--open-files".into(), limit.to_string().into()]);
        }
        args.push("--".into());
        args.extend(self.argv.iter().cloned());
        args
    }

    /// From arguments.
    fn from_args(mut args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut parsed = Self::default();
        while let Some(name) = args.next() {
            if name == "--" {
                parsed.argv = args.collect();
                return if parsed.argv.is_empty() {
                    Err("no program is given".to_owned())
                } else {
                    Ok(parsed)
                };
            }
            let value = args.next().ok_or_else(|| format!("{} has no value", name.display()))?;
            let number = || value.to_str().and_then(|text| text.parse::<u64>().ok());
            let bad = || format!("{} {} is not a number", name.display(), value.display());
            match name.to_str() {
                Some("--parent") => {
                    parsed.parent = number().and_then(|pid| u32::try_from(pid).ok()).ok_or_else(bad)?;
                }
                Some("--join") => parsed.join.push(value.into()),
                Some("--cwd") => parsed.cwd = Some(value.into()),
                Some("--open-files") => parsed.open_files = Some(number().ok_or_else(bad)?),
                _ => return Err(format!("unknown argument {}", name.display())),
            }
        }
        Err("no program is given".to_owned())
    }

    /// Prepares this process and becomes the program; returns only if that failed.
    fn perform(&self) -> (i32, String) {
        let Some(program) = self.argv.first() else { return (CANNOT_RUN, "no program is given".to_owned()) };
        let cannot_run = |reason: String| format!("cannot run {}: {reason}", program.display());
        for file in &self.join {
            if let Err(error) = std::fs::write(file, "0") {
                return (CANNOT_JOIN, format!("cannot join {}: {error}", file.display()));
            }
        }
        // Fails only for the leader of a process group, which a fresh child is not; its own group would do as well.
        let _ = rustix::process::setsid();
        if let Some(limit) = self.open_files {
            let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
            let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum });
        }
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return (CANNOT_RUN, cannot_run(format!("tying it to its runner: {error}")));
        }
        // The runner may have died before the signal was asked for.
        if rustix::process::getppid().map(Pid::as_raw_pid) != i32::try_from(self.parent).ok() {
            return (CANNOT_RUN, cannot_run("its runner is gone".to_owned()));
        }
        if let Some(cwd) = &self.cwd
            && let Err(error) = std::env::set_current_dir(cwd)
        {
            return (CANNOT_RUN, cannot_run(format!("working directory {}: {error}", cwd.display())));
        }
        let error = Command::new(program).args(&self.argv[1..]).exec();
        let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
        (code, cannot_run(error.to_string()))
    }
}

/// The hidden subcommand `exec-agent`: becomes the agent, or prints one line that says why not and exits with 125 (a group
/// could not be joined), 126 (the program could not be run) or 127 (there is no such program).
pub fn exec_agent(args: impl Iterator<Item = OsString>) -> ExitCode {
    let (code, message) = match ExecAgent::from_args(args) {
        Ok(parsed) => parsed.perform(),
        Err(message) => (CANNOT_RUN, message),
    };
    let _ = writeln!(std::io::stderr(), "{FAILURE_PREFIX}{message}");
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_back_as_written() {
        let full = ExecAgent {
            parent: 7,
            join: vec!["/a/cgroup.procs".into(), "/b/cgroup.procs".into()],
            cwd: Some("/tmp".into()),
            open_files: Some(1024),
            argv: vec!["/bin/echo".into(), "--".into(), "--parent".into()],
        };
        assert_eq!(ExecAgent::from_args(full.to_args().into_iter()), Ok(full));
    }

    #[test]
    fn bad_arguments_are_named() {
        let parse = |text: &str| ExecAgent::from_args(text.split(' ').map(OsString::from)).unwrap_err();
        assert_eq!(parse("--parent 1"), "no program is given");
        assert_eq!(parse("--parent x -- a"), "--parent x is not a number");
        assert_eq!(parse("--what 1 -- a"), "unknown argument --what");
        assert_eq!(parse("--parent"), "--parent has no value");
        assert_eq!(parse("--parent 1 --"), "no program is given");
    }
}
