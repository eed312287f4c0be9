//! A WebSocket client that may break every rule: it sends bytes, and tells what comes back.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// Longest wait for one frame.
const DEADLINE: Duration = Duration::from_secs(30);
/// The key of every mask: any will do, as long as it changes the bytes.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
/// To be taken off `TEXT`, or to stand alone as a continuation that is not the last.
pub(crate) const FIN: u8 = 0x80;

/// The beginning of a frame; `mask` is the bit that says that a key follows.
pub(crate) fn frame_head(first: u8, mask: u8, length: usize) -> Vec<u8> {
    let mut out = vec![first];
    match length {
        0..126 => out.push(mask | length as u8),
        126..65_536 => {
            out.push(mask | 0x7e);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 0x7f);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out
}

/// A frame as clients send it. `first` is its first byte: `FIN`, reserved bits and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = frame_head(first, 0x80, payload.len());
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    /// A text frame: its length, and the JSON in it.
    Event(usize, Value),
    /// The answer to a ping.
    Pong(Vec<u8>),
    /// A close frame with a code (1005: none) and a reason.
    Close(u16, String),
    /// The end of the stream, or its breaking.
    End,
}

/// A connection after its handshake.
pub(crate) struct Wire {
    /// What comes.
    pub(crate) reader: Reader,
    /// What goes.
    pub(crate) writer: Writer,
}

/// The half that reads.
pub(crate) struct Reader {
    socket: OwnedReadHalf,
    unread: Vec<u8>,
    start: usize,
}

/// The half that writes.
pub(crate) struct Writer {
    socket: OwnedWriteHalf,
}

impl Reader {
    async fn read(&mut self) -> Result<usize> {
        self.unread.drain(..std::mem::take(&mut self.start));
        self.unread.reserve(64 * 1024);
        let read = timeout(DEADLINE, self.socket.read_buf(&mut self.unread)).await;
        // A reset is an end like any other here.
        Ok(read.context("nothing came within 30 s")?.unwrap_or(0))
    }

    /// The next frame; pings and heartbeats are passed over.
    pub(crate) async fn next(&mut self) -> Result<Got> {
        loop {
            let Some((first, payload)) = self.take() else {
                if self.read().await? == 0 {
                    return Ok(Got::End);
                }
                continue;
            };
            match first & 0x0f {
                0x1 => {
                    let event: Value = serde_json::from_slice(&payload)
                        .with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&payload)))?;
                    if event["event"] != "system.heartbeat" {
                        return Ok(Got::Event(payload.len(), event));
                    }
                }
                0xa => return Ok(Got::Pong(payload)),
                0x8 if payload.len() >= 2 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return Ok(Got::Close(code, String::from_utf8(payload[2..].to_vec())?));
                }
                0x8 => return Ok(Got::Close(1005, String::new())),
                _ => {}
            }
        }
    }

    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let unread = &self.unread[self.start..];
        let short = usize::from(*unread.get(1)?);
        let (size, length) = match short {
            126 => (4, usize::from(u16::from_be_bytes(*unread.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*unread.get(2..)?.first_chunk()?) as usize),
            _ => (2, short),
        };
        let payload = unread.get(size..size + length)?.to_vec();
        let first = unread[0];
        self.start += size + length;
        Some((first, payload))
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Result<Value> {
        match self.next().await? {
            Got::Event(_, event) => Ok(event),
            other => bail!("an event was expected, and {other:?} came"),
        }
    }

    /// The next event, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: &str) -> Result<Value> {
        let event = self.event().await?;
        ensure!(event["event"] == kind, "{kind} was expected, and {event} came");
        Ok(event)
    }
}

impl Writer {
    /// Sends bytes as they are. Whoever is not heard any more is told so by what it reads.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = timeout(DEADLINE, self.socket.write_all(bytes)).await;
        // A connection that was closed meanwhile.
        let _ = sent.context("nobody read it within 30 s")?;
        Ok(())
    }

    /// Sends a text frame.
    pub(crate) async fn text(&mut self, text: &str) -> Result<()> {
        self.send(&frame(TEXT, text.as_bytes())).await
    }
}

impl Wire {
    /// Connects and passes the handshake.
    pub(crate) async fn connect(address: SocketAddr, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let reader = Reader { socket: read, unread: Vec::new(), start: 0 };
        let mut wire = Self { reader, writer: Writer { socket: write } };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.writer.send(head.as_bytes()).await?;
        loop {
            let unread = &wire.reader.unread;
            if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&unread[..end]).into_owned();
                ensure!(head.starts_with("HTTP/1.1 101 "), "no handshake: {head}");
                wire.reader.start = end + 4;
                return Ok(wire);
            }
            ensure!(wire.reader.read().await? > 0, "the connection ended in its handshake");
        }
    }

    /// The same, and the greeting has come.
    pub(crate) async fn greeted(address: SocketAddr, path: &str) -> Result<Self> {
        let mut wire = Self::connect(address, path).await?;
        wire.reader.expect("system.connected").await?;
        Ok(wire)
    }

    /// See [`Writer::send`].
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.send(bytes).await
    }

    /// See [`Writer::text`].
    pub(crate) async fn text(&mut self, text: &str) -> Result<()> {
        self.writer.text(text).await
    }

    /// See [`Reader::next`].
    pub(crate) async fn next(&mut self) -> Result<Got> {
        self.reader.next().await
    }

    /// See [`Reader::expect`].
    pub(crate) async fn expect(&mut self, kind: &str) -> Result<Value> {
        self.reader.expect(kind).await
    }

    /// The id of a new session; nothing else may come before it.
    pub(crate) async fn create_session(&mut self) -> Result<String> {
        self.text(r#"{"event":"user.create_session"}"#).await?;
        let created = self.expect("agent.session_created").await?;
        Ok(created["session_id"].as_str().context("a session without an id")?.to_owned())
    }
}
