//! Writing frames: always whole ones, unmasked to clients, masked to agents.

use super::{Mask, Opcode};

/// Longest reason in a close frame, bytes.
pub const MAX_REASON: usize = 123;

/// Appends an unmasked, unfragmented frame, as a server sends it. A control frame's payload must be at most 125 bytes.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(payload.len() + 10);
    write_header(out, opcode, true, payload.len(), None);
    out.extend_from_slice(payload);
}

/// Appends a masked, unfragmented frame, as a client sends it.
pub fn write_masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    out.reserve(payload.len() + 14);
    write_header(out, opcode, true, payload.len(), Some(key));
    let start = out.len();
    out.extend_from_slice(payload);
    Mask::new(key).apply(&mut out[start..]);
}

/// Appends a close frame as a server sends it. The reason is cut to 123 bytes (between characters); the codes that only
/// describe a missing frame (1005, 1006, 1015) give a frame without a code.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    write_frame(out, Opcode::Close, &close_payload(code, reason));
}

/// The payload of a close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if matches!(code, 1005 | 1006 | 1015) {
        return Vec::new();
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
    payload
}

/// Appends a frame's header.
pub(crate) fn write_header(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    length: usize,
    key: Option<[u8; 4]>,
) {
    out.push(opcode.bits() | if fin { 0x80 } else { 0 });
    let masked = if key.is_some() { 0x80 } else { 0 };
    if length < 126 {
        out.push(masked | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(masked | 0x7e);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | 0x7f);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    out.extend_from_slice(key.as_ref().map_or(&[], |key| key.as_slice()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        let header = |length: usize| {
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Binary, &vec![0; length]);
            out.truncate(out.len() - length);
            out
        };
        assert_eq!(header(0), [0x82, 0]);
        assert_eq!(header(125), [0x82, 125]);
        assert_eq!(header(126), [0x82, 126, 0, 126]);
        assert_eq!(header(65535), [0x82, 126, 255, 255]);
        assert_eq!(header(65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        write_close(&mut out, 1001, &"ä".repeat(100));
        assert_eq!(out[..4], [0x88, 2 + 122, 0x03, 0xe9]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "ä".repeat(61));
        out.clear();
        write_close(&mut out, 1006, "never on the wire");
        assert_eq!(out, [0x88, 0]);
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        write_masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
