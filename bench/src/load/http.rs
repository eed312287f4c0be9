//! Plain HTTP requests on kept connections.

use super::connect::DEADLINE;
use super::poll::Poll;
use super::{Measured, Meter, frames};
use anyhow::{Context, Result, ensure};
use rustix::net::{RecvFlags, recv};
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    since: Instant,
}

/// `GET target` on so many connections at once; answers must be 200 and have a length.
pub(crate) fn requests(
    address: SocketAddr,
    target: &str,
    at_once: usize,
    duration: Duration,
) -> Result<Measured> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
    let mut poll = Poll::new()?;
    let mut clients = Vec::new();
    for number in 0..at_once {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        poll.add(&stream, number)?;
        clients.push(Client { stream, bytes: Vec::new(), since: Instant::now() });
    }
    let mut meter = Meter::start(duration);
    for client in &mut clients {
        client.since = Instant::now();
        client.stream.write_all(&request)?;
    }
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let mut heard = false;
        for number in poll.wait(DEADLINE)? {
            heard = true;
            let client = &mut clients[number];
            let (_, count) = recv(&client.stream, &mut buffer[..], RecvFlags::DONTWAIT)?;
            ensure!(count > 0, "the server closed a kept connection");
            client.bytes.extend_from_slice(&buffer[..count]);
            if length(&client.bytes)?.is_none_or(|length| client.bytes.len() < length) {
                continue;
            }
            if !meter.done(client.since, Instant::now()) {
                return Ok(meter.finish());
            }
            client.bytes.clear();
            client.since = Instant::now();
            client.stream.write_all(&request)?;
        }
        ensure!(heard, "no answer within {DEADLINE:?}");
    }
}

/// Of the whole answer; none: its head is not all there.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = frames::head_end(bytes) else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let body =
        lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value).next();
    Ok(Some(end + body.context("an answer without a length")?.trim().parse::<usize>()?))
}

/// Asks for the same again and again on one connection, one question at a time.
pub(crate) struct Asker {
    stream: TcpStream,
    address: SocketAddr,
    request: Vec<u8>,
}

impl Asker {
    pub(crate) fn connect(address: SocketAddr, target: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        Ok(Self { stream, address, request })
    }

    /// The answer's body.
    pub(crate) fn ask(&mut self) -> Result<Value> {
        self.stream.write_all(&self.request)?;
        self.answer()
    }

    /// Changes something; the answer's body.
    pub(crate) fn patch(&mut self, target: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "PATCH {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len(),
        );
        self.stream.write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let (_, count) = recv(&self.stream, &mut buffer[..], RecvFlags::empty())?;
            ensure!(count > 0, "the server closed a kept connection");
            bytes.extend_from_slice(&buffer[..count]);
            if length(&bytes)?.is_some_and(|length| bytes.len() >= length) {
                let body = frames::head_end(&bytes).unwrap_or_default();
                return Ok(serde_json::from_slice(&bytes[body..])?);
            }
        }
    }
}
