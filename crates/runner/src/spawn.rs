//! Starts a process of the tree: builds the environment, makes the pipes, and forks through the hidden `exec-agent` step.
//!
//! **Invariant: called on the main thread only.** The agent dies with the *thread* that forked it.

use crate::exec_agent::ExecAgent;
use crate::procfs::START_ID_VARIABLE;
use myagent_core::wire::launch::{AgentLaunch, RunnerSpec};
use rustix::io::FdFlags;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Number of the descriptor by which a worker talks to its runner.
const WORKER_FD_VARIABLE: &str = "MYAGENT_WORKER_FD";
/// The agent file that a worker loads.
const AGENT_FILE_VARIABLE: &str = "MYAGENT_AGENT_FILE";
/// This program, even if its file was replaced since.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// Whose.
    pub(crate) spec: &'a RunnerSpec,
    /// Program and arguments.
    pub(crate) argv: Vec<OsString>,
    /// Where it runs.
    pub(crate) cwd: &'a Path,
    /// Groups that it joins.
    pub(crate) join: Vec<PathBuf>,
    /// Soft limit of open files that it gets back.
    pub(crate) open_files: Option<u64>,
    /// A worker's end of its socket pair; it is closed here when the worker has it.
    pub(crate) worker: Option<UnixStream>,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its number.
    pub(crate) pid: u32,
    /// What it prints.
    pub(crate) stdout: OwnedFd,
    /// What it prints as errors.
    pub(crate) stderr: OwnedFd,
}

/// Starts it. An error means that not even the step before the program ran; what goes wrong later is seen at its end.
pub(crate) fn spawn(launch: &Launch<'_>) -> io::Result<Started> {
    let exec = ExecAgent {
        parent: std::process::id(),
        join: launch.join.clone(),
        cwd: Some(launch.cwd.to_owned()),
        open_files: launch.open_files,
        argv: launch.argv.clone(),
    };
    let mut environment = environment(launch.spec);
    if let Some(worker) = &launch.worker {
        // Open for the child only while it is made: nothing else is started on this thread meanwhile.
        rustix::io::fcntl_setfd(worker, FdFlags::empty())?;
        environment.insert(WORKER_FD_VARIABLE.to_owned(), worker.as_raw_fd().to_string());
    }
    let child = Command::new(THIS_PROGRAM)
        .arg("exec-agent")
        .args(exec.to_args())
        .env_clear()
        .envs(&environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    if let Some(worker) = &launch.worker {
        rustix::io::fcntl_setfd(worker, FdFlags::CLOEXEC)?;
    }
    let mut child = child?;
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => {
            Ok(Started { pid: child.id(), stdout: stdout.into(), stderr: stderr.into() })
        }
        _ => Err(io::Error::other("the pipes of a new process are missing")),
    }
}

/// The environment of the spec and, over it, what every agent is told about itself: a `PORT` that the manager itself was
/// started with, or that stands in a `.env`, is somebody else's.
fn environment(spec: &RunnerSpec) -> BTreeMap<String, String> {
    let mut environment = spec.environment.clone();
    let mut tell = |name: &str, value: String| drop(environment.insert(name.to_owned(), value));
    tell("PORT", spec.port.to_string());
    tell("HOST", spec.host.clone());
    tell("MYAGENT_SERVICE", spec.service.clone());
    tell("MYAGENT_SERVICE_ID", spec.service_id.to_string());
    tell("MYAGENT_INSTANCE", format!("{}-{}", spec.service, spec.index));
    tell("MYAGENT_INSTANCE_INDEX", spec.index.to_string());
    if let AgentLaunch::File { path, .. } = &spec.agent {
        tell(AGENT_FILE_VARIABLE, path.display().to_string());
    }
    tell(START_ID_VARIABLE, spec.start_id.to_string());
    environment
}
