//! Plain requests: carried to the agent itself, one by one, on connections that are kept.

use crate::kit::*;
use crate::upstream::*;
use myagent_core::http::Upstream;
use myagent_core::routing::{RoutedInstance, RoutedService, RoutingSnapshot};
use myagent_core::service::Endpoint;
use myagent_proxy::{ProxyConfig, ProxyEvent, Requests};
use myagent_testkit::tls::Authority;
use myagent_tls::Trust;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// An agent, and a front door that knows it; and its runner, which has nothing to do with plain requests.
async fn carried(config: ProxyConfig) -> (Agent, Door, FakeRunner) {
    let (runner, agent) = (FakeRunner::start(1, 0), Agent::listen().await);
    let door = Door::open(config, weather([agent.behind(&runner.instance)])).await;
    (agent, door, runner)
}

#[tokio::test]
async fn a_request_goes_to_the_agent_and_its_answer_comes_back() {
    let (mut runner, agent) = (FakeRunner::start(1, 0), Agent::listen().await);
    let door = Door::open(one_thread(), weather([agent.behind(&runner.instance)])).await;
    let mut client = door
        .raw(b"GET /s/weather/today?tag=x&a=b HTTP/1.1\r\nHost: front\r\nX-MyAgent-Events: 1\r\nX: y\r\n\r\n")
        .await;
    let mut asked = agent.asked().await;
    assert!(
        asked.head.starts_with("GET /today?a=b HTTP/1.1\r\nHost: front\r\nX: y\r\nConnection: close\r\n"),
        "{}",
        asked.head
    );
    assert!(asked.head.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{}", asked.head);
    assert!(asked.head.contains("\r\nX-Request-Id: ") && asked.head.contains("\r\ntraceparent: 00-"));
    asked.say("HTTP/1.1 200 Fine\r\nContent-Length: 4\r\nKeep-Alive: 1\r\nX-Own: 1\r\n\r\nrain").await;
    let answer = read_answer(&mut client, 4).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 Fine\r\nX-Own: 1\r\nContent-Length: 4\r\nConnection: keep-alive\r\nX-MyAgent-Service: weather\r\nX-MyAgent-Instance: instance-0\r\nX-MyAgent-Connection-Id: "),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nrain"), "{answer}");
    assert_eq!(asked.rest().await, "");
    until("they are counted", || door.proxy.requests() == Requests { served: 1, failed: 0 }).await;
    assert!(runner.is_idle());
}

#[tokio::test]
async fn a_kept_connection_makes_many_requests_and_may_become_a_websocket() {
    let (mut runner, agent) = (FakeRunner::start(1, 0), Agent::listen().await);
    let other = Agent::listen().await;
    let second = FakeRunner::start(2, 0);
    let services = [("weather", agent.behind(&runner.instance)), ("chat", other.behind(&second.instance))];
    let services = services.map(|(name, instance)| RoutedService {
        name: name.into(),
        tags: Default::default(),
        instances: vec![instance],
    });
    let door = Door::open(one_thread(), RoutingSnapshot::new(services.into())).await;
    let mut client = door.raw(b"GET /s/weather/1 HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none").await;
    assert!(read_answer(&mut client, 3).await.ends_with("one"));
    // Two at once, and the beginning of the third behind them.
    let upgrade = upgrade("/s/weather/later");
    let two = "POST /s/chat/2 HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyHEAD /s/weather/3 HTTP/1.1\r\n\r\n";
    client.write_all(format!("{two}{}", &upgrade[..9]).as_bytes()).await.unwrap();
    let mut asked = other.asked().await;
    assert!(
        asked.head.starts_with("POST /2 HTTP/1.1\r\nHost: ")
            && asked.head.contains("\r\nContent-Length: 4\r\n")
    );
    assert_eq!(asked.body(4).await, "body");
    asked.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ntwo\r\n0\r\nZ: 1\r\n\r\n").await;
    let answer = read_until(&mut client, "\r\n0\r\n\r\n").await;
    assert!(
        answer.contains("\r\nX-MyAgent-Service: chat\r\n")
            && answer.ends_with("\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{answer}"
    );
    let mut asked = agent.asked().await;
    assert!(asked.head.starts_with("HEAD /3 "), "{}", asked.head);
    asked.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    let answer = read_until(&mut client, "\r\n\r\n").await;
    assert!(answer.contains("\r\nContent-Length: 1000\r\nConnection: keep-alive\r\n"), "{answer}");
    client.write_all(&upgrade.as_bytes()[9..]).await.unwrap();
    let arrived = runner.next().await;
    assert_eq!(arrived.head, upgrade);
    assert_connected(&mut client, &mut arrived.take().await).await;
    until("they are counted", || door.proxy.requests() == Requests { served: 3, failed: 0 }).await;
}

#[tokio::test]
async fn answers_without_a_body_and_interim_ones() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"").await;
    for (answer, expected) in [
        ("204 No Content\r\n", "204 No Content\r\nConnection: keep-alive\r\n"),
        (
            "304 Not Modified\r\nContent-Length: 9\r\n",
            "304 Not Modified\r\nContent-Length: 9\r\nConnection: keep-alive\r\n",
        ),
        (
            "103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n",
            "103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n",
        ),
    ] {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut asked = agent.asked().await;
        asked.say(&format!("HTTP/1.1 {answer}\r\n")).await;
        let is_whole = |text: &str| text.contains("-Connection-Id: ") && text.ends_with("\r\n\r\n");
        let got = read_while(&mut client, |text| !is_whole(text)).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {expected}X-MyAgent-Service: weather\r\n")), "{got}");
    }
}

#[tokio::test]
async fn who_expects_a_word_before_its_body_gets_it() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await;
    let mut asked = agent.asked().await;
    assert!(asked.head.contains("\r\nExpect: 100-continue\r\n"), "{}", asked.head);
    asked.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").await.unwrap();
    assert_eq!(asked.body(4).await, "body");
    asked.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = read_answer(&mut client, 2).await;
    assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
    // One that does not want it says so, and the body is never asked for.
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    for is_chunked in [false, true] {
        let client = door.raw(b"").await;
        let (mut from_door, mut to_door) = client.into_split();
        let (sent, body) = (body.clone(), body.clone());
        let sender = beside(async move {
            if is_chunked {
                let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
                to_door.write_all(head).await.unwrap();
                for piece in sent.chunks(70_001) {
                    let chunk = [format!("{:X};a=b\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                    to_door.write_all(&chunk).await.unwrap();
                }
                to_door.write_all(b"0\r\nX: y\r\n\r\n").await.unwrap();
            } else {
                let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", sent.len());
                to_door.write_all(head.as_bytes()).await.unwrap();
                to_door.write_all(&sent).await.unwrap();
            }
            to_door
        });
        let mut asked = agent.asked().await;
        let got = if is_chunked { asked.chunks().await } else { asked.bytes(body.len()).await };
        assert!(got == body, "another body came");
        let to_door = done("all is sent", sender).await;
        let writer = beside(async move {
            asked.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
            asked.write(&body).await;
            body
        });
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the head", from_door.read_u8()).await.unwrap());
        }
        let mut got = vec![0; 5_000_000];
        within("the body", from_door.read_exact(&mut got)).await.unwrap();
        assert!(got == done("the body is written", writer).await, "another body came back");
        drop(to_door);
    }
}

#[tokio::test]
async fn an_agent_may_answer_while_it_is_sent_to() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(asked.body(8).await, "3\r\none\r\n");
    asked.say("3\r\nONE\r\n").await;
    // It does not know whether all will be read, so it says that the connection ends.
    let answer = read_until(&mut client, "3\r\nONE\r\n").await;
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(asked.body(13).await, "3\r\ntwo\r\n0\r\n\r\n");
    asked.say("3\r\nTWO\r\n0\r\n\r\n").await;
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "3\r\nTWO\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_can_read() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"GET / HTTP/1.0\r\n\r\n").await;
    let mut asked = agent.asked().await;
    assert!(asked.head.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked.head);
    asked.say("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").await;
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nabc") && !answer.contains("Transfer-Encoding"), "{answer}");
}

#[tokio::test]
async fn an_answer_may_end_with_its_connection() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.0 200 OK\r\n\r\nto the").await;
    let answer = read_until(&mut client, "to the").await;
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    asked.say(" end").await;
    drop(asked);
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, " end");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_goes_nowhere() {
    let (agent, door, _runner) = carried(one_thread()).await;
    for (lines, behind) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "bodies"),
        ("Content-Length: 5, 5\r\n", "body!"),
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 0x5\r\n", "body!"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "xyz\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked\r\n", "3\r\nabcdef\r\n"),
        ("Transfer-Encoding: chunked\r\n", "3\nabc\n0\n\n"),
        ("Host: a\r\nHost: b\r\n", ""),
    ] {
        let answer = door.answer(&format!("POST / HTTP/1.1\r\n{lines}\r\n{behind}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("INVALID_REQUEST"),
            "{lines:?}: {answer}"
        );
    }
    for first in ["GET x HTTP/1.1", "CONNECT a:1 HTTP/1.1", "OPTIONS * HTTP/1.1"] {
        let answer = door.answer(&format!("{first}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{first}: {answer}");
    }
    let answer = door.answer("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let _client = door.raw(b"GET /good HTTP/1.1\r\n\r\n").await;
    assert!(agent.first_asked().await.head.starts_with("GET /good "), "something of them went to the agent");
    // Found out later: the agent's request is broken off.
    let mut client = door.raw(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let mut asked = agent.asked().await;
    assert_eq!(asked.body(8).await, "3\r\nabc\r\n");
    client.write_all(b"nonsense\r\n").await.unwrap();
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(asked.rest().await, "");
}

#[tokio::test]
async fn another_instance_is_tried_when_the_first_cannot_be_reached() {
    let (gone, there) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let agent = Agent::listen().await;
    let dead = Agent::listen().await;
    let dead_instance = dead.behind(&gone.instance);
    drop(dead);
    let mut door = Door::open(one_thread(), weather([dead_instance, agent.behind(&there.instance)])).await;
    for _ in 0..4 {
        let mut client = door.raw(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody").await;
        let mut asked = agent.asked().await;
        assert_eq!(asked.body(4).await, "body");
        asked.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
    }
    let event = door.next_event().await;
    assert!(
        matches!(&event, ProxyEvent::RequestFailed { key, reason } if *key == gone.instance.key && reason.starts_with("connecting to ")),
        "{event:?}"
    );
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_ejected() {
    let (gone, there) = (FakeRunner::start(1, 0), FakeRunner::start(1, 1));
    let agent = Agent::listen().await;
    let dead = Agent::listen().await;
    let dead_instance = dead.behind(&gone.instance);
    drop(dead);
    let mut door = Door::open(one_thread(), weather([dead_instance, agent.behind(&there.instance)])).await;
    let mut failures = 0;
    for _ in 0..20 {
        let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut asked = agent.asked().await;
        asked.say("HTTP/1.1 204 No\r\n\r\n").await;
        read_until(&mut client, "\r\n\r\n").await;
    }
    while let Ok(event) = door.events.try_recv() {
        match event {
            ProxyEvent::RequestFailed { .. } => failures += 1,
            ProxyEvent::Ejected { key } => assert_eq!(key, gone.instance.key),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failures, 5, "five in a row, and then none for a while");
}

#[tokio::test]
async fn agents_that_do_not_answer_are_told_of() {
    let (agent, door, _runner) = carried(one_thread()).await;
    for (said, told) in [
        ("", "it closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\nContent-", "it closed the connection without an answer"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "the answer cannot be read"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "the answer cannot be read"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "a transfer coding that was not asked for",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "a transfer coding that was not asked for"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "it changes the protocol"),
    ] {
        let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut asked = agent.asked().await;
        asked.say(said).await;
        drop(asked);
        let mut answer = String::new();
        within("the end", client.read_to_string(&mut answer)).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/problem+json\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\"AGENT_FAILED\"") && answer.contains(told), "{answer}");
    }
    // One that breaks off has begun: the client sees that something is missing.
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
        let mut asked = agent.asked().await;
        asked.say(said).await;
        let answer = read_until(&mut client, "half").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        drop(asked);
        let mut rest = Vec::new();
        // Broken is as much of an end.
        let _ = within("the end", client.read_to_end(&mut rest)).await;
        assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"));
    }
    until("they are counted", || door.proxy.requests() == Requests { served: 0, failed: 9 }).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_of() {
    let runner = FakeRunner::start(1, 0);
    let dead = Agent::listen().await;
    let instance = dead.behind(&runner.instance);
    drop(dead);
    let door = Door::open(one_thread(), weather([instance])).await;
    let answer = door.answer("GET /s/weather/x HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.contains("connecting to instance-0 at 127.0.0.1:"),
        "{answer}"
    );
    // Nobody is there at all.
    let answer = door.answer("GET /s/none HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
}

#[tokio::test]
async fn whoever_is_too_slow_is_not_waited_for() {
    let short = Duration::from_millis(150);
    let config = ProxyConfig { answer_timeout: short, stall_timeout: short, ..one_thread() };
    let (agent, door, _runner) = carried(config).await;
    // The agent thinks for too long.
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("AGENT_TIMEOUT"), "{answer}");
    assert_eq!(asked.rest().await, "");
    // It says that it thinks, and never what.
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    let flood = beside(async move { while asked.try_write(b"HTTP/1.1 103 Early\r\n\r\n").await.is_ok() {} });
    let mut answers = Vec::new();
    // It still writes, so that the end may be a broken one.
    let _ = within("the end", client.read_to_end(&mut answers)).await;
    let answers = String::from_utf8(answers).unwrap();
    assert!(
        answers.starts_with("HTTP/1.1 103 ") && answers.contains("HTTP/1.1 504 "),
        "{} bytes",
        answers.len()
    );
    done("the flood is cut off", flood).await;
    // It does not read.
    let client = door.raw(b"POST / HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n").await;
    let (mut from_door, mut to_door) = client.into_split();
    let sender = beside(async move { to_door.write_all(&vec![0; 50_000_000]).await.is_err() });
    let asked = agent.asked().await;
    let mut answer = Vec::new();
    // The client still sends, so that the end may be a broken one.
    let _ = within("the end", from_door.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 504 "), "{}", String::from_utf8_lossy(&answer));
    drop((asked, from_door));
    assert!(done("the sender", sender).await);
    // The client does not send.
    let mut client = door.raw(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nbod").await;
    let mut asked = agent.asked().await;
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(asked.rest().await, "bod");
    // The client does not read.
    let client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").await;
    assert!(within("the agent is cut off", asked.try_write(&vec![0; 50_000_000])).await.is_err());
    drop(client);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request() {
    let (agent, door, _runner) = carried(one_thread()).await;
    for request in ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nbod"] {
        let client = door.raw(request.as_bytes()).await;
        let mut asked = agent.asked().await;
        drop(client);
        let rest = asked.rest().await;
        assert!(request.ends_with(&rest), "{rest}");
    }
    // In the middle of its answer.
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    asked.say("HTTP/1.1 200 OK\r\n\r\nhalf").await;
    read_until(&mut client, "half").await;
    drop(client);
    assert_eq!(asked.rest().await, "");
}

#[tokio::test]
async fn a_request_takes_a_place_while_it_runs() {
    let mut runner = FakeRunner::start(1, 0);
    let agent = Agent::listen().await;
    let instance = RoutedInstance { max_places: 1, ..agent.behind(&runner.instance) };
    let door = Door::open(one_thread(), weather([instance])).await;
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    let mut waiting = door.client("/s/weather").await;
    until("it waits", || door.proxy.waiting() == 1).await;
    assert!(runner.is_idle());
    asked.say("HTTP/1.1 204 No\r\n\r\n").await;
    read_until(&mut client, "\r\n\r\n").await;
    assert_connected(&mut waiting, &mut runner.next().await.take().await).await;
}

#[tokio::test]
async fn a_request_waits_for_an_instance_that_starts() {
    let runner = FakeRunner::start(1, 0);
    let agent = Agent::listen().await;
    let ready = agent.behind(&runner.instance);
    let door = Door::open(one_thread(), weather([starting(&ready)])).await;
    let mut client = door.raw(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo").await;
    until("it waits", || door.proxy.waiting() == 1).await;
    client.write_all(b"dyGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    door.publish(weather([ready]));
    let mut asked = agent.asked().await;
    assert_eq!(asked.body(4).await, "body");
    asked.say("HTTP/1.1 204 No\r\n\r\n").await;
    read_until(&mut client, "\r\n\r\n").await;
    assert!(agent.asked().await.head.starts_with("GET /2 "));
}

#[tokio::test]
async fn requests_do_not_take_all_the_room() {
    let mut runner = FakeRunner::start(1, 0);
    let agent = Agent::listen().await;
    let config = ProxyConfig { most_here: 8, ..one_thread() };
    let door = Door::open(config, weather([agent.behind(&runner.instance)])).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push((door.raw(b"GET / HTTP/1.1\r\n\r\n").await, agent.asked().await));
    }
    let answer = door.answer("GET / HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many plain requests"), "{answer}");
    let mut client = door.client("/").await;
    assert_connected(&mut client, &mut runner.next().await.take().await).await;
    let (mut client, mut asked) = open.pop().unwrap();
    asked.say("HTTP/1.1 204 No\r\n\r\n").await;
    read_until(&mut client, "\r\n\r\n").await;
    client.write_all(b"GET /again HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(agent.asked().await.head.starts_with("GET /again "));
}

#[tokio::test]
async fn an_external_service_is_asked_beside_its_socket() {
    let runner = FakeRunner::start(1, 0);
    let agent = Agent::listen().await;
    let endpoint =
        Endpoint::parse(&format!("ws://localhost:{}/far/ws?token=t", agent.address.port())).unwrap();
    let instance = RoutedInstance {
        upstream: Some(Arc::new(Upstream::External { endpoint })),
        ..runner.instance.clone()
    };
    let door = Door::open(one_thread(), weather([instance])).await;
    let mut client = door.raw(b"GET /s/weather/v1/models HTTP/1.1\r\nHost: front\r\n\r\n").await;
    let mut asked = agent.asked().await;
    let expected =
        format!("GET /far/v1/models?token=t HTTP/1.1\r\nHost: localhost:{}\r\n", agent.address.port());
    assert!(asked.head.starts_with(&expected), "{}", asked.head);
    asked.say("HTTP/1.1 204 No\r\n\r\n").await;
    read_until(&mut client, "\r\n\r\n").await;
    // Over TLS where there is none: said so.
    let endpoint = Endpoint::parse(&format!("wss://localhost:{}/", agent.address.port())).unwrap();
    let instance = RoutedInstance {
        upstream: Some(Arc::new(Upstream::External { endpoint })),
        ..runner.instance.clone()
    };
    door.publish(weather([instance]));
    let answering = beside(async move {
        for _ in 0..3 {
            let (mut stream, _) = agent.listener.accept().await.unwrap();
            // It speaks something else.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let answer = door.answer("GET /s/weather HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("TLS"), "{answer}");
    done("the answers", answering).await;
}

#[tokio::test]
async fn an_external_service_is_reached_over_tls() {
    let runner = FakeRunner::start(1, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("far.pem");
    let authority = Authority::new("far").unwrap();
    authority.write(&file).unwrap();
    let acceptor = authority.acceptor(&["localhost"], |_| {}).unwrap();
    let agent = Agent::listen().await;
    let endpoint = Endpoint::parse(&format!("wss://localhost:{}/ws", agent.address.port())).unwrap();
    let instance = RoutedInstance {
        upstream: Some(Arc::new(Upstream::External { endpoint })),
        ..runner.instance.clone()
    };
    let config = ProxyConfig { trust: Trust::file(file), ..one_thread() };
    let door = Door::open(config, weather([instance])).await;
    let far = beside(async move {
        let mut far = acceptor.accept(agent.listener.accept().await.unwrap().0).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(far.read_u8().await.unwrap());
        }
        let mut body = vec![0; 300_000];
        far.read_exact(&mut body).await.unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n").await.unwrap();
        far.write_all(&body).await.unwrap();
        far.flush().await.unwrap();
        String::from_utf8(head).unwrap()
    });
    let body = "0123456789".repeat(30_000);
    let request = format!("POST /s/weather/up HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{body}");
    let mut client = door.raw(request.as_bytes()).await;
    let answer = read_answer(&mut client, 300_000).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&body));
    let head = done("the far end", far).await;
    assert!(head.starts_with("POST /up HTTP/1.1\r\nHost: localhost:"), "{head}");
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_and_not_for_those_who_say_nothing() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut idle = door.raw(b"GET /health HTTP/1.1\r\n\r\n").await;
    read_until(&mut idle, "}\n").await;
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let mut asked = agent.asked().await;
    let proxy = door.proxy.clone();
    let ending = beside(async move { proxy.shut_down(Duration::from_secs(19)).await });
    assert_eq!(within("the end of the idle one", idle.read(&mut [0; 8])).await.unwrap(), 0);
    asked.say("HTTP/1.1 204 No\r\n\r\n").await;
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 204 "));
    done("the shutdown", ending).await;
}

#[tokio::test]
async fn a_shutdown_tells_those_whose_time_is_up() {
    let (agent, door, _runner) = carried(one_thread()).await;
    let mut client = door.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    let _asked = agent.asked().await;
    let proxy = door.proxy.clone();
    let ending = beside(async move { proxy.shut_down(Duration::from_millis(50)).await });
    let mut answer = String::new();
    within("the end", client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("shutting down"), "{answer}");
    drop(client);
    done("the shutdown", ending).await;
}

/// The answer, with a body of that length.
async fn read_answer(client: &mut TcpStream, length: usize) -> String {
    let head = read_until(client, "\r\n\r\n").await;
    let (_, had) = head.split_once("\r\n\r\n").unwrap();
    let mut body = vec![0; length - had.len()];
    within("the body", client.read_exact(&mut body)).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Something that goes on meanwhile.
fn beside<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinSet<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    tasks
}

/// What came of it.
async fn done<T: 'static>(what: &str, mut tasks: JoinSet<T>) -> T {
    within(what, tasks.join_next()).await.unwrap().unwrap()
}
