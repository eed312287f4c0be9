//! What runs: ports, the manager, and processes that nobody owns any more.

use crate::client::Client;
use crate::datadir::DataDir;
use myagent_core::diagnosis::Finding;
use myagent_core::view::InfoView;
use myagent_supervisor::binds;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Fewer free ports than this are soon used up.
const FEW_PORTS: usize = 10;
/// How long a manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The tag in the environment of every process of an instance.
const TAG: &[u8] = b"MYAGENT_START_ID=";
/// How far up to look for a runner.
const MAX_DEPTH: usize = 100;

/// Ports that services get.
pub(super) fn ports((first, last): (u16, u16)) -> Finding {
    const CHECK: &str = "ports";
    // Without listening: that would be in the way of an agent that starts just now.
    let free = (first..=last).filter(|port| binds(Ipv4Addr::LOCALHOST.into(), *port).is_ok()).count();
    let message = format!("{free} of the {} ports {first} to {last} are free", usize::from(last - first) + 1);
    let fix = "widen port_range in config.toml, or stop what holds them (ss -ltnp)";
    match free {
        0 => Finding::broken(CHECK, message, fix),
        1..FEW_PORTS => Finding::warning(CHECK, message, fix),
        _ => Finding::ok(CHECK, message),
    }
}

/// Does the one that should run answer?
pub(super) async fn manager(data: &DataDir) -> Finding {
    const CHECK: &str = "manager";
    let Some(manager) = data.manager() else {
        return Finding::ok(CHECK, "none runs; the next command that changes something starts one");
    };
    let pid = manager.pid;
    let ask = async {
        let mut client = Client::connect(&manager.socket).await?;
        client.get::<InfoView>("/api/v1/info").await
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(info)) => {
            Finding::ok(CHECK, format!("version {} runs as process {pid} and answers", info.version))
        }
        Ok(Err(error)) => {
            let fix = format!(
                "see manager.log; if it stays so: kill {pid} (the services go on), then any command that changes something"
            );
            Finding::broken(CHECK, format!("process {pid} runs and does not answer: {error:#}"), fix)
        }
        Err(_) => {
            let fix = format!("see manager.log; if it stays so: kill {pid} (the services go on)");
            Finding::broken(
                CHECK,
                format!("process {pid} runs and did not answer within {} s", PATIENCE.as_secs()),
                fix,
            )
        }
    }
}

/// Processes of instances whose runner is gone.
pub(super) fn orphans() -> Finding {
    const CHECK: &str = "orphans";
    let pids: Vec<String> =
        processes().filter(|pid| is_tagged(*pid) && !has_runner(*pid)).map(|pid| pid.to_string()).collect();
    if pids.is_empty() {
        return Finding::ok(CHECK, "no process of an instance is without its runner");
    }
    let list = pids.join(" ");
    Finding::warning(
        CHECK,
        format!("their runner is gone: processes {list}"),
        format!("a manager of their data directory clears them when it starts; else: kill {list}"),
    )
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Only processes of our own user can be read, and only those are ours.
fn is_tagged(pid: u32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(TAG))
}

/// A runner takes in whatever its tree leaves behind, so it is above every process of its tree for as long as it lives.
fn has_runner(pid: u32) -> bool {
    std::iter::successors(Some(pid), |pid| parent(*pid)).take(MAX_DEPTH).any(is_runner)
}

fn is_runner(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"runner")
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may itself contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_core::diagnosis::Level;
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    #[test]
    fn used_ports_are_counted() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert_eq!(ports((port, port)).level, Level::Broken);
        assert_eq!(ports((port, port)).message, format!("0 of the 1 ports {port} to {port} are free"));
    }

    #[test]
    fn a_tagged_process_without_a_runner_is_found() {
        // `cat` waits on its input until we close it.
        let mut child =
            Command::new("cat").env("MYAGENT_START_ID", "test").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        // The parent goes on a moment before the kernel has the child's new environment in place.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !is_tagged(pid) && tokio::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(is_tagged(pid) && !has_runner(pid));
        assert_eq!(parent(pid), Some(std::process::id()));
        let finding = orphans();
        assert!(finding.level == Level::Warning && finding.message.contains(&pid.to_string()), "{finding:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!is_tagged(std::process::id()));
        assert_eq!(parent(0), None);
    }
}
