//! The machine: descriptors, process descriptors, Python.

use myagent_core::diagnosis::Finding;
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use std::process::{Command, Stdio};

/// Enough for a manager, and for a runner with some thousand clients.
const MANY_DESCRIPTORS: u64 = 4096;
/// Not enough for a manager with some services.
const FEW_DESCRIPTORS: u64 = 256;
/// Oldest Python that agent files run with.
const OLDEST_PYTHON: (u32, u32) = (3, 9);

/// Each client is a descriptor of its runner.
pub(super) fn descriptors() -> Finding {
    const CHECK: &str = "descriptors";
    // The manager and its runners raise their own limit to the hard one.
    let Some(hard) = getrlimit(Resource::Nofile).maximum else {
        return Finding::ok(CHECK, "no limit of open files per process");
    };
    let message = format!(
        "at most {hard} open files per process, so about {} clients per instance",
        hard.saturating_sub(64)
    );
    let fix = "raise it: ulimit -Hn 65536, LimitNOFILE= in the service unit, or /etc/security/limits.conf";
    match hard {
        ..FEW_DESCRIPTORS => Finding::broken(CHECK, message, fix),
        FEW_DESCRIPTORS..MANY_DESCRIPTORS => Finding::warning(CHECK, message, fix),
        _ => Finding::ok(CHECK, message),
    }
}

/// Without them, a process that ends cannot be told from another that gets its number.
pub(super) fn pidfd() -> Finding {
    const CHECK: &str = "kernel";
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::ok(CHECK, "process descriptors (pidfd) are there"),
        Err(error) => Finding::broken(
            CHECK,
            format!("no process descriptors (pidfd): {error}"),
            "use a kernel of 5.3 or later, and a sandbox that allows pidfd_open",
        ),
    }
}

/// Agent files need it, unless they have a worker of their own; commands and endpoints do not.
pub(super) fn python() -> Finding {
    const CHECK: &str = "python";
    let fix = format!(
        "agent files in Python need {}.{} or later: install it, or give one with --python; a --worker, a command or an endpoint needs none",
        OLDEST_PYTHON.0, OLDEST_PYTHON.1
    );
    let output = Command::new("python3").arg("--version").stdin(Stdio::null()).output();
    let text = match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(output) => {
            return Finding::warning(CHECK, format!("python3 --version fails ({})", output.status), fix);
        }
        Err(error) => return Finding::warning(CHECK, format!("python3 is not found: {error}"), fix),
    };
    match version(&text) {
        Some(found) if found >= OLDEST_PYTHON => Finding::ok(CHECK, format!("python3 is {text}")),
        Some(_) => Finding::warning(CHECK, format!("python3 is {text}, which is too old"), fix),
        None => Finding::warning(CHECK, format!("python3 --version says {text:?}"), fix),
    }
}

/// Major and minor of `Python 3.11.2`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("Python ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version("Python 3.11.2"), Some((3, 11)));
        assert_eq!(version("Python 2.7"), Some((2, 7)));
        assert_eq!(version("Python 3.14.0rc1"), Some((3, 14)));
        assert_eq!(version("PyPy"), None);
    }
}
