//! Whether a process is still the one that it was: PID and start time, and a pidfd to be told of its end.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// When the process started, in clock ticks since boot (field 22 of `/proc/PID/stat`); none: there is no such process.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may contain anything, also spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(start)
}

/// A runner's process, watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pidfd: AsyncFd<OwnedFd>,
    /// Present if it is our child: then we also have to reap it.
    child: Option<std::process::Child>,
}

impl Watched {
    /// Watches our own child.
    pub(crate) fn child(child: std::process::Child) -> io::Result<Self> {
        let pidfd = open(child.id())?;
        Ok(Self { pidfd, child: Some(child) })
    }

    /// Watches a process of an earlier manager; an error if it is not the one that started then.
    pub(crate) fn existing(pid: u32, started: u64) -> io::Result<Self> {
        let pidfd = open(pid)?;
        // The pidfd is open: from here on the PID cannot be reused unnoticed.
        if start_time(pid) != Some(started) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} is another one now")));
        }
        Ok(Self { pidfd, child: None })
    }

    /// Waits for its end.
    pub(crate) async fn exited(&mut self) {
        // An error here means that the descriptor is unusable: the process cannot be watched, so it counts as gone.
        let _ = self.pidfd.ready(Interest::READABLE).await;
        if let Some(child) = &mut self.child {
            let _ = child.try_wait();
        }
    }

    /// Sends a signal to exactly this process.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(self.pidfd.get_ref(), signal) {
            tracing::debug!(%error, "signal not delivered: the process is gone");
        }
    }
}

fn open(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process id"))?;
    watch(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

#[expect(
    deprecated,
    reason = "the replacement is unsafe because a type could change its descriptor while it is watched; an OwnedFd cannot"
)]
fn watch(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[tokio::test]
    async fn the_end_of_a_child_is_seen_and_a_reused_pid_is_not_taken_for_it() {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let started = start_time(pid).unwrap();
        assert!(Watched::existing(pid, started + 1).is_err());
        let mut other = Watched::existing(pid, started).unwrap();
        let mut watched = Watched::child(child).unwrap();
        watched.signal(Signal::KILL);
        watched.exited().await;
        other.exited().await;
        assert_eq!(start_time(pid), None);
        assert!(Watched::existing(pid, started).is_err());
    }
}
