//! Clients that nobody can serve now, or ever.

use crate::kit::*;
use myagent_core::routing::RoutingSnapshot;
use myagent_core::wire::handover::Refusal;
use myagent_proxy::ProxyConfig;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_client_waits_for_an_instance_that_starts() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([starting(&runner.instance)])).await;
    let mut client = door.client("/s/weather").await;
    until("it waits", || door.proxy.waiting() == 1).await;
    client.write_all(b"sent while waiting").await.unwrap();
    door.publish(weather([runner.instance.clone()]));
    let arrived = runner.next().await;
    // What it sent is with the message or still in the socket, depending on who was first.
    let mut text = arrived.rest.clone();
    let mut taken = arrived.take().await;
    while text.len() < 18 {
        within("the rest", tokio::io::AsyncReadExt::read_buf(&mut taken, &mut text)).await.unwrap();
    }
    assert_eq!(text, b"sent while waiting");
    assert_connected(&mut client, &mut taken).await;
    until("nobody waits", || door.proxy.waiting() == 0).await;
}

/// Whoever was told that a service is started, and comes then, finds it.
#[tokio::test]
async fn what_was_published_before_a_client_came_holds_for_it() {
    let mut runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { threads: 2, ..one_thread() };
    let door = Door::open(config, RoutingSnapshot::default()).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        door.publish(RoutingSnapshot::default());
        // All threads have seen that nobody runs.
        assert_eq!(door.refusal("/s/weather").await.1, 1013);
        door.publish(weather([runner.instance.clone()]));
        clients.push(door.client("/s/weather").await);
        drop(runner.next().await.take().await);
    }
}

#[tokio::test]
async fn those_who_wait_are_served_in_the_order_they_came() {
    let mut runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { threads: 3, ..one_thread() };
    let door = Door::open(config, weather([starting(&runner.instance)])).await;
    let mut clients = Vec::new();
    for number in 0..10 {
        clients.push(door.client(&format!("/s/weather/{number}")).await);
        until("it waits", || door.proxy.waiting() == number + 1).await;
    }
    door.publish(weather([runner.instance.clone()]));
    let mut taken = Vec::new();
    for number in 0..10 {
        let arrived = runner.next().await;
        assert!(arrived.head.starts_with(&format!("GET /s/weather/{number} ")), "{}", arrived.head);
        taken.push(arrived.take().await);
    }
}

#[tokio::test]
async fn a_client_waits_for_a_place_of_a_full_instance() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let mut client = door.client("/").await;
    runner.next().await.give_back(Refusal::Full).await;
    // No snapshot tells of the free place: it is tried again all the same.
    runner.next().await.give_back(Refusal::Full).await;
    assert_eq!(door.proxy.waiting(), 1);
    assert_connected(&mut client, &mut runner.next().await.take().await).await;
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { queue_timeout: Duration::from_millis(50), ..one_thread() };
    let door = Door::open(config, weather([starting(&runner.instance)])).await;
    let (event, code, reason) = door.refusal("/s/weather").await;
    assert_eq!(event["event"], "system.error");
    assert_eq!(event["timestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(event["content"], "every instance of weather is full or starting");
    assert_eq!(event["metadata"]["code"], "ROUTING_FAILED");
    assert_eq!(event["metadata"]["recoverable"], true);
    let retry_after = event["metadata"]["retry_after_ms"].as_u64().unwrap();
    assert!((1000..=2000).contains(&retry_after), "{retry_after}");
    assert_eq!((code, reason.as_str()), (1013, "every instance of weather is full or starting"));
    assert_eq!(door.proxy.waiting(), 0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_a_client_that_leaves_frees_its_place() {
    let runner = FakeRunner::start(1, 0);
    let config =
        ProxyConfig { queue_size: 1, queue_timeout: Duration::from_hours(1), threads: 2, ..one_thread() };
    let door = Door::open(config, weather([starting(&runner.instance)])).await;
    let first = door.client("/").await;
    until("it waits", || door.proxy.waiting() == 1).await;
    let (_, code, reason) = door.refusal("/").await;
    assert_eq!(code, 1013);
    assert!(reason.ends_with("no more clients may wait"), "{reason}");
    drop(first);
    until("its place is free", || door.proxy.waiting() == 0).await;
    let _second = door.client("/").await;
    until("the next one waits", || door.proxy.waiting() == 1).await;
}

#[tokio::test]
async fn what_will_not_come_is_refused_at_once() {
    let door = Door::open(one_thread(), weather([])).await;
    let (event, code, reason) = door.refusal("/s/nobody/ws").await;
    assert_eq!((code, reason.as_str()), (1013, "no running service is named \"nobody\""));
    assert_eq!(event["metadata"]["recoverable"], false);
    let answer = door.answer("GET /s/nobody HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("\r\nRetry-After: "), "{head}");
    assert!(head.contains("\r\nContent-Type: application/problem+json\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["code"], &body["detail"]), (&"ROUTING_FAILED".into(), &reason.into()));
    assert_eq!(door.proxy.waiting(), 0);
}

#[tokio::test]
async fn who_waits_learns_that_it_is_in_vain() {
    let runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([starting(&runner.instance)])).await;
    let publish = async {
        until("they wait", || door.proxy.waiting() == 2).await;
        door.publish(RoutingSnapshot::default());
    };
    let (one, two, ()) = tokio::join!(door.refusal("/s/weather"), door.refusal("/s/weather"), publish);
    assert_eq!((one.1, two.1), (1013, 1013));
    assert_eq!(one.2, "no running service is named \"weather\"");
}
