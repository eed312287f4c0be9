//! The front: handshakes, clients that are given back, closing.

use crate::conversation::ECHO;
use crate::rig::{LONG, Rig, run, with_agent, with_config};
use futures_util::{SinkExt as _, StreamExt as _};
use myagent_core::ConnectionId;
use myagent_core::config::ServiceConfig;
use myagent_core::wire::handover::{Offer, Refusal};
use myagent_relay::client::Client as Taken;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Message};

async fn http(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[test]
fn what_is_no_websocket_gets_a_small_answer() {
    with_agent(ECHO, async |rig| {
        let answer = http(rig.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("WebSocket"), "{answer}");
        let answer = http(rig.address, "nonsense\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let answer = http(rig.address, &format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000))).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(rig.table.open_count(), 0);
    });
}

#[test]
fn pages_from_elsewhere_do_not_get_in_by_the_agents_own_port() {
    with_agent(ECHO, async |rig| {
        let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let answer = http(rig.address, &format!("{head}Origin: https://evil.example\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert_eq!(rig.table.open_count(), 0);
        let name = "origin".parse().unwrap();
        let url = format!("ws://{}/", rig.address);
        let builder = ClientBuilder::new().uri(&url).unwrap();
        let builder = builder.add_header(name, "http://localhost:3000".parse().unwrap()).unwrap();
        builder.connect().await.unwrap();
    });
}

#[test]
fn a_probe_takes_no_place_and_asks_for_the_worker() {
    with_config(ECHO, ServiceConfig { max_sessions: 1, ..Default::default() }, async |mut rig| {
        let url = format!("ws://{}/", rig.address);
        let builder = || {
            let name = "x-myagent-probe".parse().unwrap();
            ClientBuilder::new().uri(&url).unwrap().add_header(name, "1".parse().unwrap()).unwrap()
        };
        let (mut probe, _) = builder().connect().await.unwrap();
        let mut client = rig.client().await;
        probe.send(Message::ping("a")).await.unwrap();
        let pong = timeout(LONG, probe.next()).await.unwrap().unwrap().unwrap();
        assert!(pong.is_pong(), "{pong:?}");
        assert_eq!(rig.table.open_count(), 1);
        probe.send(Message::text("{\"event\":\"user.create_session\"}")).await.unwrap();
        let error = timeout(LONG, probe.next()).await.unwrap().unwrap().unwrap();
        assert!(error.as_text().unwrap().contains("a probe has no conversation"));
        // Full: one more is refused.
        let refused = ClientBuilder::new().uri(&url).unwrap().connect().await.unwrap_err();
        assert!(refused.to_string().contains("503") || format!("{refused:?}").contains("503"), "{refused:?}");
        let session = client.session().await;
        assert_eq!(client.ask(&session, "x").await, "echo: x");
        rig.kill();
        rig.host.worker_lost();
        assert!(builder().connect().await.is_err(), "no worker, no success");
    });
}

/// A client as the proxy hands it over, and its other end.
async fn handed_over(rest: &[u8]) -> (Taken, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, address) = listener.accept().await.unwrap();
    let head = b"GET /s/test/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: tester\r\n\r\n";
    let offer = Offer {
        connection_id: ConnectionId(uuid::Uuid::nil()),
        client: address,
        strategy: "round_robin".to_owned(),
        rule: None,
        pool: None,
        head_len: head.len(),
        attempt: 0,
    };
    let stream = theirs.into_std().unwrap();
    (Taken { offer, head: head.to_vec(), rest: rest.to_vec(), stream }, ours)
}

#[test]
fn a_client_is_taken_with_what_was_read_or_given_back_untouched() {
    run(async {
        let mut rig = Rig::new(ServiceConfig { max_sessions: 1, ..Default::default() }).await;
        rig.write(ECHO);
        let refusal = |taken: Taken| rig.host.begin(taken).err().map(|back| back.reason);
        let (taken, _client) = handed_over(b"").await;
        assert_eq!(refusal(taken), Some(Refusal::NotReady));
        rig.start().await.unwrap();
        rig.table.set_draining(true);
        let (taken, _client) = handed_over(b"").await;
        assert_eq!(rig.host.begin(taken).err().map(|back| back.reason), Some(Refusal::Draining));
        rig.table.set_draining(false);

        // {"type":"ping"}, masked with zeros.
        let text = b"{\"type\":\"ping\"}";
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text);
        let (taken, mut client) = handed_over(&frame).await;
        let serving = rig.host.begin(taken).unwrap();
        tokio::task::spawn_local(serving);
        let (taken, _client) = handed_over(b"").await;
        assert_eq!(rig.host.begin(taken).err().map(|back| back.reason), Some(Refusal::Full));
        let mut answer = Vec::new();
        while !answer.ends_with(b"{\"type\":\"pong\"}") {
            assert_ne!(timeout(LONG, client.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("X-MyAgent-Instance: test-0\r\n"), "{answer}");
        let report = rig.table.report(true);
        assert_eq!(report.open[0].user_agent.as_deref(), Some("tester"));
        assert_eq!((report.open[0].messages_in, report.open[0].messages_out), (1, 2));

        // Closed from elsewhere.
        assert!(rig.table.disconnect(ConnectionId(uuid::Uuid::nil()), 4000, "go away"));
        let mut end = Vec::new();
        timeout(LONG, client.read_to_end(&mut end)).await.unwrap().unwrap();
        assert_eq!(end, b"\x88\x09\x0f\xa0go away");
        while rig.table.open_count() > 0 {
            tokio::task::yield_now().await;
        }
        let closed = &rig.table.report(true).closed[0];
        assert_eq!((closed.code, closed.reason.as_str()), (4000, "go away"));
    });
}

#[test]
fn a_message_may_have_its_size_and_not_more() {
    with_config(ECHO, ServiceConfig { max_message_kb: 1, ..Default::default() }, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        assert_eq!(client.ask(&session, &"x".repeat(500)).await.len(), 506);
        client.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        assert_eq!(client.expect("system.error").await["metadata"]["code"], "MALFORMED");
        client.say(&session, &"x".repeat(1025)).await;
        assert_eq!(client.closed().await, (1009, "message too large".to_owned()));
    });
}

#[test]
fn a_close_is_answered_and_noted() {
    with_agent(ECHO, async |rig| {
        let mut client = rig.client().await;
        client.session().await;
        let close = Message::close(Some(4001.try_into().unwrap()), "bye");
        client.socket.send(close).await.unwrap();
        assert_eq!(client.closed().await.0, 4001);
        while rig.table.open_count() > 0 {
            tokio::task::yield_now().await;
        }
        let closed = &rig.table.report(true).closed[0];
        assert_eq!((closed.code, closed.reason.as_str()), (4001, "bye"));
        assert_eq!(rig.host.sessions(), (0, 1));
    });
}

#[test]
fn a_stop_tells_running_turns_and_closes() {
    let source = "
import asyncio
class A:
    async def arun(self, text, ctx):
        ctx.emit('agent.thinking')
        await asyncio.sleep(1000)
agent = A()
";
    with_agent(source, async |mut rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "x").await;
        client.expect("agent.thinking").await;
        let host = rig.host.clone();
        let stopping =
            tokio::task::spawn_local(async move { host.stop(1012, "service restart", Duration::ZERO).await });
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "INTERRUPTED_BY_RESTART");
        assert_eq!(client.closed().await, (1012, "service restart".to_owned()));
        stopping.await.unwrap();
        assert_eq!(rig.worker_exit().await.code(), Some(0));
        assert!(!rig.host.is_ready());
    });
}

#[test]
fn sessions_without_a_connection_are_limited_in_memory() {
    let config = ServiceConfig { max_detached_sessions: 2, session_timeout: 30.0, ..Default::default() };
    with_config(ECHO, config, async |rig| {
        let mut ids = Vec::new();
        for number in 1..=3 {
            let mut client = rig.client().await;
            ids.push(client.session().await);
            drop(client);
            while rig.host.sessions() != (0, number.min(2)) {
                tokio::task::yield_now().await;
            }
        }
        // Those that made room are in the journal.
        for id in &ids {
            let mut client = rig.client().await;
            client.send(json!({"event":"user.reconnect","session_id":id,"last_seq":1})).await;
            let restored: Value = client.expect("agent.state_restored").await;
            assert_eq!((&restored["session_id"], &restored["metadata"]["last_seq"]), (&json!(id), &json!(1)));
            client.expect("system.notice").await;
            assert_eq!(client.ask(id, "still there?").await, "echo: still there?");
        }
        // Who came back to one that had left memory may be silent for as long as it likes.
        let mut client = rig.client().await;
        client.send(json!({"event":"user.reconnect","session_id":ids[0],"last_seq":2})).await;
        client.until("system.notice").await;
        while rig.host.sessions().0 != 1 {
            tokio::task::yield_now().await;
        }
        rig.clock.advance(Duration::from_secs(59));
        while rig.host.sessions() != (1, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.say(&ids[0], "still there?").await;
        assert_eq!(client.until("agent.final_answer").await.pop().unwrap()["content"], "echo: still there?");
        // The others have expired.
        client.send(json!({"event":"user.reconnect","session_id":ids[1],"last_seq":2})).await;
        client.expect("error.recovery_failed").await;
    });
}
