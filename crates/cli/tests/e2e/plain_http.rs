//! Plain HTTP through the front door, to agents that have a web server beside their WebSocket.

use crate::fleet::{PATIENCE, Process, instance, manager, number, start_fake};
use crate::wire::{TEXT, frame};
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{TestManager, http, wait_for};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client that keeps its connection.
struct Kept(TcpStream);

impl Kept {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(timeout(PATIENCE, self.0.write_all(bytes)).await.context("nobody reads")??)
    }

    /// The head of the next answer.
    async fn head(&mut self) -> Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.context("no answer")??);
        }
        Ok(String::from_utf8(head)?)
    }

    /// The next answer: its head, and what it says.
    async fn answer(&mut self) -> Result<(String, Value)> {
        let head = self.head().await?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.context("no length")?.parse()?];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.context("half an answer")??;
        Ok((head, serde_json::from_slice(&body)?))
    }
}

async fn plain_requests(server: &Server) -> Result<(u64, u64)> {
    let info = http::request(server.address("api")?, "GET", "/api/v1/info", None).await?.json()?;
    let count = |name: &str| info["plain_requests"][name].as_u64().context("a count");
    Ok((count("served")?, count("failed")?))
}

async fn fleet(manager: &TestManager) -> Result<Server> {
    let server = manager.up().await?;
    start_fake(manager, "one", &[], &["--http", "--echo"]).await?;
    start_fake(manager, "two", &["--path", "/v1/ws"], &["--http", "--echo"]).await?;
    Ok(server)
}

#[tokio::test]
async fn a_kept_connection_asks_two_services_sends_megabytes_and_becomes_a_websocket() -> Result<()> {
    let manager = manager()?;
    let server = fleet(&manager).await?;
    let mut client = Kept::open(server.address("proxy")?).await?;

    client
        .send(b"GET /s/one/status?x=1&service=two HTTP/1.1\r\nHost: front.example\r\nX-Own: y\r\n\r\n")
        .await?;
    let (head, said) = client.answer().await?;
    ensure!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nConnection: keep-alive\r\n"),
        "{head}"
    );
    ensure!(head.contains("\r\nX-MyAgent-Service: one\r\nX-MyAgent-Instance: one-0\r\n"), "{head}");
    ensure!(said["method"] == "GET" && said["target"] == "/status?x=1", "{said}");
    let headers = &said["headers"];
    ensure!(headers["host"] == "front.example" && headers["x-own"] == "y", "{said}");
    ensure!(headers["x-forwarded-for"] == "127.0.0.1" && headers["x-forwarded-proto"] == "http", "{said}");
    ensure!(headers["traceparent"].is_string() && headers["x-request-id"].is_string(), "{said}");

    // Its socket is at /v1/ws, and what else it has beside that.
    client.send(b"DELETE /s/two/things/7 HTTP/1.1\r\nHost: h\r\n\r\n").await?;
    let (head, said) = client.answer().await?;
    ensure!(head.contains("\r\nX-MyAgent-Service: two\r\n"), "{head}");
    ensure!(said["method"] == "DELETE" && said["target"] == "/v1/things/7", "{said}");

    let body: Vec<u8> = (0..6_000_000_u32).map(|number| (number % 251) as u8).collect();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    client.send(b"POST /s/one/upload HTTP/1.1\r\nHost: h\r\nContent-Length: 6000000\r\n\r\n").await?;
    client.send(&body).await?;
    let (_, said) = client.answer().await?;
    ensure!(said["length"] == 6_000_000 && said["sum"] == sum, "{said}");
    client.send(b"PUT /s/one/upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    for piece in body.chunks(99_999) {
        client.send(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        client.send(piece).await?;
        client.send(b"\r\n").await?;
    }
    client.send(b"0\r\n\r\n").await?;
    let (_, said) = client.answer().await?;
    ensure!(said["method"] == "PUT" && said["length"] == 6_000_000 && said["sum"] == sum, "{said}");

    client
        .send(
            b"GET /s/two/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await?;
    let head = client.head().await?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nX-MyAgent-Service: two\r\n"), "{head}");
    client.send(&frame(TEXT, b"hello")).await?;
    let mut echo = [0; 7];
    timeout(PATIENCE, client.0.read_exact(&mut echo)).await??;
    ensure!(echo == *b"\x81\x05hello", "{echo:?}");
    ensure!(plain_requests(&server).await? == (4, 0), "{:?}", plain_requests(&server).await?);
    let status = manager.ok(&["status"]).await?;
    ensure!(status.stdout.contains("4 plain requests"), "{status}");
    Ok(())
}

#[tokio::test]
async fn who_expects_a_word_first_gets_it() -> Result<()> {
    let manager = manager()?;
    let server = fleet(&manager).await?;
    let mut client = Kept::open(server.address("proxy")?).await?;
    for body in ["first", "second"] {
        // As curl does it.
        let head = format!(
            "POST /s/one/ HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8\r\nAccept: */*\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        client.send(head.as_bytes()).await?;
        ensure!(client.head().await? == "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(body.as_bytes()).await?;
        let (head, said) = client.answer().await?;
        ensure!(head.starts_with("HTTP/1.1 200 ") && said["length"] == body.len(), "{head} {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_and_an_agent_that_dies() -> Result<()> {
    let manager = manager()?;
    let server = fleet(&manager).await?;
    let proxy = server.address("proxy")?;
    let slow = "GET /s/one/slow HTTP/1.1\r\nHost: h\r\n\r\n";
    let agent = Process::of(number(&instance(&manager, "one").await?["pid"])?)?;
    let sockets = || anyhow::Ok(std::fs::read_dir(format!("/proc/{}/fd", agent.pid))?.count());
    let before = sockets()?;
    let mut client = Kept::open(proxy).await?;
    client.send(slow.as_bytes()).await?;
    wait_for(PATIENCE, "the agent has it", async || (sockets().ok()? > before).then_some(())).await;
    drop(client);
    wait_for(PATIENCE, "the agent is rid of it", async || (sockets().ok()? <= before).then_some(())).await;
    wait_for(PATIENCE, "it is counted", async || {
        (plain_requests(&server).await.ok()? == (0, 1)).then_some(())
    })
    .await;

    let mut client = Kept::open(proxy).await?;
    client.send(slow.as_bytes()).await?;
    wait_for(PATIENCE, "the agent has it", async || (sockets().ok()? > before).then_some(())).await;
    agent.kill();
    let (head, said) = client.answer().await?;
    ensure!(head.starts_with("HTTP/1.1 502 ") && said["code"] == "AGENT_FAILED", "{head} {said}");
    // It comes back, and is waited for.
    let answer = http::request(proxy, "GET", "/s/one/again", None).await?;
    ensure!(answer.status == 200 && answer.json()?["target"] == "/again", "{answer:?}");
    let answer = http::request(proxy, "GET", "/s/one/bye", None).await?;
    ensure!(answer.status == 502 && answer.json()?["code"] == "AGENT_FAILED", "{answer:?}");
    manager.ok(&["stop", "one"]).await?;
    let answer = http::request(proxy, "GET", "/s/one/again", None).await?;
    ensure!(answer.status == 503 && answer.json()?["code"] == "ROUTING_FAILED", "{answer:?}");
    Ok(())
}

/// Requests that two readers could understand differently: none of them goes on, and the agent is asked nothing.
#[tokio::test]
async fn nothing_is_smuggled() -> Result<()> {
    let manager = manager()?;
    let server = fleet(&manager).await?;
    let proxy = server.address("proxy")?;
    let inner = "GET /s/one/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (lines, behind) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Content-Length: 0\r\nContent-Length: 5\r\n", ""),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0;\n\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0 \r\n\r\n"),
        ("Content-Length: 5\r\n X: y\r\n", ""),
    ] {
        let text = format!("POST /s/one/ HTTP/1.1\r\nHost: h\r\n{lines}\r\n{behind}{inner}");
        let answer = http::raw(proxy, &text).await.with_context(|| lines.to_owned())?;
        ensure!(answer.status == 400 && !answer.body.contains("smuggled"), "{lines:?}: {answer:?}");
    }
    // What is said to be of this hop only is a body all the same.
    let text = format!(
        "POST /s/one/ HTTP/1.1\r\nHost: h\r\nConnection: close, Content-Length\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let answer = http::raw(proxy, &text).await?;
    ensure!(answer.status == 200 && answer.json()?["length"] == inner.len(), "{answer:?}");
    Ok(())
}
