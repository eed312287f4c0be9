//! Starts real runners and talks to them as a manager would. Everything that is started is ended when its guard is dropped.

use myagent_core::config::ServiceConfig;
use myagent_core::instance::Exit;
use myagent_core::wire::control::{
    Answer, Hello, PROTOCOL, Phase, ProtocolRange, Request, RequestLine, RunnerEvent, RunnerLine, Status,
};
use myagent_core::wire::launch::{AgentLaunch, RunnerPaths, RunnerSpec};
use myagent_core::{ServiceId, StartId};
use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_myagent-runner-test");
/// How long anything may take; far more than it should.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
    }
}

/// Whether a process runs (a zombie does not).
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// A runner to be.
pub(crate) struct Setup {
    pub(crate) spec: RunnerSpec,
    pub(crate) folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Setup {
    /// Runs a shell script.
    pub(crate) fn script(script: &str) -> Self {
        Self::argv(&["/bin/sh", "-c", script])
    }

    pub(crate) fn python(script: &str) -> Self {
        Self::argv(&["python3", "-c", script])
    }

    pub(crate) fn argv(argv: &[&str]) -> Self {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        Self::new(|folder| AgentLaunch::Command { argv, cwd: folder, path: "/".to_owned() })
    }

    pub(crate) fn new(agent: impl FnOnce(PathBuf) -> AgentLaunch) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let environment =
            ["PATH", "HOME"].iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let spec = RunnerSpec {
            service_id: ServiceId(Uuid::new_v4()),
            service: "weather".to_owned(),
            index: 0,
            start_id: StartId(Uuid::new_v4()),
            agent: agent(folder.path().to_owned()),
            host: "127.0.0.1".to_owned(),
            port: 1,
            config: ServiceConfig { stop_grace: 0.3, ..ServiceConfig::default() },
            environment: environment.collect::<BTreeMap<_, _>>(),
            paths: RunnerPaths {
                control: at("control.sock"),
                takeover: at("takeover.sock"),
                logs: at("logs"),
                tree: at("tree.json"),
                journal: at("journal"),
            },
        };
        Self { spec, folder, environment: Vec::new() }
    }

    /// Without control groups (`1`), or without those of version 2 (`v2`).
    pub(crate) fn without_groups(mut self, which: &'static str) -> Self {
        self.environment.push(("MYAGENT_NO_CGROUP", which));
        self
    }

    pub(crate) fn set(mut self, assignment: &str) -> Self {
        self.spec.config.set_text(assignment).unwrap();
        self
    }

    pub(crate) fn start(self) -> Rig {
        let mut process = Command::new(PROGRAM)
            .arg("runner")
            .envs(self.environment.iter().copied())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = serde_json::to_string(&self.spec).unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Rig { spec: self.spec, folder: self.folder, process }
    }
}

/// A running runner.
pub(crate) struct Rig {
    pub(crate) spec: RunnerSpec,
    pub(crate) folder: TempDir,
    pub(crate) process: Child,
}

impl Rig {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn connect(&self) -> Manager {
        let stream = wait_for("the control socket", || UnixStream::connect(&self.spec.paths.control).ok());
        let mut manager = Manager::over(stream);
        manager.hello(PROTOCOL);
        manager
    }

    /// Waits for the end of the runner's own process.
    pub(crate) fn wait(&mut self) -> i32 {
        wait_for("the runner's end", || self.process.try_wait().unwrap()).code().unwrap_or(-1)
    }

    /// Numbers that the agent wrote into the file `pids`, when there are as many.
    pub(crate) fn pids(&self, count: usize) -> Vec<u32> {
        let file = self.folder.path().join("pids");
        wait_for("the numbers of the agent's processes", || {
            let text = std::fs::read_to_string(&file).ok()?;
            let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            (pids.len() == count && text.ends_with('\n')).then_some(pids)
        })
    }

    /// What the log files say, all together, newest last.
    pub(crate) fn log_lines(&self) -> Vec<serde_json::Value> {
        let current = self.spec.paths.logs.join("weather-0.log");
        let text = std::fs::read_to_string(current).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn clear_tree(&self) -> (bool, String) {
        let output = Command::new(PROGRAM).arg("clear-tree").arg(&self.spec.paths.tree).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.clear_tree();
    }
}

/// A manager's connection.
pub(crate) struct Manager {
    pub(crate) stream: UnixStream,
    reader: BufReader<UnixStream>,
    next: u64,
    pub(crate) events: Vec<RunnerEvent>,
}

impl Manager {
    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader, next: 1, events: Vec::new() }
    }

    pub(crate) fn hello(&mut self, protocol: ProtocolRange) -> Hello {
        let hello = Hello { protocol, version: "test".to_owned(), pid: 1 };
        self.send_text(&serde_json::to_string(&hello).unwrap());
        serde_json::from_str(&self.read_text().unwrap()).unwrap()
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.stream.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// The next line; none: the runner closed the connection.
    pub(crate) fn read_text(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn read(&mut self) -> Option<RunnerLine> {
        Some(serde_json::from_str(&self.read_text()?).unwrap())
    }

    pub(crate) fn send(&mut self, request: Request) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send_text(&serde_json::to_string(&RequestLine { id, request }).unwrap());
        id
    }

    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        let asked = self.send(request);
        self.answer_to(asked)
    }

    pub(crate) fn answer_to(&mut self, asked: u64) -> Answer {
        loop {
            match self.read().expect("an answer") {
                RunnerLine::Answer { id, answer } if id == asked => return answer,
                RunnerLine::Answer { id, .. } => panic!("answer to {id} instead of {asked}"),
                RunnerLine::Event { event } => self.events.push(event),
            }
        }
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for a status by events (and one question at the beginning).
    pub(crate) fn until<T>(&mut self, what: &str, wanted: impl Fn(&Status) -> Option<T>) -> T {
        let status = self.status();
        if let Some(found) = wanted(&status) {
            return found;
        }
        let mut latest = status;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.read().expect("an event") {
                RunnerLine::Event { event: RunnerEvent::Status(status) } => {
                    if let Some(found) = wanted(&status) {
                        return found;
                    }
                    latest = status;
                }
                RunnerLine::Event { event } => self.events.push(event),
                RunnerLine::Answer { .. } => {}
            }
        }
        panic!("timed out: {what}; {latest:?}");
    }

    /// Waits until the agent has ended: exit, last lines, survivors.
    pub(crate) fn until_exited(&mut self) -> (Exit, Vec<String>, Vec<u32>) {
        self.until("exited", |status| match &status.phase {
            Phase::Exited { exit, last_lines, survivors } => {
                Some((exit.clone(), last_lines.clone(), survivors.clone()))
            }
            _ => None,
        })
    }

    pub(crate) fn until_up(&mut self) -> u32 {
        self.until("up", |status| matches!(status.phase, Phase::Up).then_some(status.agent_pid.unwrap()))
    }

    pub(crate) fn until_event<T>(&mut self, what: &str, wanted: impl Fn(&RunnerEvent) -> Option<T>) -> T {
        if let Some(found) = self.events.iter().find_map(&wanted) {
            return found;
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let RunnerLine::Event { event } = self.read().expect("an event") {
                if let Some(found) = wanted(&event) {
                    return found;
                }
                self.events.push(event);
            }
        }
        panic!("timed out: {what}");
    }

    pub(crate) fn stop(&mut self, grace: Option<f64>) -> (Option<Exit>, Vec<u32>) {
        match self.ask(Request::Stop { grace, spread: None, again: false }) {
            Answer::Stopped { exit, survivors } => (exit, survivors),
            other => panic!("{other:?}"),
        }
    }
}
