//! Enough of WebSocket for a client that trusts its server: requests, masked frames, and where the server's frames end.

use myagent_relay::codec::{Opcode, write_masked_frame};
use std::net::SocketAddr;

/// The upgrade request for a target.
pub(super) fn request(address: SocketAddr, target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Where the answer's head ends.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(bytes, b"\r\n\r\n")? + 4)
}

/// A text frame as a client sends it. A fixed key: what it protects from is not here.
pub(super) fn text(payload: &str) -> Vec<u8> {
    masked(Opcode::Text, payload.as_bytes())
}

/// A message of so many bytes, masked with zeros: what an agent does to take that off is not here either.
pub(super) fn unmasked(bytes: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked_frame(&mut frame, Opcode::Text, &vec![b'x'; bytes], [0; 4]);
    frame
}

/// The answer to a ping.
pub(super) fn pong(payload: &[u8]) -> Vec<u8> {
    masked(Opcode::Pong, payload)
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_masked_frame(&mut frame, opcode, payload, [0x37, 0xfa, 0x21, 0x3d]);
    frame
}

/// Whether this frame is a ping.
pub(super) fn is_ping(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| Opcode::from_bits(*first) == Some(Opcode::Ping))
}

/// Whether this frame closes the connection.
pub(super) fn is_close(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| Opcode::from_bits(*first) == Some(Opcode::Close))
}

/// The header of a server's frame: the length of the payload, and where that begins. None: it is not all there.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match *bytes.get(1)? {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?, 10),
        short => (usize::from(short), 2),
    })
}

/// The first frame of a server: its payload, and where the next one begins. None: it is not all there.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, begin) = header(bytes)?;
    let end = begin.checked_add(length)?;
    Some((bytes.get(begin..end)?, end))
}

/// Counts the messages of a server, however its frames are cut up on the way, and keeps its pings. Nothing else is kept.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// The beginning of a header that is not all there.
    header: Vec<u8>,
    /// First byte of the frame that is passing.
    kind: u8,
    /// What is still to come of it.
    left: usize,
    /// Its payload, if it is a control frame.
    control: Vec<u8>,
    /// What pings had in them that are still to be answered.
    pub(super) pings: Vec<Vec<u8>>,
}

impl Counter {
    /// Takes what was read; how many messages have ended in it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> usize {
        let mut messages = 0;
        loop {
            if self.left > 0 {
                let (here, rest) = bytes.split_at(self.left.min(bytes.len()));
                if self.is_control() {
                    self.control.extend_from_slice(here);
                }
                self.left -= here.len();
                bytes = rest;
                if self.left > 0 {
                    return messages;
                }
                messages += self.end();
            }
            if bytes.is_empty() {
                return messages;
            }
            let (length, begin, kind) = if let Some((length, begin)) = header(bytes)
                && self.header.is_empty()
            {
                (length, begin, bytes[0])
            } else {
                self.header.push(bytes[0]);
                let Some((length, _)) = header(&self.header) else {
                    bytes = &bytes[1..];
                    continue;
                };
                (length, 1, std::mem::take(&mut self.header)[0])
            };
            (self.kind, self.left) = (kind, length);
            bytes = &bytes[begin..];
            if length == 0 {
                messages += self.end();
            }
        }
    }

    fn is_control(&self) -> bool {
        self.kind & 0x08 != 0
    }

    /// A frame is over; 1 if a message is.
    fn end(&mut self) -> usize {
        if self.is_control() {
            let payload = std::mem::take(&mut self.control);
            if is_ping(&[self.kind]) {
                self.pings.push(payload);
            }
            return 0;
        }
        usize::from(self.kind & 0x80 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myagent_relay::codec::write_frame;

    #[test]
    fn frames_of_every_length_are_found() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, Opcode::Text, &vec![b'x'; length]);
            let whole = bytes.len();
            assert_eq!(first(&bytes[..whole - 1]), None, "{length}");
            bytes.extend_from_slice(b"more");
            assert_eq!(first(&bytes).map(|(payload, end)| (payload.len(), end)), Some((length, whole)));
        }
        assert_eq!(first(&[]), None);
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut bytes = Vec::new();
        for length in [0, 1, 125, 126, 65_536] {
            write_frame(&mut bytes, Opcode::Text, &vec![b'x'; length]);
            write_frame(&mut bytes, Opcode::Ping, b"");
            write_frame(&mut bytes, Opcode::Ping, b"so");
            write_frame(&mut bytes, Opcode::Pong, b"no");
        }
        // The beginning of a message, which is none yet.
        bytes.extend_from_slice(&[0x81, 3, b'a']);
        for piece in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut counter = Counter::default();
            let messages: usize = bytes.chunks(piece).map(|piece| counter.feed(piece)).sum();
            assert_eq!((messages, counter.pings.len()), (5, 10), "{piece}");
            assert!(counter.pings.iter().step_by(2).all(Vec::is_empty));
            assert!(counter.pings.iter().skip(1).step_by(2).all(|ping| ping == b"so"));
        }
    }

    #[test]
    fn pings_are_known_and_answered() {
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Ping, b"so");
        assert!(is_ping(&frame) && !is_ping(&[]));
        frame.clear();
        write_frame(&mut frame, Opcode::Text, b"so");
        assert!(!is_ping(&frame));
        assert_eq!(pong(b"so")[..2], [0x8a, 0x82]);
    }

    #[test]
    fn the_head_ends_after_its_empty_line() {
        assert_eq!(head_end(b"HTTP/1.1 101 X\r\nA: b\r\n\r\n\x81\x00"), Some(24));
        assert_eq!(head_end(b"HTTP/1.1 101 X\r\n"), None);
    }
}
