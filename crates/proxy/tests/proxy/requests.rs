//! Request heads of all kinds.

use crate::kit::*;
use myagent_core::wire::handover::MAX_HEAD;
use myagent_proxy::ProxyConfig;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let head = upgrade("/s/weather");
    let mut client = door.raw(b"").await;
    client.set_nodelay(true).unwrap();
    for byte in head.bytes() {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let arrived = runner.next().await;
    assert_eq!((arrived.head.as_str(), arrived.rest.len()), (head.as_str(), 0));
    assert_connected(&mut client, &mut arrived.take().await).await;
}

#[tokio::test]
async fn heads_that_cannot_be_read_are_refused() {
    let config = ProxyConfig { head_timeout: Duration::from_millis(200), ..one_thread() };
    let door = Door::open(config, weather([])).await;
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (request, status) in [
        ("\u{16}\u{3}\u{1}garbage", "400"),
        ("GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", "400"),
        (large.as_str(), "431"),
        (many.as_str(), "431"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "408"),
    ] {
        let answer = door.answer(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    // Who says nothing gets nothing.
    assert_eq!(door.answer("").await, "");
}

#[tokio::test]
async fn foreign_pages_are_refused() {
    let mut runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { allowed_origins: vec!["https://app.example.org".into()], ..one_thread() };
    let door = Door::open(config, weather([runner.instance.clone()])).await;
    let from = |origin: &str| upgrade("/").replace("Host: a", &format!("Host: a\r\nOrigin: {origin}"));
    for origin in ["https://example.org", "null"] {
        let answer = door.answer(&from(origin)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("\"FORBIDDEN\""), "{answer}");
    }
    for origin in ["https://app.example.org", "http://localhost:5173"] {
        let mut client = door.raw(from(origin).as_bytes()).await;
        assert_connected(&mut client, &mut runner.next().await.take().await).await;
    }
}

#[tokio::test]
async fn plain_http_is_told_what_this_port_speaks() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let answer = door.answer("POST /s/weather HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("this port speaks WebSocket"), "{answer}");
    let answer = door.answer("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"status\":\"ok\"}\n"), "{answer}");
    let answer = door.answer("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(runner.is_idle());
}

#[tokio::test]
async fn a_refused_client_reads_all_of_its_refusal() {
    // Bytes that nobody reads would make the close a reset, and the answer would be lost.
    let door = Door::open(one_thread(), weather([])).await;
    let mut client = door.raw(upgrade("/s/nobody").as_bytes()).await;
    client.write_all(&vec![0; 100_000]).await.unwrap();
    let mut bytes = Vec::new();
    within("the end", client.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    assert!(bytes.ends_with(b"no running service is named \"nobody\""));
}
