//! Clients whose network vanishes without a word: they are noticed in time, by runners that need no manager for it, and they
//! are counted.

use crate::fleet::{instance, is_soak, manager, number, register, start_fake};
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use myagent_testkit::client::connect;
use myagent_testkit::vanish::{Seen, ends_towards, look, vanish};
use myagent_testkit::{EventClient, wait_for};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_websockets::{ServerBuilder, WebSocketStream};

/// Silence of 25 s, 10 s for the pong, a second for a frame that is on its way; and twenty for the machine.
const PINGED: Duration = Duration::from_secs(56);
/// What cannot be pinged is given up by the kernel after 60 s.
const ASKED: Duration = Duration::from_secs(85);

/// For what answers to clients only.
const UNCHECKED: [&str; 5] = ["--set", "ready=tcp", "--set", "health_check_enabled=false", "--auto-start"];

const ECHO: &str = r"
class Agent:
    async def astream(self, message):
        yield message

def create_agent():
    return Agent()
";

/// Says one thing to each client, and then nothing for ever.
const EVENTS: &str = r#"
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
kept = []
while True:
    client, _ = server.accept()
    kept.append(client)
    if client.recv(65536):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n")
"#;

/// Waits until the kernel has nothing to do for this end but to ask, one day, whether the other one is there.
async fn is_watched(local: SocketAddr, remote: SocketAddr, what: &str) {
    let watched = Some(Seen { open: true, watched: true });
    let what = format!("{what} is watched");
    wait_for(Duration::from_secs(20), &what, async || {
        (look(local, remote).unwrap() == watched).then_some(())
    })
    .await;
}

/// A client of an event stream that has got its first event.
async fn listen(server: SocketAddr, name: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    let request = format!("GET /s/{name} HTTP/1.1\r\nHost: front\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"data: hello\n\n") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "{}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    };
    timeout(Duration::from_secs(20), read).await.context("no event")??;
    Ok(stream)
}

#[tokio::test]
async fn a_client_whose_network_vanishes_is_noticed_without_a_manager() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let proxy = server.address("proxy")?;
    std::fs::write(manager.work_dir().join("agent.py"), ECHO)?;
    manager.ok(&["register", "file", "agent.py", "--auto-start"]).await?;
    start_fake(&manager, "command", &[], &[]).await?;
    register(&manager, "events", &UNCHECKED, &["python3", "-c", EVENTS]).await?;

    let mut talking = Vec::new();
    let mut vanished = Vec::new();
    for name in ["file", "command"] {
        let mut client = EventClient::connect(&server.ws_url(&format!("/s/{name}"))?).await?;
        let session = client.create_session().await?;
        client.turn(&session, "hello").await?;
        let socket = client.raw()?;
        vanished.push((name, socket.local_addr()?, PINGED));
        vanish(&socket)?;
        talking.push((client, socket));
    }
    let listening = listen(proxy, "events").await?;
    vanished.push(("events", listening.local_addr()?, ASKED));
    vanish(&listening)?;
    let began = Instant::now();
    for (name, client, _) in &vanished {
        is_watched(proxy, *client, name).await;
    }

    server.signal(Signal::KILL);
    assert_eq!(server.wait().await?, 128 + 9);
    if !is_soak() {
        // It takes a minute; what it rests on was looked at above.
        vanished.truncate(2);
    }
    for (name, client, bound) in &vanished {
        let left = bound.saturating_sub(began.elapsed());
        wait_for(left, name, async || {
            let seen = look(proxy, *client).unwrap();
            seen.is_none_or(|seen| !seen.open).then_some(())
        })
        .await;
        assert!(began.elapsed() > Duration::from_secs(30), "{name} is not given a chance");
        eprintln!("{name}: noticed after {:?}", began.elapsed());
    }
    let _server = manager.up().await?;
    for (name, ..) in &vanished {
        wait_for(Duration::from_secs(20), "it is counted", async || {
            let status = manager.json(&["status", name]).await.ok()?;
            let stats = &status["stats"];
            (stats["vanished_clients"] == 1 && stats["active_connections"] == 0).then_some(())
        })
        .await;
    }
    Ok(())
}

/// An external service: its WebSockets, as they are opened.
async fn far(listener: TcpListener, opened: mpsc::Sender<WebSocketStream<TcpStream>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Probes of ours end before they have asked for anything.
        if let Ok((_, socket)) = ServerBuilder::new().accept(stream).await {
            opened.send(socket).await.unwrap();
        }
    }
}

#[tokio::test]
async fn so_is_an_external_service_and_a_local_agent_may_think() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let service = listener.local_addr()?;
    let url = format!("ws://{service}/");
    let (sender, mut opened) = mpsc::channel(1);
    let mut serving = JoinSet::new();
    serving.spawn(far(listener, sender));
    manager.ok(&[&["register", "far", "--endpoint", url.as_str()][..], &UNCHECKED].concat()).await?;
    start_fake(&manager, "near", &[], &[]).await?;

    let mut client = connect(&server.ws_url("/s/far")?).await?;
    let socket = timeout(Duration::from_secs(20), opened.recv()).await?.context("nobody came")?;
    let relay = socket.get_ref().peer_addr()?;
    is_watched(relay, service, "far").await;

    let _other = connect(&server.ws_url("/s/near")?).await?;
    let agent = instance(&manager, "near").await?;
    let agent = SocketAddr::from(([127, 0, 0, 1], u16::try_from(number(&agent["port"])?)?));
    let ends = ends_towards(agent)?;
    ensure!(ends.iter().any(|(_, seen)| seen.open), "no connection to {agent}");
    ensure!(ends.iter().all(|(_, seen)| !seen.open || !seen.watched), "{ends:?}");
    if is_soak() {
        vanish(socket.get_ref())?;
        let began = Instant::now();
        // It answers pings meanwhile; the client is not the one who has vanished.
        let end = async { while let Some(Ok(_)) = client.next().await {} };
        timeout(Duration::from_mins(3), end).await.context("nobody noticed")?;
        ensure!(began.elapsed() > Duration::from_secs(100), "it is not given a chance");
        eprintln!("external service: noticed after {:?}", began.elapsed());
    }
    Ok(())
}
