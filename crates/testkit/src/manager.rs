//! The real program with a data directory of its own.
//!
//! Dropping a [`TestManager`] shuts its manager down and then kills whatever carries the path of its folder in its command
//! line or environment, and nothing else.

use crate::processes;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Longest time that one command may take.
const COMMAND_DEADLINE: Duration = Duration::from_mins(2);
/// Longest time that a server command may take to say that it listens, or to end.
const SERVER_DEADLINE: Duration = Duration::from_mins(1);
/// Longest time for the shutdown when the guard is dropped.
const DROP_DEADLINE: Duration = Duration::from_secs(30);
/// Ports of one manager's instances; the managers of tests that run at once have none in common.
const PORTS: u16 = 100;
/// The first of all these ports, and how many managers there may be: below the range that the kernel gives ports from.
const FIRST_PORT: u16 = 10_000;
const MANAGERS: u16 = 220;

/// A data directory and the program that works on it.
#[derive(Debug)]
pub struct TestManager {
    program: PathBuf,
    folder: TempDir,
    environment: Vec<(String, String)>,
    /// Holds the port before ours: whoever has it has the range behind it.
    range: TcpListener,
}

/// What a command said.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code; 128 + n if signal n ended it.
    pub status: i32,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

impl Output {
    /// Itself, or an error with everything that was said.
    pub fn success(self) -> Result<Self> {
        ensure!(self.status == 0, "{self}");
        Ok(self)
    }

    /// Its stdout as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("stdout is not JSON: {self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

impl TestManager {
    /// An empty data directory for this program (`env!("CARGO_BIN_EXE_myagent-manager")`), and ports for instances that
    /// no other test has. Nothing is started.
    pub fn new(program: impl Into<PathBuf>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("myagent-test-").tempdir()?;
        for name in ["data", "run", "work"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let (range, first) = port_range()?;
        let ports = format!("[{first}, {}]", first + PORTS - 2);
        let environment = vec![("MYAGENT_PORT_RANGE".to_owned(), ports)];
        Ok(Self { program: program.into(), folder, environment, range })
    }

    /// First and last of the ports that its instances get.
    pub fn ports(&self) -> (u16, u16) {
        // It is bound.
        let lock = self.range.local_addr().map_or(0, |address| address.port());
        (lock + 1, lock + PORTS - 1)
    }

    /// Sets a variable for every command from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where commands run, and a place for the test's files; its path marks processes as this test's.
    pub fn work_dir(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The program with `--data-dir` and these arguments, not started yet. No input; output is captured by who starts it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MYAGENT_") {
                command.env_remove(name);
            }
        }
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .envs(self.environment.iter().cloned())
            .current_dir(self.work_dir())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end. An error only if it cannot be started or does not end within two minutes (then it is
    /// killed); what its exit code means is the caller's affair.
    pub async fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        let pid = child.id();
        let finished = tokio::task::spawn_blocking(move || child.wait_with_output());
        let Ok(finished) = timeout(COMMAND_DEADLINE, finished).await else {
            processes::send(pid, Signal::KILL);
            bail!("{arguments:?} did not end within {COMMAND_DEADLINE:?}");
        };
        let output = finished??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { status: code(output.status), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// Runs a command that must succeed.
    pub async fn ok(&self, arguments: &[&str]) -> Result<Output> {
        self.cli(arguments).await?.success().with_context(|| format!("{arguments:?} failed"))
    }

    /// Runs a command that must succeed with `--format json`, and reads its answer.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.ok(&[&["--format", "json"], arguments].concat()).await?.json()
    }

    /// Starts `up` on ports of the kernel's choice and waits until both listen.
    pub async fn up(&self) -> Result<Server> {
        self.serve(&["up", "--api-port", "0", "--proxy-port", "0"], &["proxy", "api"]).await
    }

    /// Starts a server command and waits until it has said where each of `listeners` (`proxy`, `api`) listens.
    pub async fn serve(&self, arguments: &[&str], listeners: &[&str]) -> Result<Server> {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            // Read to the end, or the server would wait for us one day.
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(std::io::Result::ok) {
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said.push_str(&line);
                    said.push('\n');
                }
            });
        }
        let mut server = Server { child: Some(child), said };
        let end = Instant::now() + SERVER_DEADLINE;
        while !listeners.iter().all(|name| server.address(name).is_ok()) {
            if let Some(status) = server.try_wait()? {
                bail!("{arguments:?} ended with {status}: {}", server.said());
            }
            ensure!(Instant::now() < end, "{arguments:?} does not listen: {}", server.said());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    /// Living processes of this test: manager, runners, agents and commands.
    pub fn processes(&self) -> Vec<u32> {
        processes::carrying(self.folder.path())
    }

    fn shut_down(&self) {
        let mut command = self.command(&["shutdown"]);
        let Ok(mut child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return };
        let end = Instant::now() + DROP_DEADLINE;
        while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
            thread::park_timeout(Duration::from_millis(10));
        }
        // It has ended, or is ended here.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for TestManager {
    fn drop(&mut self) {
        if !self.processes().is_empty() {
            self.shut_down();
        }
        processes::kill_carrying(self.folder.path());
    }
}

/// A server command in the foreground. Dropping it kills it (KILL), as a crash would.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Everything it said on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the listener of this name (`proxy`, `api`) is.
    pub fn address(&self, name: &str) -> Result<SocketAddr> {
        listening(&self.said(), name).with_context(|| format!("no {name} listens: {}", self.said()))
    }

    /// The WebSocket URL of a target (`/s/weather`) behind the proxy.
    pub fn ws_url(&self, target: &str) -> Result<String> {
        Ok(format!("ws://{}{target}", self.address("proxy")?))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if self.child.is_some() {
            processes::send(self.pid(), signal);
        }
    }

    /// Its exit code, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<i32>> {
        let child = self.child.as_mut().context("it was waited for already")?;
        Ok(child.try_wait()?.map(code))
    }

    /// Waits for its end and returns its exit code.
    pub async fn wait(mut self) -> Result<i32> {
        let end = Instant::now() + SERVER_DEADLINE;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "it did not end: {}", self.said());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Finds `NAME listening on SCHEME://ADDRESS` in what was said; the last one counts.
fn listening(said: &str, name: &str) -> Option<SocketAddr> {
    let prefix = format!("{name} listening on ");
    let urls = said.lines().filter_map(|line| line.split_once(&prefix));
    let url = urls.filter_map(|(_, url)| url.split_whitespace().next()).next_back()?;
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split('/').next()?.parse().ok()
}

/// A range that nobody has, and its first port. Two managers that look for a free port at the same time would find the same.
fn port_range() -> Result<(TcpListener, u16)> {
    let start = std::process::id() % u32::from(MANAGERS);
    let slots = (0..u32::from(MANAGERS)).map(|n| ((start + n) % u32::from(MANAGERS)) as u16);
    let mut locks = slots.map(|slot| FIRST_PORT + slot * PORTS);
    locks
        .find_map(|port| Some((TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?, port + 1)))
        .context("no range of ports is free")
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_was_said() {
        let said = "data directory /x\nproxy listening on ws://127.0.0.1:9090\n\
                    2026-01-01 info: api listening on http://127.0.0.1:8080/ (console)\n";
        assert_eq!(listening(said, "proxy"), Some("127.0.0.1:9090".parse().unwrap()));
        assert_eq!(listening(said, "api"), Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(listening(said, "other"), None);
    }
}
