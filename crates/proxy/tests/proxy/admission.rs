//! Limits on who is let in at all.

use crate::kit::*;
use myagent_core::ConnectionId;
use myagent_core::clients::OpenClients;
use myagent_core::routing::RoutedInstance;
use myagent_proxy::{Known, Limits, ProxyConfig, ProxyEvent};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn limited(limits: Limits) -> ProxyConfig {
    ProxyConfig { limits, ..one_thread() }
}

#[tokio::test]
async fn a_rush_is_told_to_come_again_later_and_later() {
    let mut runner = FakeRunner::start(1, 0);
    let limits = Limits { accept_rate: 5, ..Limits::default() };
    let mut door = Door::open(limited(limits), weather([runner.instance.clone()])).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut client = door.client("/").await;
        let mut taken = runner.next().await.take().await;
        assert_connected(&mut client, &mut taken).await;
        open.push((client, taken));
    }
    let mut waits = Vec::new();
    for _ in 0..15 {
        let (event, code, reason) = door.refusal("/").await;
        assert_eq!((code, reason.as_str()), (1013, "too many new connections at once"));
        assert_eq!(event["metadata"]["recoverable"], true);
        waits.push(event["metadata"]["retry_after_ms"].as_u64().unwrap());
    }
    // A second at least, and up to twice of it; the fifteenth comes behind the others.
    assert!((1000..=2000).contains(&waits[0]) && waits[14] >= 2000, "{waits:?}");
    let denied = ProxyEvent::Denied { reason: "too many new connections at once".to_owned(), count: 1 };
    assert_eq!(door.next_event().await, denied);
    // Those who are in stay in, and what is no hand-over is answered.
    for (client, taken) in &mut open {
        assert_connected(client, taken).await;
    }
    let answer = door.answer("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn all_connections_together_have_a_limit() {
    let mut runner = FakeRunner::start(1, 0);
    let limits = Limits { connections: 3, ..Limits::default() };
    let config = ProxyConfig { threads: 2, ..limited(limits) };
    let others = RoutedInstance { places: 1, ..runner.instance.clone() };
    let door = Door::open(config, weather([others])).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let client = door.client("/").await;
        open.push((client, runner.next().await.take().await));
    }
    // One counts when the door has heard that it was taken, which may be after the next one came.
    let mut tries = 0;
    loop {
        tokio::select! {
            (.., reason) = door.refusal("/") => {
                assert_eq!(reason, "all 3 connections that are allowed are open");
                break;
            }
            arrived = runner.next() => drop(arrived.take().await),
        }
        tries += 1;
        assert!(tries < 100, "no limit");
    }
}

/// Counts what is handed over, and nothing else.
#[derive(Default)]
struct Counting {
    open: AtomicU32,
}

impl OpenClients for Counting {
    fn count_of(&self, client: IpAddr) -> u32 {
        assert_eq!(client.to_string(), "127.0.0.1");
        self.open.load(Ordering::Relaxed)
    }
    fn handed_over(&self, _id: ConnectionId, _client: IpAddr) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }
    fn given_back(&self, _id: ConnectionId) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_client_address_has_a_limit() {
    let mut runner = FakeRunner::start(1, 0);
    let limits = Limits { connections_per_ip: 2, ..Limits::default() };
    let clients = Arc::new(Counting::default());
    let known = Known { clients: Arc::clone(&clients) as _, ..Known::default() };
    let door = Door::open_knowing(limited(limits), weather([runner.instance.clone()]), known).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let client = door.client("/").await;
        open.push((client, runner.next().await.take().await));
    }
    let reason = door.refusal("/").await.2;
    assert_eq!(reason, "127.0.0.1 has all 2 connections that it may have");
    // The end of one, which runners report.
    clients.given_back(ConnectionId(uuid::Uuid::nil()));
    let mut client = door.client("/").await;
    assert_connected(&mut client, &mut runner.next().await.take().await).await;
}
