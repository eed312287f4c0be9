//! Runners whose clients are to leave: to another runner of the service, or away.

use crate::common::Manager;
use crate::file::{agent, asks, begun, hears};
use crate::takeover::{Proxy, echo_server, external, new_id};
use futures_util::{SinkExt, StreamExt};
use myagent_core::StartId;
use myagent_core::wire::control::{Answer, Drained, Request};
use std::net::TcpListener;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_websockets::{Message, WebSocketStream};
use uuid::Uuid;

const COUNTS: &str = "
import asyncio
class Agent:
    def __init__(self):
        self.count = 0
    async def astream(self, message, ctx):
        self.count += 1
        yield 'begun'
        await asyncio.sleep(float(message))
        yield 'number %d' % self.count
    def export_state(self):
        return self.count
    def import_state(self, state):
        self.count = state
def create_agent():
    return Agent()
";

fn drain(window: f64) -> Request {
    Request::Drain { draining: true, window: Some(window) }
}

fn connections(manager: &mut Manager) -> u32 {
    match manager.ask(Request::FullReport) {
        Answer::Report(report) => report.active_connections,
        other => panic!("{other:?}"),
    }
}

async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    loop {
        if let Some((code, _)) = socket.next().await.unwrap().unwrap().as_close() {
            return code.into();
        }
    }
}

#[tokio::test]
async fn clients_go_on_in_another_runner() {
    let first = agent(COUNTS).start();
    let mut other = agent(COUNTS);
    other.spec.index = 1;
    other.spec.start_id = StartId(Uuid::new_v4());
    other.spec.paths.journal.clone_from(&first.spec.paths.journal);
    let second = other.start();
    let (mut one, mut two) = (first.connect(), second.connect());
    one.until_up();
    two.until_up();
    let proxy = Proxy::connect(&first.spec.paths.takeover).await;
    let (mut idle, mut busy) = (begun(&proxy).await, begun(&proxy).await);
    asks(&mut idle, "0", "number 1").await;
    asks(&mut busy, "0.5", "begun").await;
    let asked = one.send(drain(30.0));
    // Whoever asks as well waits for the same, and others are answered meanwhile.
    let mut another = first.connect();
    let also = another.send(drain(1.0));
    assert!(one.stream.peer_addr().is_ok());
    hears(&mut busy, "final_answer").await;
    let moved = Answer::Drained(Drained { moved: 2, ..Drained::default() });
    assert_eq!((one.answer_to(asked), another.answer_to(also)), (moved.clone(), moved.clone()));
    assert_eq!(one.ask(drain(1.0)), moved);
    assert_eq!((connections(&mut one), connections(&mut two)), (0, 2));
    for socket in [&mut idle, &mut busy] {
        asks(socket, "0", "number 2").await;
    }
    // The first one may end now.
    one.stop(None);
    asks(&mut busy, "0", "number 3").await;
    two.stop(None);
}

#[tokio::test]
async fn behind_a_relay_they_are_sent_away() {
    let rig = external(echo_server()).start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let (mut silent, mut waits) = (proxy.conversation(new_id()).await, proxy.conversation(new_id()).await);
    // The server answers text, and nothing else.
    waits.send(Message::binary(vec![1])).await.unwrap();
    while connections(&mut manager) < 2 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let asked = manager.send(drain(1.5));
    assert_eq!(close_code(&mut silent).await, 1012);
    assert!(began.elapsed() < Duration::from_millis(1500));
    assert_eq!(close_code(&mut waits).await, 1012);
    assert!(began.elapsed() >= Duration::from_millis(1500));
    assert_eq!(manager.answer_to(asked), Answer::Drained(Drained { closed: 2, ..Drained::default() }));
    // Taken back, it takes clients again.
    assert_eq!(manager.ask(Request::Drain { draining: false, window: None }), Answer::Done);
    let mut socket = proxy.conversation(new_id()).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("hello"));
    assert!(!manager.status().draining);
}

/// When each of these clients was told, and with which code.
async fn told(sockets: Vec<WebSocketStream<TcpStream>>) -> Vec<(Instant, u16)> {
    let told = sockets.into_iter().map(async |mut socket| {
        let code = close_code(&mut socket).await;
        (Instant::now(), code)
    });
    futures_util::future::join_all(told).await
}

#[tokio::test]
async fn a_stop_tells_clients_one_after_the_other() {
    for (again, code) in [(false, 1001), (true, 1012)] {
        for relayed in [false, true] {
            let rig = if relayed { external(echo_server()) } else { agent(COUNTS) };
            let rig = rig.set("stop_grace=10").start();
            let mut manager = rig.connect();
            manager.until("up", |status| {
                matches!(status.phase, myagent_core::wire::control::Phase::Up).then_some(())
            });
            let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
            let mut sockets = Vec::new();
            for _ in 0..10 {
                sockets.push(proxy.conversation(new_id()).await);
            }
            let asked = manager.send(Request::Stop { grace: None, spread: Some(0.5), again });
            let told = told(sockets).await;
            assert!(told.iter().all(|(_, found)| *found == code), "{told:?}");
            let (first, last) = (told.iter().min().unwrap().0, told.iter().max().unwrap().0);
            // The tenth of ten over half a second, at a tenth of it to spare.
            assert!(last - first >= Duration::from_millis(400), "{:?}", last - first);
            assert!(matches!(manager.answer_to(asked), Answer::Stopped { .. }));
            let port = rig.spec.port;
            drop(rig);
            if port > 1 {
                TcpListener::bind(("127.0.0.1", port)).unwrap();
            }
        }
    }
}
