//! Agent files: loaded by a worker, served by the runner, and kept alive by it.

use crate::common::{Setup, kill, wait_for};
use crate::takeover::{Proxy, new_id};
use futures_util::{SinkExt, StreamExt};
use myagent_core::instance::ExitCause;
use myagent_core::wire::control::{Phase, Request};
use myagent_core::wire::launch::AgentLaunch;
use rustix::process::Signal;
use std::net::TcpListener;
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

fn agent(text: &str) -> Setup {
    let mut setup =
        Setup::new(|folder| AgentLaunch::File { path: folder.join("agent.py"), python: python() });
    std::fs::write(setup.folder.path().join("agent.py"), text).unwrap();
    setup.spec.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    setup.set("restart_delay=0.1")
}

async fn asks(
    socket: &mut tokio_websockets::WebSocketStream<tokio::net::TcpStream>,
    question: &str,
    wanted: &str,
) {
    let question = format!(r#"{{"event":"user.message","content":"{question}"}}"#);
    socket.send(Message::text(question)).await.unwrap();
    hears(socket, wanted).await;
}

async fn hears(socket: &mut tokio_websockets::WebSocketStream<tokio::net::TcpStream>, wanted: &str) {
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
    let mut socket = proxy.conversation(new_id()).await;
    socket.send(Message::text(r#"{"event":"user.create_session"}"#)).await.unwrap();
    hears(&mut socket, "session").await;
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
    let asked = manager.send(Request::Stop { grace: None });
    while let Some(Ok(message)) = socket.next().await {
        if let Some((code, _)) = message.as_close() {
            assert_eq!(u16::from(code), 1001);
        }
    }
    manager.answer_to(asked);
    rig.wait();
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
