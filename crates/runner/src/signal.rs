//! Signals for processes that are known by number *and* start time. **Invariant: no process is signalled by its number
//! alone**; a number that was used again since belongs to somebody else.

use crate::procfs::{self, ProcessId};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A descriptor of exactly this process; `None` if it is gone, even if its number is in use again.
pub(crate) fn open(process: ProcessId) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The descriptor pins the number; only now is the start time worth comparing.
    let stat = procfs::stat(process.pid)?;
    (stat.id == process && !stat.zombie).then_some(descriptor)
}

/// Signals exactly this process. False if it is gone or may not be signalled.
pub(crate) fn send(process: ProcessId, signal: Signal) -> bool {
    open(process).is_some_and(|descriptor| pidfd_send_signal(descriptor, signal).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn a_number_that_was_used_again_is_not_touched() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let id = procfs::stat(child.id()).unwrap().id;
        let earlier = ProcessId { start: id.start - 1, ..id };
        assert!(open(earlier).is_none());
        assert!(!send(earlier, Signal::KILL));
        assert!(child.try_wait().unwrap().is_none());
        assert!(send(id, Signal::TERM));
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert!(!send(id, Signal::TERM));
    }
}
