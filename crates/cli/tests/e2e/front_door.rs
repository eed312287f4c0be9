//! The front door: who is let in, who waits, who is told no, and that broken instances keep nobody out.

use crate::caller::{Agent, Caller};
use crate::fleet::{PATIENCE, is_soak, manager, start_fake};
use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, client, http, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Waits until so many clients wait for an instance.
async fn until_waiting(manager: &TestManager, server: &Server, count: u64) -> Result<()> {
    let api = server.address("api")?;
    let waiting = async || {
        let info = http::request(api, "GET", "/api/v1/info", None).await.ok()?.json().ok()?;
        (info["waiting_clients"].as_u64() == Some(count)).then_some(())
    };
    wait_for(PATIENCE, &format!("{count} clients wait"), waiting).await;
    let status = manager.ok(&["status"]).await?;
    ensure!(count == 0 || status.stdout.contains(&format!("{count} waiting for an instance")), "{status}");
    Ok(())
}

/// Connects and reads the event and the code by which a client is turned away.
async fn turned_away(url: &str) -> Result<(Value, u16)> {
    let mut socket = client::connect(url).await?;
    let event = socket.next().await.context("closed without an event")??;
    let close = socket.next().await.context("closed without a code")??;
    let (code, _) = close.as_close().context("no close frame")?;
    Ok((serde_json::from_str(event.as_text().context("no text")?)?, code.into()))
}

#[tokio::test]
async fn two_are_served_three_wait_in_line_and_five_are_told_no() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_QUEUE_SIZE", "3");
    manager.set_env("MYAGENT_QUEUE_TIMEOUT", "60");
    let server = manager.up().await?;
    start_fake(&manager, "small", &["--max-sessions", "2"], &[]).await?;
    let url = server.ws_url("/s/small/")?;
    let mut served = vec![EventClient::connect(&url).await?, EventClient::connect(&url).await?];
    let mut waiting = JoinSet::new();
    let line = async |waiting: &mut JoinSet<_>, number: u64, count: u64| {
        let url = url.clone();
        let handle = waiting.spawn(async move { anyhow::Ok((number, EventClient::connect(&url).await?)) });
        until_waiting(&manager, &server, count).await?;
        anyhow::Ok(handle)
    };
    line(&mut waiting, 1, 1).await?;
    let second = line(&mut waiting, 2, 2).await?;
    line(&mut waiting, 3, 3).await?;
    for _ in 0..5 {
        let asked = Instant::now();
        let (event, code) = turned_away(&url).await?;
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!((code, &event["event"]), (1013, &"system.error".into()));
        assert_eq!(
            (&event["metadata"]["code"], &event["metadata"]["recoverable"]),
            (&"ROUTING_FAILED".into(), &true.into())
        );
        assert!(event["metadata"]["retry_after_ms"].as_u64() >= Some(1000), "{event}");
    }
    // One that leaves frees its place in the line, for another.
    second.abort();
    until_waiting(&manager, &server, 2).await?;
    assert!(waiting.join_next().await.context("nobody")?.is_err());
    line(&mut waiting, 4, 3).await?;
    for expected in [1, 3, 4] {
        served.remove(0).close().await?;
        let (number, mut client) = waiting.join_next().await.context("nobody waits")???;
        assert_eq!(number, expected);
        let session = client.create_session().await?;
        client.turn(&session, "at last").await?;
        served.push(client);
    }
    until_waiting(&manager, &server, 0).await
}

#[tokio::test]
async fn an_instance_that_refuses_costs_no_client_anything() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let switch = manager.work_dir().join("refuse-");
    let file = format!("{}{{port}}", switch.display());
    start_fake(&manager, "five", &["--replicas", "5"], &["--refuse-while", &file]).await?;
    let status = manager.json(&["status", "five"]).await?;
    let port = status["instances"][0]["port"].as_u64().context("a port")?;
    let file = format!("{}{port}", switch.display());
    std::fs::write(&file, "")?;
    let (proxy, api) = (server.address("proxy")?, server.address("api")?);
    let caller = Caller::new("/s/five/", &[]);
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let caller = caller.clone();
        clients.spawn(async move {
            for _ in 0..500 {
                let instance = caller.goes_to(proxy).await?;
                ensure!(instance.starts_with("five-") && instance != "five-0", "it was told {instance}");
            }
            Ok(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let state = async || {
        let said = caller.explained(api).await?;
        let candidates = said["candidates"].as_array().context("candidates")?;
        let bad = candidates.iter().find(|one| one["instance"] == "five-0").context("five-0")?;
        anyhow::Ok(bad["state"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(state().await?, "ejected");
    if !is_soak() {
        // It comes back after half a minute; that story is for endurance.
        return Ok(());
    }
    std::fs::remove_file(&file)?;
    wait_for(PATIENCE, "it is eligible again", async || (state().await.ok()? == "eligible").then_some(()))
        .await;
    let is_back = async || (caller.goes_to(proxy).await.ok()? == "five-0").then_some(());
    wait_for(PATIENCE, "it gets clients again", is_back).await;
    Ok(())
}

#[tokio::test]
async fn one_address_cannot_take_everything() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_MAX_CONNECTIONS_PER_IP", "3");
    manager.set_env("MYAGENT_MAX_CONNECTIONS", "8");
    let mut server = manager.up().await?;
    let agent = Agent::start().await?;
    agent.service(&manager, "talk", &[]).await?;
    let from = |address: &str| Caller::new("/s/talk/", &[]).from(address);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(from("127.0.0.5").connect(server.address("proxy")?).await?);
    }
    assert_eq!(from("127.0.0.5").goes_to(server.address("proxy")?).await?, "nobody");
    open.push(from("127.0.0.6").connect(server.address("proxy")?).await?);
    assert!(open.iter().all(|(_, instance)| instance == "talk-0"));
    // The next manager learns who is there from the runners.
    server.signal(Signal::KILL);
    server.wait().await?;
    server = manager.up().await?;
    let proxy = server.address("proxy")?;
    let learnt = async || {
        let explained = from("127.0.0.6").explained(server.address("api").ok()?).await.ok()?;
        (explained["candidates"][0]["active"] == 4).then_some(())
    };
    wait_for(PATIENCE, "the connections are known", learnt).await;
    assert_eq!(from("127.0.0.5").goes_to(proxy).await?, "nobody");
    // An end is told within a second.
    open.remove(0);
    let is_free = async || {
        let (stream, instance) = from("127.0.0.5").connect(proxy).await.ok()?;
        (instance == "talk-0").then_some(stream)
    };
    let again = wait_for(PATIENCE, "a place of the address", is_free).await;
    // All together.
    for number in 0..4 {
        // What was closed in the last second may still count.
        let caller = from(&format!("127.0.1.{number}"));
        let is_in = async || caller.connect(proxy).await.ok().filter(|(_, instance)| instance == "talk-0");
        open.push(wait_for(PATIENCE, "a place among all", is_in).await);
    }
    // (The newest are counted once the front door has heard of them.)
    let is_full = async || {
        let instance = from("127.0.2.1").goes_to(proxy).await.ok()?;
        (instance == "nobody").then_some(())
    };
    wait_for(PATIENCE, "no place among all", is_full).await;
    assert_eq!(from("127.0.2.2").goes_to(proxy).await?, "nobody");
    drop(again);
    Ok(())
}

#[tokio::test]
async fn a_load_balancer_is_believed() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_TRUSTED_PROXIES", r#"["127.0.0.7"]"#);
    manager.set_env("MYAGENT_PROXY_PROTOCOL", "true");
    let server = manager.up().await?;
    let agent = Agent::start().await?;
    agent.service(&manager, "near", &[]).await?;
    agent.service(&manager, "far", &[]).await?;
    manager
        .ok(&["route", "add", "near", "--when", "client_ip ip_in_range 127.0.0.0/8", "--to", "near"])
        .await?;
    manager.ok(&["route", "add", "far", "--when", "client_ip equals 192.0.2.9", "--to", "far"]).await?;
    let proxy = server.address("proxy")?;
    // Who is not a load balancer talks as ever.
    assert_eq!(Caller::new("/", &[]).goes_to(proxy).await?, "near-0");
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.7:0".parse()?)?;
    let mut stream = socket.connect(proxy).await?;
    stream.write_all(b"PROXY TCP4 192.0.2.9 198.51.100.1 40000 443\r\n").await?;
    let (_stream, instance) = Caller::new("/", &[]).shake_hands(stream).await?;
    assert_eq!(instance, "far-0");
    let listed = async || {
        let list = manager.json(&["connections", "--service", "far"]).await.ok()?;
        list.get(0).filter(|one| one["client_ip"] == "192.0.2.9" && one["client_port"] == 40000).cloned()
    };
    wait_for(PATIENCE, "the connection with its real address", listed).await;
    Ok(())
}

#[tokio::test]
async fn places_that_are_changed_hold_from_the_restart_on() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let agent = Agent::start().await?;
    agent.service(&manager, "talk", &["--max-sessions", "1"]).await?;
    let (api, caller) = (server.address("api")?, Caller::new("/s/talk/", &[]));
    let places = async || Some(caller.explained(api).await.ok()?["candidates"][0]["max_places"].as_u64());
    wait_for(PATIENCE, "its runner's report", async || (places().await? == Some(1)).then_some(())).await;
    manager.ok(&["update", "talk", "--max-sessions", "2"]).await?;
    assert_eq!(places().await, Some(Some(1)), "its runner takes no more either");
    manager.ok(&["restart", "talk"]).await?;
    wait_for(PATIENCE, "two places", async || (places().await? == Some(2)).then_some(())).await;
    Ok(())
}
