//! New connections: connect, upgrade, wait for the answer (and the greeting, where there is one), leave; and again.
//!
//! They leave with a reset, so that no port waits two minutes for stray packets and the round can be repeated.

use super::poll::Poll;
use super::{Measured, Meter, Place, frames};
use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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

/// What a client has to get before it counts as served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The answer to the upgrade.
    Upgrade,
    /// That, and the first event of the event protocol.
    Greeting,
}

/// Opens one WebSocket and waits for the first frame.
pub(crate) fn open(address: SocketAddr, target: &str) -> Result<Opened> {
    open_until(address, target, Until::Greeting)
}

/// Opens one WebSocket.
pub(crate) fn open_until(address: SocketAddr, target: &str, until: Until) -> Result<Opened> {
    greeted(connect(TcpStream::connect(address)?, &frames::request(address, target))?, until)
}

/// Opens one WebSocket from this address of the machine: each has ports of its own.
pub(super) fn open_from(source: Ipv4Addr, place: &Place, until: Until) -> Result<Opened> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    rustix::net::connect(&socket, &place.address)?;
    greeted(connect(socket.into(), &frames::request(place.address, &place.target))?, until)
}

fn greeted(mut stream: TcpStream, until: Until) -> Result<Opened> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).context("no answer")?;
        ensure!(count > 0, "the connection ended in the handshake");
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = frames::head_end(&bytes) else { continue };
        ensure!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&bytes));
        if until == Until::Upgrade || frames::first(&bytes[end..]).is_some() {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Ok(Opened { stream, head });
        }
    }
}

/// Asks on a new connection.
fn connect(mut stream: TcpStream, request: &[u8]) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    stream.write_all(request)?;
    Ok(stream)
}

/// So many at once, each new when one is done.
pub(crate) struct Connects<'a> {
    pub(crate) places: &'a [Place],
    pub(crate) at_once: usize,
    pub(crate) until: Until,
}

struct Pending {
    stream: TcpStream,
    since: Instant,
    bytes: Vec<u8>,
}

impl Connects<'_> {
    /// One round. An error if one of them is refused.
    pub(crate) fn run(&self, duration: Duration) -> Result<Measured> {
        let request = |place: &Place| (place.address, frames::request(place.address, &place.target));
        let requests: Vec<(SocketAddr, Vec<u8>)> = self.places.iter().map(request).collect();
        let mut poll = Poll::new()?;
        let begin = |poll: &Poll, number: usize| -> Result<Pending> {
            let since = Instant::now();
            let (address, request) = &requests[number % requests.len()];
            let stream = connect(TcpStream::connect(address)?, request)?;
            poll.add(&stream, number)?;
            Ok(Pending { stream, since, bytes: Vec::new() })
        };
        let mut meter = Meter::start(duration);
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
                if !is_served(bytes, self.until)? {
                    if pending.bytes.is_empty() {
                        pending.bytes.extend_from_slice(&buffer[..count]);
                    }
                    continue;
                }
                if !meter.done(pending.since, Instant::now()) {
                    return Ok(meter.finish());
                }
                slots[number] = begin(&poll, number)?;
            }
        }
    }
}

/// Whether everything is there that a client waits for.
fn is_served(bytes: &[u8], until: Until) -> Result<bool> {
    let Some(end) = frames::head_end(bytes) else { return Ok(false) };
    let is_greeted = match (until, frames::first(&bytes[end..])) {
        (Until::Upgrade, _) => true,
        (Until::Greeting, None) => return Ok(false),
        (Until::Greeting, Some((greeting, _))) => {
            memchr::memmem::find(greeting, b"system.connected").is_some()
        }
    };
    if !bytes.starts_with(b"HTTP/1.1 101") || !is_greeted {
        bail!("not served: {}", String::from_utf8_lossy(bytes));
    }
    Ok(true)
}
