//! Collects children that ended: the agent's main process and the orphans that this process adopts as a subreaper.

use myagent_core::instance::ExitCause;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

/// A child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its number.
    pub(crate) pid: u32,
    /// How.
    pub(crate) how: How,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<How> for ExitCause {
    fn from(how: How) -> Self {
        match how {
            How::Code(code) => Self::Code { code },
            How::Signal(signal) => Self::Signal { signal },
        }
    }
}

/// All children that ended since the last call.
pub(crate) fn reap() -> Vec<Ended> {
    let mut ended = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(how) = how(status) {
            ended.push(Ended { pid: Pid::as_raw_pid(pid).unsigned_abs(), how });
        }
    }
    ended
}

fn how(status: WaitStatus) -> Option<How> {
    let code = status.exit_status().map(How::Code);
    code.or_else(|| status.terminating_signal().map(How::Signal))
}
