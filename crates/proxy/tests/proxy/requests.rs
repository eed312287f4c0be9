//! Request heads of all kinds.

use crate::kit::*;
use myagent_core::routing::TrustedProxies;
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
async fn the_front_door_tells_its_own_health() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let answer = door.answer("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"status\":\"ok\"}\n"), "{answer}");
    let answer = door.answer("HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
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

#[tokio::test]
async fn later_requests_of_a_connection_are_served_and_the_last_one_may_be_a_websocket() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let health = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = door.raw(b"").await;
    let read_answer = async |client: &mut tokio::net::TcpStream| {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"{\"status\":\"ok\"}\n") {
            within("an answer", client.read_buf(&mut bytes)).await.unwrap();
        }
        assert!(String::from_utf8_lossy(&bytes).contains("\r\nConnection: keep-alive\r\n"));
    };
    client.write_all(health.as_bytes()).await.unwrap();
    read_answer(&mut client).await;
    client.write_all(health.as_bytes()).await.unwrap();
    read_answer(&mut client).await;
    // The next one right behind the last, in pieces.
    let head = upgrade("/s/weather/later");
    client.write_all(format!("{health}{}", &head[..10]).as_bytes()).await.unwrap();
    read_answer(&mut client).await;
    client.write_all(format!("{}frames", &head[10..]).as_bytes()).await.unwrap();
    let arrived = runner.next().await;
    assert_eq!((arrived.head.as_str(), arrived.rest.as_slice()), (head.as_str(), &b"frames"[..]));
    assert_connected(&mut client, &mut arrived.take().await).await;
}

#[tokio::test]
async fn an_event_stream_is_handed_over() {
    let mut runner = FakeRunner::start(1, 0);
    let door = Door::open(one_thread(), weather([runner.instance.clone()])).await;
    let request = "GET /s/weather/news HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    let mut client = door.raw(request.as_bytes()).await;
    let arrived = runner.next().await;
    assert_eq!(arrived.head, request);
    assert_connected(&mut client, &mut arrived.take().await).await;
    let answer = door.answer("GET /s/none HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
}

#[tokio::test]
async fn a_load_balancer_says_whose_connection_it_is() {
    let mut runner = FakeRunner::start(1, 0);
    let trusted_proxies = TrustedProxies::parse("t", &["127.0.0.1".into(), "10.0.0.0/8".into()]).unwrap();
    let config = ProxyConfig { trusted_proxies, proxy_protocol: true, ..one_thread() };
    let door = Door::open(config, weather([runner.instance.clone()])).await;
    for (header, forwarded, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", None, "192.0.2.1:56324"),
        // The one before it is trusted, too, and says who is behind it.
        ("PROXY TCP4 10.0.0.5 198.51.100.1 5 443\r\n", Some("192.0.2.9"), "192.0.2.9:5"),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 6 443\r\n", Some("10.1.1.1"), "192.0.2.1:6"),
    ] {
        let lines = forwarded.map_or_else(String::new, |address| format!("X-Forwarded-For: {address}\r\n"));
        let head = upgrade("/").replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
        let mut client = door.raw(b"").await;
        for part in [&header[..9], &header[9..], &head[..]] {
            client.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let arrived = runner.next().await;
        assert_eq!(
            (arrived.offer.client.to_string().as_str(), arrived.head.as_str()),
            (expected, head.as_str())
        );
        assert_connected(&mut client, &mut arrived.take().await).await;
    }
    // A peer that must say it and does not is refused.
    let answer = door.answer(&upgrade("/")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("PROXY header is missing"), "{answer}");
}

#[tokio::test]
async fn an_address_that_a_proxy_tells_counts_only_from_a_trusted_one() {
    let mut runner = FakeRunner::start(1, 0);
    let head = upgrade("/").replace("Host: a", "Host: a\r\nX-Forwarded-For: 192.0.2.7");
    for (trusted, is_believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let trusted_proxies = TrustedProxies::parse("t", &[trusted.into()]).unwrap();
        let config = ProxyConfig { trusted_proxies, ..one_thread() };
        let door = Door::open(config, weather([runner.instance.clone()])).await;
        let client = door.raw(head.as_bytes()).await;
        let arrived = runner.next().await;
        let expected = if is_believed { "192.0.2.7".to_owned() } else { "127.0.0.1".to_owned() };
        assert_eq!(arrived.offer.client.ip().to_string(), expected);
        assert_eq!(arrived.offer.client.port(), client.local_addr().unwrap().port());
        drop(arrived.take().await);
    }
}

/// Clients that say nothing, or never finish, take nobody's room.
#[tokio::test]
async fn slow_clients_make_room_for_others() {
    let mut runner = FakeRunner::start(1, 0);
    let config = ProxyConfig { most_here: 50, ..one_thread() };
    let door = Door::open(config, weather([runner.instance.clone()])).await;
    let mut slow = Vec::new();
    for number in 0..200 {
        slow.push(door.raw(if number % 2 == 0 { b"" } else { b"GET / HTTP/1.1\r\nHost:" }).await);
    }
    for _ in 0..20 {
        let mut client = door.client("/").await;
        assert_connected(&mut client, &mut runner.next().await.take().await).await;
    }
    // The oldest were sent away, the newest are still there.
    assert_eq!(within("the end", slow[0].read(&mut [0; 8])).await.unwrap(), 0);
    let rest = upgrade("/").replace("GET / HTTP/1.1\r\nHost:", "");
    slow[199].write_all(rest.as_bytes()).await.unwrap();
    assert_connected(&mut slow[199], &mut runner.next().await.take().await).await;
}
