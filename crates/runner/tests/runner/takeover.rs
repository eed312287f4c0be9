//! Clients that come over the take-over socket with their own, as a proxy hands them over.

use crate::common::{Setup, wait_for};
use futures_util::{SinkExt, StreamExt};
use myagent_core::ConnectionId;
use myagent_core::routing::PoolKind;
use myagent_core::wire::control::{Answer, Report, Request, RunnerEvent, RunnerLine};
use myagent_core::wire::handover::{Down, Offer, Refusal, Up, decode, encode};
use myagent_core::wire::launch::AgentLaunch;
use myagent_handover::{Channel, Received};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use tokio::net::{TcpListener as AsyncListener, TcpStream};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream, client};
use uuid::Uuid;

/// A WebSocket server that says everything back, on a thread of its own until the test ends.
pub(crate) fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = AsyncListener::from_std(listener).unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(async move {
                    let Ok((_, mut socket)) = ServerBuilder::new().accept(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() && socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

/// What a proxy does: accepts a client, reads its request, and hands its socket over.
pub(crate) struct Proxy {
    channel: Channel,
}

impl Proxy {
    pub(crate) async fn connect(takeover: &Path) -> Self {
        Self { channel: Channel::connect(takeover).await.unwrap() }
    }

    /// A client of ours whose other end is offered to the runner.
    pub(crate) async fn offer(&self, connection_id: ConnectionId) -> (TcpStream, Up, Option<Received>) {
        let listener = AsyncListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, from) = listener.accept().await.unwrap();
        let head = b"GET /s/weather/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: test\r\n\r\n";
        let offer = Offer {
            connection_id,
            client: from,
            strategy: "round_robin".into(),
            rule: Some("all".into()),
            pool: Some(PoolKind::Rule),
            head_len: head.len(),
            attempt: 0,
        };
        let mut message = Vec::new();
        encode(&mut message, &Down::Offer(offer), &[head]).unwrap();
        self.channel.send(&message, Some(server.as_fd())).await.unwrap();
        drop(server);
        let received = self.channel.recv(&mut message).await.unwrap().unwrap();
        let (up, raw) = decode::<Up>(&message).unwrap();
        if let Up::GivenBack { .. } = &up {
            assert_eq!(raw, head);
            assert!(received.descriptor.is_some());
        }
        (client, up, Some(received))
    }

    /// A client whose conversation the runner took.
    pub(crate) async fn conversation(&self, connection_id: ConnectionId) -> WebSocketStream<TcpStream> {
        let (mut client, up, _) = self.offer(connection_id).await;
        assert_eq!(up, Up::Taken { connection_id });
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tokio::io::AsyncReadExt::read_u8(&mut client).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        client::Builder::new().take_over(client)
    }
}

pub(crate) fn new_id() -> ConnectionId {
    ConnectionId(Uuid::new_v4())
}

pub(crate) fn external(address: SocketAddr) -> Setup {
    Setup::new(|_| AgentLaunch::External { url: format!("ws://{address}/") })
}

fn full_report(manager: &mut crate::common::Manager) -> Report {
    match manager.ask(Request::FullReport) {
        Answer::Report(report) => *report,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_is_taken_talks_and_is_disconnected() {
    let rig = external(echo_server()).start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let id = new_id();
    let mut socket = proxy.conversation(id).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("hello"));
    let report = full_report(&mut manager);
    assert_eq!((report.active_connections, report.open[0].connection_id), (1, id));
    assert_eq!((report.open[0].rule.as_deref(), report.open[0].pool), (Some("all"), Some(PoolKind::Rule)));
    // The proxy goes; the conversation does not.
    drop(proxy);
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("still here"));
    let disconnect = Request::Disconnect { connection_id: id, code: 4001, reason: "enough".into() };
    assert_eq!(manager.ask(disconnect), Answer::Disconnected { closed: true });
    let close = socket.next().await.unwrap().unwrap();
    assert_eq!(u16::from(close.as_close().unwrap().0), 4001);
    // The answer to the close goes out with the next look.
    assert!(socket.next().await.is_none());
    drop(socket);
    let closed = manager.until_event("the closed record", |event| match event {
        RunnerEvent::Report(report) => report.closed.first().cloned(),
        _ => None,
    });
    assert_eq!((closed.code, closed.connection.messages_in), (4001, 2));
    assert_eq!(manager.ask(Request::AckClosed { up_to: closed.number }), Answer::Done);
    assert!(full_report(&mut manager).closed.is_empty());
}

#[tokio::test]
async fn clients_that_left_in_a_rush_are_told_of_as_fast_as_that_is_taken() {
    /// What two reports have room for.
    const CLIENTS: usize = 2000;
    let rig = external(echo_server()).start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    for _ in 0..CLIENTS {
        drop(proxy.conversation(new_id()).await);
    }
    let told = wait_for("the end of all conversations", || {
        let report = full_report(&mut manager);
        report.open.is_empty().then_some(report.closed)
    });
    let newest = told.last().unwrap().number;
    assert_eq!((told.len(), newest), (1000, 1000));
    // With the acknowledgement comes the rest.
    manager.send(Request::AckClosed { up_to: newest });
    let mut last = None;
    while last != Some(2000) {
        if let RunnerLine::Event { event: RunnerEvent::Report(report) } = manager.read().unwrap() {
            last = report.closed.last().map(|closed| closed.number).or(last);
        }
    }
    manager.stop(None);
}

#[tokio::test]
async fn clients_are_given_back_untouched() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = external(nobody).start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let (_client, up, _) = proxy.offer(new_id()).await;
    assert!(matches!(up, Up::GivenBack { reason: Refusal::ConnectFailed, .. }), "{up:?}");
    manager.ask(Request::Drain { draining: true, window: None });
    let (_client, up, _) = proxy.offer(new_id()).await;
    assert!(matches!(up, Up::GivenBack { reason: Refusal::Draining, .. }), "{up:?}");
    let rig = Setup::script("exit 0").start();
    rig.connect().until_exited();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let (_client, up, _) = proxy.offer(new_id()).await;
    assert!(matches!(up, Up::GivenBack { reason: Refusal::NotReady, .. }), "{up:?}");
}

#[tokio::test]
async fn full_is_full_and_a_stop_says_goodbye() {
    let mut rig = external(echo_server()).set("max_sessions=1").start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    let mut socket = proxy.conversation(new_id()).await;
    let (_client, up, _) = proxy.offer(new_id()).await;
    assert!(matches!(up, Up::GivenBack { reason: Refusal::Full, .. }), "{up:?}");
    let asked = manager.send(Request::Stop { grace: None, spread: None, again: false });
    let close = socket.next().await.unwrap().unwrap();
    assert_eq!(u16::from(close.as_close().unwrap().0), 1001);
    let _ = socket.next().await;
    assert_eq!(manager.answer_to(asked), Answer::Stopped { exit: None, survivors: vec![] });
    rig.wait();
}

#[tokio::test]
async fn garbage_on_the_take_over_socket_is_ignored() {
    let rig = external(echo_server()).start();
    let mut manager = rig.connect();
    let proxy = Proxy::connect(&rig.spec.paths.takeover).await;
    proxy.channel.send(b"garbage", None).await.unwrap();
    proxy.channel.send(&[0xff; 100], None).await.unwrap();
    let mut socket = proxy.conversation(new_id()).await;
    socket.send(Message::text("x")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("x"));
    wait_for("the connection", || (full_report(&mut manager).active_connections == 1).then_some(()));
}
