//! One client of the quick agent: its handshake, what it says, what it is still to get.

use super::Order;
use anyhow::{Context, Result, bail, ensure};
use myagent_relay::codec::{Opcode, write_frame};
use myagent_relay::handshake::accept_key;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::net::TcpStream;
use std::time::Duration;

/// Longest request.
const MAX_HEAD: usize = 16 * 1024;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// None: the handshake is not done.
    what: Option<What>,
    /// What was read and is not whole.
    partial: Vec<u8>,
    /// What the socket did not take.
    kept: Vec<u8>,
    /// Room in the socket is waited for.
    pub(super) is_watched: bool,
    /// What it is told, if it is told something.
    pub(super) order: Option<Order>,
    /// A token as a frame.
    token: Vec<u8>,
    tokens: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Echo,
    Stream,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            what: None,
            partial: Vec::new(),
            kept: Vec::new(),
            is_watched: false,
            order: None,
            token: Vec::new(),
            tokens: 0,
        }
    }

    /// Nothing waits for room.
    pub(super) fn takes_more(&self) -> bool {
        self.kept.is_empty()
    }

    /// Reads once and answers; an order, if it gave one. An error: it is over.
    pub(super) fn hear(&mut self, buffer: &mut [u8]) -> Result<Option<Order>> {
        self.flush()?;
        let count = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        ensure!(count > 0, "it has left");
        // Nearly always a message is read whole, and nothing is copied.
        if self.partial.is_empty() {
            let (order, used) = self.take(&buffer[..count])?;
            self.partial.extend_from_slice(&buffer[used..count]);
            return Ok(order);
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(&buffer[..count]);
        let (order, used) = self.take(&bytes)?;
        bytes.drain(..used);
        self.partial = bytes;
        Ok(order)
    }

    /// Answers what is whole; how much that was.
    fn take(&mut self, bytes: &[u8]) -> Result<(Option<Order>, usize)> {
        let (mut order, mut used, mut out) = (None, 0, Vec::new());
        if self.what.is_none() {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                ensure!(bytes.len() < MAX_HEAD, "no request");
                return Ok((None, 0));
            };
            used = end + 4;
            let head = std::str::from_utf8(&bytes[..used])?;
            self.what = Some(if head.lines().next().is_some_and(|line| line.contains("/stream ")) {
                What::Stream
            } else {
                What::Echo
            });
            out.extend_from_slice(&answer(head)?);
        }
        while let Some(frame) = Frame::first(&bytes[used..]) {
            used += frame.length;
            match frame.opcode {
                Opcode::Close => bail!("it says goodbye"),
                Opcode::Ping => write_frame(&mut out, Opcode::Pong, &frame.payload()),
                Opcode::Pong => {}
                _ if self.what == Some(What::Stream) => {
                    let text = String::from_utf8(frame.payload())?;
                    order = Some(Order::read(&text).with_context(|| format!("no order: {text}"))?);
                    self.tokens = 0;
                }
                opcode => frame.echo(&mut out, opcode),
            }
        }
        self.write(&out)?;
        Ok((order, used))
    }

    /// Says one token; how long after it the next one is due, none: that was the last.
    pub(super) fn token(&mut self, now: Duration) -> Result<Option<Duration>> {
        let (bytes, next) = match self.order.context("no order")? {
            Order::Paced { bytes, every, count, .. } => (bytes, (self.tokens + 1 < count).then_some(every)),
            Order::Flat { bytes, until } => (bytes, (now < until).then_some(Duration::ZERO)),
        };
        if self.token.is_empty() {
            write_frame(&mut self.token, Opcode::Text, &vec![b'x'; bytes]);
        }
        let mut token = std::mem::take(&mut self.token);
        self.write(&token)?;
        if next.is_none() {
            self.order = None;
            token.clear();
            // By which a stream without a number is known to be over.
            write_frame(&mut token, Opcode::Text, b".");
            self.write(&token)?;
            token.clear();
        }
        self.token = token;
        self.tokens += 1;
        Ok(next)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.kept.is_empty() {
            self.kept.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = match send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        self.kept.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        self.write(&kept)
    }
}

fn answer(head: &str) -> Result<Vec<u8>> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let key =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key).next();
    let key = accept_key(key.context("no WebSocket handshake")?.trim());
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ";
    Ok(format!("{head}{key}\r\n\r\n").into_bytes())
}

/// A client's frame.
struct Frame<'a> {
    opcode: Opcode,
    key: [u8; 4],
    masked: &'a [u8],
    /// With its header.
    length: usize,
}

impl<'a> Frame<'a> {
    /// None: it is not all there.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (length, begin) = match *bytes.get(1)? & 0x7f {
            126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let key = *bytes.get(begin..)?.first_chunk()?;
        let end = (begin + 4).checked_add(length)?;
        let masked = bytes.get(begin + 4..end)?;
        Some(Self { opcode: Opcode::from_bits(bytes[0])?, key, masked, length: end })
    }

    fn payload(&self) -> Vec<u8> {
        self.masked.iter().zip(self.key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    /// The same message as a server sends it. Clients of the bench mask with zeros, which costs nothing to take off.
    fn echo(&self, out: &mut Vec<u8>, opcode: Opcode) {
        if self.key == [0; 4] {
            write_frame(out, opcode, self.masked);
        } else {
            write_frame(out, opcode, &self.payload());
        }
    }
}
