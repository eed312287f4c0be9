//! How a client gets to its instance: which one, over which path, when it waits and when it is turned away.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use myagent_testkit::client::connect;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, fake_agent, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_websockets::{CloseCode, Message, ServerBuilder};

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_mins(1);

fn manager() -> Result<TestManager> {
    TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))
}

/// Registers a fake agent and starts it.
async fn start_fake(manager: &TestManager, name: &str, options: &[&str], agent: &[&str]) -> Result<()> {
    let program = fake_agent::path();
    let program = ["--", program.to_str().context("a path that is no text")?];
    manager.ok(&[&["register", name, "--auto-start"], options, &program[..], agent].concat()).await?;
    Ok(())
}

/// The numbers of clients of a service, once they are what is expected.
async fn wait_for_clients(manager: &TestManager, name: &str, active: u64, total: u64) {
    let what = format!("{name} with {active} connections of {total}");
    wait_for(DEADLINE, &what, async || {
        let status = manager.json(&["status", name]).await.unwrap();
        let stats = &status["stats"];
        (stats["active_connections"] == active && stats["connections"] == total).then_some(())
    })
    .await;
}

/// A client that is turned away: told why, then closed with 1013.
async fn turned_away(url: &str) -> Result<Value> {
    let mut client = EventClient::connect(url).await?;
    let closed = client.until_closed().await?;
    assert_eq!(closed.0, 1013, "{closed:?}");
    assert_eq!(client.received.len(), 1, "{:?}", client.received);
    let told = client.received.remove(0);
    assert_eq!(
        (&told["event"], &told["metadata"]["code"]),
        (&"system.error".into(), &"ROUTING_FAILED".into())
    );
    assert!(
        told["metadata"]["retry_after_ms"].as_u64().is_some() || told["metadata"]["recoverable"] == false,
        "{told}"
    );
    Ok(told)
}

/// Proof that a connection is served by an agent.
async fn converse(client: &mut EventClient) -> Result<()> {
    let session = client.create_session().await?;
    client.turn(&session, "hello").await.map(drop)
}

#[tokio::test]
async fn clients_go_round_and_to_the_service_they_ask_for() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "pair", &["--replicas", "2"], &[]).await?;
    let mut open = Vec::new();
    let mut counts = BTreeMap::<String, u32>::new();
    for _ in 0..6 {
        let client = EventClient::connect(&server.ws_url("/s/pair/")?).await?;
        *counts.entry(client.headers["x-myagent-instance"].clone()).or_default() += 1;
        open.push(client);
    }
    assert_eq!(counts, BTreeMap::from([("pair-0".to_owned(), 3), ("pair-1".to_owned(), 3)]));
    wait_for_clients(&manager, "pair", 6, 6).await;

    start_fake(&manager, "other", &[], &[]).await?;
    for target in
        ["/?service=other", "/s/other", "/s/other/", "/s/other/deep/path?x=1", "/any/path?x=1&service=other"]
    {
        let client = EventClient::connect(&server.ws_url(target)?).await?;
        assert_eq!(client.headers["x-myagent-instance"], "other-0", "{target}");
        assert_eq!(client.headers["x-myagent-service"], "other");
        assert!(client.headers.contains_key("x-myagent-connection-id"), "{:?}", client.headers);
        open.push(client);
    }
    // Who asks for nothing gets any of them, all in turn.
    let mut seen = BTreeMap::<String, u32>::new();
    for _ in 0..6 {
        let client = EventClient::connect(&server.ws_url("/")?).await?;
        *seen.entry(client.headers["x-myagent-instance"].clone()).or_default() += 1;
        open.push(client);
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [2, 2, 2]);

    for url in ["/s/nobody", "/?service=nobody", "/s/nobody/?service=pair"] {
        let told = turned_away(&server.ws_url(url)?).await?;
        assert!(told["content"].as_str().unwrap().contains("\"nobody\""), "{url}: {told}");
        assert_eq!(told["metadata"]["recoverable"], false, "{told}");
    }
    for mut client in open {
        converse(&mut client).await?;
        client.close().await?;
    }
    wait_for_clients(&manager, "other", 0, 7).await;
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_runs_already_is_served_like_our_own() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("ws://{}/ws", listener.local_addr()?);
    let mut agent = JoinSet::new();
    agent.spawn(fake_agent::serve(listener, fake_agent::Options::default()));
    let registered = manager.ok(&["register", "legacy", "--endpoint", &endpoint, "--auto-start"]).await?;
    assert!(registered.stdout.contains("running"), "{registered}");

    let mut client = EventClient::connect(&server.ws_url("/s/legacy")?).await?;
    assert_eq!(client.headers["x-myagent-instance"], "legacy-0");
    converse(&mut client).await?;
    wait_for_clients(&manager, "legacy", 1, 1).await;
    client.close().await?;
    wait_for_clients(&manager, "legacy", 0, 1).await;
    // Stopped means: not routed to. The endpoint itself is nothing of ours.
    manager.ok(&["stop", "legacy"]).await?;
    turned_away(&server.ws_url("/s/legacy")?).await?;
    assert!(connect(&endpoint).await.is_ok());
    Ok(())
}

/// A server that closes with 4001 when it is told `close me`, and tells how it was closed.
async fn closing_server(
    listener: TcpListener,
    closed: tokio::sync::mpsc::Sender<(u16, String)>,
) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let (request, mut socket) = ServerBuilder::new().accept(stream).await?;
        let is_probe = request.headers().contains_key("x-myagent-probe");
        while let Some(Ok(message)) = socket.next().await {
            if message.as_text() == Some("close me") {
                let code = CloseCode::try_from(4001)?;
                socket.send(Message::close(Some(code), "come back later")).await?;
            } else if let Some((code, reason)) = message.as_close()
                && !is_probe
            {
                closed.send((code.into(), reason.to_owned())).await?;
            }
        }
    }
}

#[tokio::test]
async fn a_close_goes_through_with_its_code_and_reason_both_ways() -> Result<()> {
    let mut manager = manager()?;
    // The server takes one client at a time.
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "60");
    let server = manager.up().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("ws://{}", listener.local_addr()?);
    let (closed, mut told) = tokio::sync::mpsc::channel(8);
    let mut agent = JoinSet::new();
    agent.spawn(closing_server(listener, closed));
    let no_checks = ["--set", "health_check_enabled=false"];
    manager
        .ok(&[&["register", "legacy", "--endpoint", &endpoint, "--auto-start"], &no_checks[..]].concat())
        .await?;

    let url = server.ws_url("/s/legacy")?;
    let mut client = connect(&url).await?;
    client.send(Message::close(Some(CloseCode::try_from(4000)?), "enough for today")).await?;
    let heard = timeout(DEADLINE, told.recv()).await?.context("the server has ended")?;
    assert_eq!(heard, (4000, "enough for today".to_owned()));
    while let Some(Ok(_)) = client.next().await {}
    drop(client);

    let mut client = connect(&url).await?;
    client.send(Message::text("close me")).await?;
    let closed = loop {
        match timeout(DEADLINE, client.next()).await? {
            Some(Ok(message)) => {
                if let Some((code, reason)) = message.as_close() {
                    break (u16::from(code), reason.to_owned());
                }
            }
            end => bail!("no close frame, but {end:?}"),
        }
    };
    assert_eq!(closed, (4001, "come back later".to_owned()));
    // Going on to the end is what answers a close.
    while let Some(Ok(_)) = client.next().await {}
    drop(client);
    wait_for_clients(&manager, "legacy", 0, 2).await;
    Ok(())
}

#[tokio::test]
async fn who_comes_while_it_starts_waits_and_is_served() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "60");
    let server = manager.up().await?;
    let program = fake_agent::path();
    let program = program.to_str().context("a path that is no text")?;
    manager.ok(&["register", "late", "--", program, "--listen-after", "2"]).await?;
    let mut start = manager.command(&["start", "late"]).spawn()?;
    wait_for(DEADLINE, "starting", async || {
        let status = manager.json(&["status", "late"]).await.unwrap();
        (status["status"] == "starting").then_some(())
    })
    .await;
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let url = server.ws_url("/s/late")?;
        waiting.spawn(async move {
            let mut client = EventClient::connect(&url).await?;
            converse(&mut client).await?;
            client.close().await
        });
    }
    while let Some(served) = waiting.join_next().await {
        served??;
    }
    assert!(wait_for(DEADLINE, "the end of start", async || start.try_wait().unwrap()).await.success());
    wait_for_clients(&manager, "late", 0, 3).await;
    Ok(())
}

#[tokio::test]
async fn a_place_that_is_freed_goes_to_who_waits() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "60");
    let server = manager.up().await?;
    start_fake(&manager, "small", &["--max-sessions", "2"], &[]).await?;
    let url = server.ws_url("/s/small")?;
    let mut first = EventClient::connect(&url).await?;
    let mut second = EventClient::connect(&url).await?;
    converse(&mut first).await?;
    converse(&mut second).await?;
    let mut waiting = JoinSet::new();
    let third = url.clone();
    waiting.spawn(async move {
        let mut client = EventClient::connect(&third).await?;
        converse(&mut client).await.map(|()| client)
    });
    // It is not served while both places are taken, however often the queue tries.
    wait_for_clients(&manager, "small", 2, 2).await;
    assert!(timeout(Duration::from_secs(2), waiting.join_next()).await.is_err());
    wait_for_clients(&manager, "small", 2, 2).await;
    first.close().await?;
    let third = timeout(DEADLINE, waiting.join_next()).await?.context("it is gone")???;
    wait_for_clients(&manager, "small", 2, 3).await;
    converse(&mut second).await?;
    third.close().await
}

/// Fills a service with two places, kills the manager, and looks whether the next one holds the bound.
async fn holds_across_a_restart(manager: &TestManager, server: Server) -> Result<()> {
    let url = server.ws_url("/s/small")?;
    let mut first = EventClient::connect(&url).await?;
    let mut second = EventClient::connect(&url).await?;
    converse(&mut first).await?;
    let told = turned_away(&url).await?;
    let why = told["content"].as_str().unwrap();
    // Told by the runner, or by the front door that has heard from it.
    assert!(why.contains("are taken") || why.contains("full"), "{told}");
    assert_eq!(told["metadata"]["recoverable"], true, "{told}");
    let before = manager.json(&["status", "small"]).await?["instances"][0]["pid"].clone();

    server.signal(Signal::KILL);
    assert_eq!(server.wait().await?, 128 + 9);
    let server = manager.up().await?;
    let url = server.ws_url("/s/small")?;
    // At once, before anything else can have told the new manager of the places that are taken.
    turned_away(&url).await?;
    let after = manager.json(&["status", "small"]).await?;
    assert_eq!(after["instances"][0]["pid"], before, "it was started again: {after:#}");
    assert_eq!(after["restart_count"], 0);
    converse(&mut first).await?;
    converse(&mut second).await?;
    wait_for_clients(manager, "small", 2, 2).await;

    first.close().await?;
    // The place that is free now is one, not two.
    let mut third = wait_for(DEADLINE, "a place for the third", async || {
        let mut client = EventClient::connect(&url).await.unwrap();
        converse(&mut client).await.ok().map(|()| client)
    })
    .await;
    turned_away(&url).await?;
    converse(&mut third).await?;
    third.close().await?;
    second.close().await?;
    wait_for_clients(manager, "small", 0, 3).await;
    Ok(())
}

#[tokio::test]
async fn places_hold_across_a_killed_manager_for_a_command() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "0.5");
    let server = manager.up().await?;
    start_fake(&manager, "small", &["--max-sessions", "2"], &[]).await?;
    holds_across_a_restart(&manager, server).await
}

#[tokio::test]
async fn places_hold_across_a_killed_manager_for_an_agent_file() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "0.5");
    let server = manager.up().await?;
    let agent = "class Agent:\n    def run(self, message):\n        return message\n\nagent = Agent()\n";
    std::fs::write(manager.work_dir().join("agent.py"), agent)?;
    manager.ok(&["register", "small", "agent.py", "--max-sessions", "2", "--auto-start"]).await?;
    holds_across_a_restart(&manager, server).await
}

#[tokio::test]
async fn health_checks_are_no_clients() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let agent = "class Agent:\n    def run(self, message):\n        return message\n\nagent = Agent()\n";
    std::fs::write(manager.work_dir().join("agent.py"), agent)?;
    let often = ["--health-check-interval", "0.1", "--auto-start"];
    manager.ok(&[&["register", "file", "agent.py"], &often[..]].concat()).await?;
    start_fake(&manager, "command", &often[..2], &[]).await?;
    for name in ["file", "command"] {
        let mut checks = std::collections::BTreeSet::new();
        wait_for(DEADLINE, "five checks", async || {
            let status = manager.json(&["status", name]).await.unwrap();
            if let Some(at) = status["last_health_check"].as_str() {
                checks.insert(at.to_owned());
            }
            (checks.len() >= 5).then_some(())
        })
        .await;
        let status = manager.json(&["status", name]).await?;
        assert_eq!(
            (&status["health"], &status["status"]),
            (&"healthy".into(), &"running".into()),
            "{status:#}"
        );
        for number in [
            "active_connections",
            "active_sessions",
            "connections",
            "sessions",
            "messages_in",
            "messages_out",
        ] {
            assert_eq!(status["stats"][number], 0, "{name}: {number}");
        }
        let url = server.ws_url(&format!("/s/{name}"))?;
        let mut one = EventClient::connect(&url).await?;
        converse(&mut one).await?;
        let two = EventClient::connect(&url).await?;
        wait_for_clients(&manager, name, 2, 2).await;
        let stats = manager.json(&["status", name]).await?["stats"].clone();
        // One of them has a session, which is known of an agent file; it sent two messages, and got at least as many.
        let sessions = u32::from(name == "file");
        let found = (&stats["active_sessions"], &stats["messages_in"]);
        assert_eq!(found, (&sessions.into(), &2.into()), "{name}: {stats:#}");
        assert!(stats["messages_out"].as_u64() >= Some(2), "{name}: {stats:#}");
        two.close().await?;
        wait_for_clients(&manager, name, 1, 2).await;
        one.close().await?;
        wait_for_clients(&manager, name, 0, 2).await;
    }
    Ok(())
}
