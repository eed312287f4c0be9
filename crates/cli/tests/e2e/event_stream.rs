//! Events as they happen: a hundred readers, half of them slow; readers that break off and come back; nothing is missed and nothing
//! comes twice, and what is not read costs the manager next to nothing.

use crate::fleet::{fake, manager, rounds};
use anyhow::{Context, Result, ensure};
use myagent_testkit::http;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);

/// A reader of the stream.
struct Reader {
    stream: BufReader<TcpStream>,
    /// Ids of what it has read.
    ids: Vec<i64>,
}

impl Reader {
    async fn open(api: SocketAddr, last: Option<i64>) -> Result<Self> {
        let mut stream = TcpStream::connect(api).await?;
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET /api/v1/events?kind=service. HTTP/1.1\r\nHost: {api}\r\nAccept: text/event-stream\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut stream = BufReader::new(stream);
        // The head; from then on nothing that happens is missed.
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            ensure!(timeout(PATIENCE, stream.read_line(&mut line)).await?? > 0, "no head");
        }
        Ok(Self { stream, ids: Vec::new() })
    }

    /// Reads until the event with this id, or so many.
    async fn read_until(&mut self, id: i64, most: usize) -> Result<()> {
        let mut line = String::new();
        let begin = self.ids.len();
        while self.ids.last().is_none_or(|last| *last < id) && self.ids.len() - begin < most {
            line.clear();
            let length =
                timeout(PATIENCE, self.stream.read_line(&mut line)).await.context("no event in time")??;
            ensure!(length > 0, "the stream ended after {:?}", self.ids.last());
            if let Some(id) = line.strip_prefix("id: ") {
                self.ids.push(id.trim().parse()?);
            }
        }
        Ok(())
    }
}

/// Changes a service so often, on one connection; each change is an event.
async fn change(api: SocketAddr, times: usize) -> Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(api).await?);
    for number in 0..times {
        // Long, so that the buffers of sockets do not hide who does not read.
        let body = json!({"description": format!("{number}: {}", "x".repeat(900))}).to_string();
        let request = format!(
            "PATCH /api/v1/services/a HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
    }
    Ok(())
}

fn resident_kb(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

async fn events(api: SocketAddr, query: &str) -> Result<Vec<i64>> {
    let page = http::request(api, "GET", &format!("/api/v1/events?{query}"), None).await?.json()?;
    Ok(page["items"]
        .as_array()
        .context("no items")?
        .iter()
        .filter_map(|event| event["id"].as_i64())
        .collect())
}

#[tokio::test]
async fn a_hundred_readers_miss_nothing_and_get_nothing_twice() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let new = json!({"name": "a", "source": {"kind": "command", "argv": [fake()]}});
    http::request(api, "POST", "/api/v1/services", Some(&new)).await?;
    let begin = events(api, "kind=service.&limit=1").await?[0];

    let mut readers = JoinSet::new();
    let count = rounds(2_000, 8_000);
    let last = begin + i64::try_from(count)?;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut reader = Reader::open(api, None).await?;
        readers.spawn(async move {
            reader.read_until(last, usize::MAX).await?;
            anyhow::Ok(reader.ids)
        });
        slow.push(Reader::open(api, Some(begin)).await?);
    }
    // Some that break off again and again.
    for turn in 1..=5 {
        readers.spawn(async move {
            let (mut ids, mut seen) = (Vec::new(), begin);
            while seen < last {
                let mut reader = Reader::open(api, Some(seen)).await?;
                reader.read_until(last, turn * 100 + 7).await?;
                seen = *reader.ids.last().context("nothing")?;
                ids.extend(reader.ids);
            }
            anyhow::Ok(ids)
        });
    }
    let before = resident_kb(server.pid())?;
    change(api, count).await?;
    let expected: Vec<i64> = (begin + 1..=last).collect();
    while let Some(ids) = readers.join_next().await {
        let ids = ids??;
        assert!(ids == expected, "{} events instead of {}", ids.len(), expected.len());
    }
    let grown = resident_kb(server.pid())?.saturating_sub(before);
    assert!(grown < 100 * 1024, "the manager has grown by {grown} kB for readers that do not read");
    // Those that have not read at all so far get the rest from what is stored.
    for mut reader in slow {
        reader.read_until(last, usize::MAX).await?;
        assert!(reader.ids == expected, "{} events instead of {}", reader.ids.len(), expected.len());
    }
    // As a list, in pages.
    let (mut ids, mut after) = (Vec::new(), begin);
    while after < last {
        let page = events(api, &format!("kind=service.updated&limit=700&after_id={after}")).await?;
        after = *page.last().context("an empty page")?;
        ids.extend(page);
    }
    assert!(ids == expected);
    Ok(())
}

#[tokio::test]
async fn connections_have_events_and_too_many_of_them_are_left_out() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let api = server.address("api")?;
    let new = json!({"name": "a", "source": {"kind": "command", "argv": [fake(), "--echo"]}});
    http::request(api, "POST", "/api/v1/services", Some(&new)).await?;
    http::request(api, "POST", "/api/v1/services/a/start", None).await?;
    let rule = json!({"name": "all", "target_services": ["a"]});
    http::request(api, "POST", "/api/v1/routing/rules", Some(&rule)).await?;
    let all = async |kind: &str| -> Result<Vec<Value>> {
        let page = http::request(api, "GET", &format!("/api/v1/events?kind={kind}&limit=1000"), None)
            .await?
            .json()?;
        Ok(page["items"].as_array().cloned().unwrap_or_default())
    };
    let client = myagent_testkit::client::connect(&server.ws_url("/")?).await?;
    let opened = myagent_testkit::wait_for(PATIENCE, "the event of a connection", async || {
        all("connection.opened").await.ok()?.first().cloned()
    })
    .await;
    assert_eq!(opened["instance"], "a-0");
    let why = opened["why"].as_str().unwrap_or_default();
    assert!(why.contains(" from 127.0.0.1:") && why.ends_with("by rule \"all\""), "{why}");
    drop(client);
    let closed = myagent_testkit::wait_for(PATIENCE, "the event of its end", async || {
        all("connection.closed").await.ok()?.first().cloned()
    })
    .await;
    assert!(closed["why"].as_str().unwrap_or_default().contains(" s: 1006"), "{closed}");
    // Many at once.
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(myagent_testkit::client::connect(&server.ws_url("/")?).await?);
    }
    myagent_testkit::wait_for(PATIENCE, "all of them", async || {
        let stats = http::request(api, "GET", "/api/v1/connections/stats", None).await.ok()?.json().ok()?;
        (stats["total_connections"] == 200).then_some(())
    })
    .await;
    let count = all("connection.").await?.len();
    assert!((3..190).contains(&count), "{count} events of 201 connections");
    Ok(())
}
