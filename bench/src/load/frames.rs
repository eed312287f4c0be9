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

/// The first frame of a server: its payload, and where the next one begins. None: it is not all there.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, header) = match *bytes.get(1)? {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = header + usize::try_from(length).ok()?;
    Some((bytes.get(header..end)?, end))
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
