//! Ports: every instance gets one of its own, whatever others hold, and a fixed one that is taken is refused by name.

use crate::fleet::{fake, manager, number, register, rounds};
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use myagent_core::view::ServiceView;
use myagent_testkit::client;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;
use tokio::time::timeout;
use tokio_websockets::Message;

/// Ports of the range that others have.
const TAKEN: u16 = 10;

async fn echoes(url: &str, text: &str) -> Result<()> {
    let mut socket = client::connect(url).await?;
    socket.send(Message::text(text.to_owned())).await?;
    let answer = timeout(Duration::from_secs(30), socket.next()).await?;
    assert_eq!(answer.context("closed")??.as_text(), Some(text), "{url}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_started_at_once_shares_a_range_with_others() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let (first, last) = manager.ports();
    // Every third one, so that they are in the way.
    let taken: Vec<u16> = (0..TAKEN).map(|number| first + number * 3).collect();
    let others: Vec<TcpListener> =
        taken.iter().map(|port| TcpListener::bind(("127.0.0.1", *port))).collect::<Result<_, _>>()?;
    let services = rounds(12, 60);
    let fake = fake();
    for number in 0..services {
        register(&manager, &format!("echo-{number}"), &[], &[&fake, "--echo"]).await?;
    }
    manager.ok(&["start", "--all"]).await?;

    let list: Vec<ServiceView> = serde_json::from_value(manager.json(&["list"]).await?)?;
    let ports: BTreeSet<u16> = list.iter().filter_map(|service| service.instances[0].port).collect();
    assert_eq!(ports.len(), services, "{ports:?}");
    assert!(ports.iter().all(|port| (first..=last).contains(port) && !taken.contains(port)), "{ports:?}");
    for service in &list {
        let instance = &service.instances[0];
        assert_eq!(instance.restart_count, 0, "{instance:#?}");
        // Its own agent answers there, and it is the one that clients are led to.
        let endpoint = instance.endpoint.as_deref().context("no endpoint")?;
        echoes(endpoint, &service.name).await?;
        echoes(&server.ws_url(&format!("/s/{}", service.name))?, &service.name).await?;
    }

    // Ports are kept over a restart, and are free again after a stop.
    manager.ok(&["restart", "--all"]).await?;
    let again: Vec<ServiceView> = serde_json::from_value(manager.json(&["list"]).await?)?;
    let same: BTreeSet<u16> = again.iter().filter_map(|service| service.instances[0].port).collect();
    assert_eq!(same, ports);
    manager.ok(&["stop", "--all"]).await?;
    for port in ports {
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} after stop"))?;
    }
    drop(others);
    Ok(())
}

#[tokio::test]
async fn a_fixed_port_in_use_names_its_holder() -> Result<()> {
    let manager = manager()?;
    let (port, _) = manager.ports();
    let holder = TcpListener::bind(("127.0.0.1", port))?;
    let (fake, fixed) = (fake(), port.to_string());
    register(&manager, "fixed", &["--port", &fixed], &[&fake, "--echo"]).await?;
    let refused = timeout(Duration::from_secs(10), manager.cli(&["start", "fixed"])).await??;
    assert_eq!(refused.status, 1, "{refused}");
    let expected = format!("port {port} on 127.0.0.1 is in use by process {} (", std::process::id());
    assert!(refused.stderr.contains(&expected), "{refused}");
    // The command of the holder: this test.
    assert!(refused.stderr.contains("e2e"), "{refused}");

    drop(holder);
    manager.ok(&["start", "fixed"]).await?;
    let status = manager.json(&["status", "fixed"]).await?;
    assert_eq!(number(&status["instances"][0]["port"])?, u32::from(port));
    assert_eq!(number(&status["fixed_port"])?, u32::from(port));
    echoes(&format!("ws://127.0.0.1:{port}/"), "mine").await?;

    // One of our own that has it is named as well.
    register(&manager, "second", &["--port", &fixed], &[&fake, "--echo"]).await?;
    let refused = manager.cli(&["start", "second"]).await?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains(&format!("port {port}")), "{refused}");
    assert!(refused.stderr.contains("fixed") || refused.stderr.contains("another instance"), "{refused}");
    Ok(())
}
