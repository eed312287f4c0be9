//! Agent files: loaded by a worker, served by the runner, and kept alive by it.

use crate::common::{Setup, kill, wait_for};
use crate::takeover::{Proxy, new_id};
use futures_util::{SinkExt, StreamExt};
use myagent_core::instance::ExitCause;
use myagent_core::wire::control::{Phase, Request, RunnerEvent};
use myagent_core::wire::launch::AgentLaunch;
use rustix::process::Signal;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tokio_websockets::Message;

const ECHO: &str = "
class Agent:
    def run(self, message):
        print('asked', message)
        return 'you said ' + message

agent = Agent()
";

/// The interpreter itself, not a launcher in front of it.
fn python() -> PathBuf {
    let output =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    PathBuf::from(String::from_utf8(output.unwrap().stdout).unwrap().trim())
}

pub(crate) fn agent(text: &str) -> Setup {
    let mut setup = Setup::new(|folder| AgentLaunch::File {
        path: folder.join("agent.py"),
        python: python(),
        worker: None,
    });
    std::fs::write(setup.folder.path().join("agent.py"), text).unwrap();
    setup.spec.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    setup.set("restart_delay=0.1")
}

/// A client with a session.
pub(crate) async fn begun(proxy: &Proxy) -> tokio_websockets::WebSocketStream<tokio::net::TcpStream> {
    let mut socket = proxy.conversation(new_id()).await;
    socket.send(Message::text(r#"{"event":"user.create_session"}"#)).await.unwrap();
    hears(&mut socket, "session").await;
    socket
}

pub(crate) async fn asks(
    socket: &mut tokio_websockets::WebSocketStream<tokio::net::TcpStream>,
    question: &str,
    wanted: &str,
) {
    let question = format!(r#"{{"event":"user.message","content":"{question}"}}"#);
    socket.send(Message::text(question)).await.unwrap();
    hears(socket, wanted).await;
}

pub(crate) async fn hears(
    socket: &mut tokio_websockets::WebSocketStream<tokio::net::TcpStream>,
    wanted: &str,
) {
    let heard = async {
        let mut heard = String::new();
        while !heard.contains(wanted) {
            heard = match socket.next().await {
                Some(Ok(message)) => message.as_text().unwrap_or_default().to_owned(),
                other => panic!("{other:?} instead of {wanted}"),
            };
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, heard).await.unwrap();
}

#[tokio::test]
async fn an_agent_file_is_served_and_its_worker_is_replaced_under_its_clients() {
    let mut rig = agent(ECHO).start();
    let mut manager = rig.connect();
    let first = manager.until_up();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let mut socket = begun(&proxy).await;
    asks(&mut socket, "hello", "you said hello").await;
    kill(first, Signal::KILL);
    let second = manager.until("the next worker", |status| match status.phase {
        Phase::Up => status.agent_pid.filter(|pid| *pid != first),
        _ => None,
    });
    assert_ne!(first, second);
    assert_eq!(manager.status().worker_restarts, 1);
    // The same socket goes on.
    asks(&mut socket, "again", "you said again").await;
    let asked = manager.send(Request::Stop { grace: None, spread: None, again: false });
    while let Some(Ok(message)) = socket.next().await {
        if let Some((code, _)) = message.as_close() {
            assert_eq!(u16::from(code), 1001);
        }
    }
    manager.answer_to(asked);
    rig.wait();
    // Its last report came before that answer: what the stop has ended is counted.
    let last = manager.events.iter().rev().find_map(|event| match event {
        RunnerEvent::Report(report) => Some(report.clone()),
        _ => None,
    });
    let last = last.unwrap();
    let turns = last.session_totals.unwrap().turns;
    assert_eq!((turns.accepted, turns.completed, last.active_connections), (2, 2, 0));
    assert!(rig.log_lines().iter().any(|line| line["line"] == "asked hello"));
    TcpListener::bind(("127.0.0.1", rig.spec.port)).unwrap();
}

#[test]
fn what_cannot_be_loaded_is_told_in_pythons_words() {
    for (text, expected) in [
        ("def broken(:\n", "SyntaxError"),
        ("x = 1\n", "agent"),
        ("import nowhere_at_all\n", "nowhere_at_all"),
    ] {
        let rig = agent(text).start();
        let (exit, _, _) = rig.connect().until_exited();
        match exit.cause {
            ExitCause::LoadFailed { message } => assert!(message.contains(expected), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_port_that_is_taken_and_a_python_that_is_not_there() {
    let mut setup = agent(ECHO);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    setup.spec.port = taken.local_addr().unwrap().port();
    let message = |setup: Setup| match setup.start().connect().until_exited().0.cause {
        ExitCause::SpawnFailed { message } => message,
        other => panic!("{other:?}"),
    };
    let message_of_port = message(setup);
    assert!(message_of_port.contains("cannot listen on 127.0.0.1:"), "{message_of_port}");
    let mut setup = agent(ECHO);
    if let AgentLaunch::File { python, .. } = &mut setup.spec.agent {
        *python = "/nowhere/python3".into();
    }
    assert!(message(setup).contains("/nowhere/python3"), "the interpreter is named");
}

#[test]
fn a_worker_that_keeps_dying_is_given_up() {
    let setup = agent(
        "import os, threading\nclass Agent:\n    def run(self, message):\n        return ''\nagent = Agent()\nthreading.Timer(0.05, lambda: os._exit(9)).start()\n",
    );
    let rig = setup.set("max_restart_count=2").start();
    let mut manager = rig.connect();
    let (exit, _, survivors) = manager.until_exited();
    assert_eq!((exit.cause, survivors), (ExitCause::Code { code: 9 }, vec![]));
    assert_eq!(manager.status().worker_restarts, 2);
}

#[test]
fn a_file_that_never_finishes_loading_is_given_up() {
    let rig = agent("import time\ntime.sleep(300)\n").set("start_timeout=0.5").start();
    let mut manager = rig.connect();
    let (exit, _, survivors) = manager.until_exited();
    assert!(exit.cause.to_string().contains("start_timeout"), "{}", exit.cause);
    assert_eq!(survivors, Vec::<u32>::new());
    wait_for("the port", || TcpListener::bind(("127.0.0.1", rig.spec.port)).ok());
}

#[tokio::test]
async fn a_worker_with_a_thread_that_never_ends_is_replaced_and_nobody_notices() {
    let mut setup = agent(
        "
import time
class Agent:
    def __init__(self):
        self.count = 0
    def run(self, message):
        self.count += 1
        while message == 'for ever':
            time.sleep(0.01)
        return '%s %d' % (message, self.count)
    def export_state(self):
        return self.count
    def import_state(self, state):
        self.count = state

def create_agent():
    return Agent()
",
    );
    setup.spec.environment.insert("MYAGENT_WORKER_STUCK_AFTER".to_owned(), "0.3".to_owned());
    // A crash would end it: then there would be no next worker.
    let rig = setup.set("auto_restart=false").start();
    let mut manager = rig.connect();
    let first = manager.until_up();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let mut socket = begun(&proxy).await;
    asks(&mut socket, "hello", "hello 1").await;
    let frame = |event: &str| Message::text(format!(r#"{{"event":"{event}","content":"for ever"}}"#));
    socket.send(frame("user.message")).await.unwrap();
    socket.send(frame("user.cancel")).await.unwrap();
    hears(&mut socket, "agent.interrupted").await;
    // It waits for the thread, and then for the next worker.
    asks(&mut socket, "again", "again 2").await;
    let status = manager.status();
    assert_eq!(status.phase, Phase::Up);
    assert_ne!(status.agent_pid, Some(first));
    assert!(!crate::common::is_alive(first));
    let phases = manager.events.iter().filter_map(|event| match event {
        RunnerEvent::Status(status) => Some(status.phase.clone()),
        _ => None,
    });
    assert_eq!(phases.filter(|phase| *phase != Phase::Up).count(), 0, "no manager takes it out of routing");
    manager.until_event("its notice", |event| match event {
        RunnerEvent::Notice { kind, .. } => (kind == "worker_recycled").then_some(()),
        _ => None,
    });
    asks(&mut socket, "third", "third 3").await;
}

#[tokio::test]
async fn a_worker_of_its_own_is_started_with_the_agent_file() {
    let worker = "#!/usr/bin/env python3
import json, os, socket, sys
assert sys.argv[1] == os.environ['MYAGENT_AGENT_FILE'] and os.path.exists(sys.argv[1]), sys.argv
assert os.getcwd() == os.path.dirname(sys.argv[1])
host = socket.socket(fileno=int(os.environ['MYAGENT_WORKER_FD']))
lines = host.makefile()
def say(**line):
    host.sendall((json.dumps(line) + '\\n').encode())
say(type='ready', protocol=json.loads(lines.readline())['protocol']['max'], name='tiny')
for line in lines:
    line = json.loads(line)
    if line['type'] == 'open':
        say(type='opened', session=line['session'])
    elif line['type'] == 'turn':
        say(type='final', session=line['session'], turn=line['turn'], content='tiny: ' + line['content'])
    elif line['type'] == 'ping':
        say(type='pong', number=line['number'])
";
    let mut setup = agent("not Python at all");
    let path = setup.folder.path().join("worker");
    std::fs::write(&path, worker).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    if let AgentLaunch::File { python, worker, .. } = &mut setup.spec.agent {
        (*python, *worker) = (PathBuf::new(), Some(path));
    }
    let rig = setup.start();
    let mut manager = rig.connect();
    let first = manager.until_up();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let mut socket = begun(&proxy).await;
    asks(&mut socket, "hello", "tiny: hello").await;
    kill(first, Signal::KILL);
    asks(&mut socket, "again", "tiny: again").await;
}
