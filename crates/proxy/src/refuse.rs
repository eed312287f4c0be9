//! Turning a WebSocket client away such that a page can read why: the WebSocket is accepted, gets one event, and is closed
//! with 1013 (try again later). A browser shows nothing of an HTTP answer to an upgrade.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::fmt::Display;
use std::time::Duration;

/// Close code: try again later.
const TRY_AGAIN_LATER: u16 = 1013;
/// Longest reason of a close frame, bytes.
const MAX_REASON: usize = 123;

/// What the client is told.
pub(crate) struct Refused {
    /// Why, in a sentence fragment.
    pub(crate) reason: String,
    /// Whether trying again can help.
    pub(crate) recoverable: bool,
    /// When to try again.
    pub(crate) retry_after: Duration,
}

/// What accepts the WebSocket of `key`, tells why, and closes it.
pub(crate) fn websocket(key: &str, protocol: Option<&str>, refused: &Refused, now: impl Display) -> Vec<u8> {
    let event = json!({
        "event": "system.error",
        "timestamp": now.to_string(),
        "content": refused.reason,
        "metadata": {
            "code": "ROUTING_FAILED",
            "recoverable": refused.recoverable,
            "retry_after_ms": refused.retry_after.as_millis() as u64,
        },
    });
    let protocol = protocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let mut bytes = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        accept_key(key)
    )
    .into_bytes();
    push_frame(&mut bytes, 0x81, event.to_string().as_bytes());
    let reason = &refused.reason[..refused.reason.floor_char_boundary(MAX_REASON)];
    push_frame(&mut bytes, 0x88, &[&TRY_AGAIN_LATER.to_be_bytes(), reason.as_bytes()].concat());
    bytes
}

/// Appends an unmasked frame; `first` is its first byte (FIN and opcode). Payloads here are far below 64 KiB.
fn push_frame(bytes: &mut Vec<u8>, first: u8, payload: &[u8]) {
    bytes.push(first);
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(length),
        _ => {
            bytes.push(126);
            bytes.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
}

/// RFC 6455, section 4.2.2.
fn accept_key(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_have_short_and_long_lengths() {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, 0x81, &[b'x'; 125]);
        assert_eq!((&bytes[..2], bytes.len()), (&[0x81, 125][..], 127));
        bytes.clear();
        push_frame(&mut bytes, 0x81, &[b'x'; 300]);
        assert_eq!((&bytes[..4], bytes.len()), (&[0x81, 126, 1, 44][..], 304));
    }
}
