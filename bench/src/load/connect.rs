//! New connections: connect, upgrade, wait for the answer and the greeting, leave; and again.
//!
//! They leave with a reset, so that no port waits two minutes for stray packets and the round can be repeated.

use super::poll::Poll;
use super::{Measured, Meter, frames};
use anyhow::{Context, Result, bail, ensure};
use rustix::net::{RecvFlags, recv, sockopt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A connection with its handshake done.
pub(crate) struct Opened {
    pub(crate) stream: TcpStream,
    /// The answer's head.
    pub(crate) head: String,
}

impl Opened {
    /// The value of a header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// Opens one WebSocket and waits for the first frame.
pub(crate) fn open(address: SocketAddr, target: &str) -> Result<Opened> {
    let mut stream = connect(address, &frames::request(address, target))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).context("no answer")?;
        ensure!(count > 0, "the connection ended in the handshake");
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = frames::head_end(&bytes) else { continue };
        ensure!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes));
        if frames::first(&bytes[end..]).is_some() {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Ok(Opened { stream, head });
        }
    }
}

fn connect(address: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.write_all(request)?;
    Ok(stream)
}

/// So many at once, each new when one is done.
pub(crate) struct Connects<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) target: &'a str,
    pub(crate) at_once: usize,
}

struct Pending {
    stream: TcpStream,
    since: Instant,
    bytes: Vec<u8>,
}

impl Connects<'_> {
    /// One round. An error if one of them is refused.
    pub(crate) fn run(&self, duration: Duration) -> Result<Measured> {
        let request = frames::request(self.address, self.target);
        let mut poll = Poll::new()?;
        let begin = |poll: &Poll, number: usize| -> Result<Pending> {
            let since = Instant::now();
            let stream = connect(self.address, &request)?;
            poll.add(&stream, number)?;
            Ok(Pending { stream, since, bytes: Vec::new() })
        };
        let mut meter = Meter::start(duration)?;
        let mut slots: Vec<Pending> =
            (0..self.at_once).map(|number| begin(&poll, number)).collect::<Result<_>>()?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let ready: Vec<usize> = poll.wait(DEADLINE)?.collect();
            ensure!(!ready.is_empty(), "no connection was answered within {DEADLINE:?}");
            for number in ready {
                let pending = &mut slots[number];
                let (_, count) = recv(&pending.stream, &mut buffer[..], RecvFlags::DONTWAIT)?;
                ensure!(count > 0, "a connection ended in its handshake");
                // Nearly always the whole answer comes at once.
                let bytes = if pending.bytes.is_empty() {
                    &buffer[..count]
                } else {
                    pending.bytes.extend_from_slice(&buffer[..count]);
                    &pending.bytes
                };
                if !is_greeted(bytes)? {
                    if pending.bytes.is_empty() {
                        pending.bytes.extend_from_slice(&buffer[..count]);
                    }
                    continue;
                }
                if !meter.done(pending.since, Instant::now()) {
                    return meter.finish();
                }
                slots[number] = begin(&poll, number)?;
            }
        }
    }
}

/// Whether the answer and the first frame are there.
fn is_greeted(bytes: &[u8]) -> Result<bool> {
    let Some(end) = frames::head_end(bytes) else { return Ok(false) };
    let Some((greeting, _)) = frames::first(&bytes[end..]) else { return Ok(false) };
    if !bytes.starts_with(b"HTTP/1.1 101") || memchr::memmem::find(greeting, b"system.connected").is_none() {
        bail!("not served: {}", String::from_utf8_lossy(bytes));
    }
    Ok(true)
}
