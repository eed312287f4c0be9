//! Follows the frames in a stream of WebSocket bytes that somebody else reads: header by header, for any split of the bytes.
//!
//! It changes nothing and refuses nothing: whatever comes is taken for frames. It counts messages, knows whether the stream
//! stands between two frames (only there may a frame of ours go in), reads close frames, and looks for a session id in the
//! first few small text frames. Payload is skipped, not looked at, in every other frame.

use crate::codec::Mask;

/// Text frames that are read for a session id, and the largest such frame.
const SNIFFED_FRAMES: u8 = 8;
const SNIFFED_LENGTH: u64 = 4096;
/// Longest session id taken, bytes.
const MAX_SESSION: usize = 200;
/// First bytes of frames that are read: FIN, no reserved bit, and the opcode.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// Longest header: two bytes, an eight-byte length, a four-byte key.
const MAX_HEADER: usize = 14;

/// State of one direction.
#[derive(Debug)]
pub struct Scanner {
    /// The header as far as it has come, then the header of the frame that is passing.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// The header is whole: payload is passing.
    in_payload: bool,
    remaining: u64,
    /// The frame that is passing, or that passed last, is not the last of its message.
    fragmented: bool,
    sniffs_left: u8,
    /// What most streams have none of most of the time.
    read: Option<Box<Read>>,
}

/// What was read of frames that are not only skipped.
#[derive(Debug, Default)]
struct Read {
    /// Payload of the one that is passing: a close frame, or a text frame that may name a session.
    captured: Option<Vec<u8>>,
    session: Option<Box<str>>,
    close: Option<(u16, String)>,
}

/// What stands at the end of the bytes that a step has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The end of a frame's header.
    Header,
    /// The end of a frame.
    End,
    /// The end of the bytes.
    More,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self {
            header: [0; MAX_HEADER],
            header_len: 0,
            in_payload: false,
            remaining: 0,
            fragmented: false,
            sniffs_left: SNIFFED_FRAMES,
            read: None,
        }
    }

    /// Follows the next bytes of the stream; returns how many data messages have their last frame beginning in them.
    pub fn scan(&mut self, bytes: &[u8]) -> u64 {
        let (mut at, mut messages) = (0, 0);
        loop {
            if self.at_boundary() {
                let (used, more) = self.skip_whole_frames(&bytes[at..]);
                at += used;
                messages += more;
                if at == bytes.len() {
                    return messages;
                }
            }
            let (used, step) = self.step(&bytes[at..]);
            at += used;
            match step {
                Step::Header => messages += u64::from(self.is_last_of_message()),
                Step::End => {}
                Step::More => return messages,
            }
        }
    }

    /// Follows the frames that begin and end in these bytes and need no reading, from a boundary on: how many bytes they are,
    /// and how many messages end with them. Most reads hold one small frame, or several: this is their way, and a header is
    /// looked at where it lies.
    fn skip_whole_frames(&mut self, bytes: &[u8]) -> (usize, u64) {
        let (mut at, mut messages) = (0, 0);
        while let [first, second, rest @ ..] = &bytes[at..] {
            if *first == CLOSE || (*first == TEXT && self.sniffs_left > 0) {
                break;
            }
            let (length, extended) = match (second & 0x7f, rest) {
                (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 2),
                (126 | 127, _) => break,
                (length, _) => (usize::from(length), 0),
            };
            let end = at + 2 + extended + usize::from(second >> 7) * 4 + length;
            if end > bytes.len() {
                break;
            }
            // Control frames may stand between the frames of a message.
            if first & 0x08 == 0 {
                self.fragmented = first & 0x80 == 0;
                messages += u64::from(first >> 7);
            }
            at = end;
        }
        (at, messages)
    }

    /// Follows the bytes up to the end of the frame that is passing; none: it goes on beyond them. Between two frames that
    /// is 0.
    pub fn scan_to_boundary(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while !self.at_boundary() {
            let (used, step) = self.step(&bytes[at..]);
            at += used;
            if step == Step::More {
                return None;
            }
        }
        Some(at)
    }

    /// Follows the bytes up to the next end of a header or a frame: how many bytes that took, and what stands there.
    pub fn step(&mut self, bytes: &[u8]) -> (usize, Step) {
        if self.in_payload {
            let used =
                usize::try_from(self.remaining).map_or(bytes.len(), |remaining| remaining.min(bytes.len()));
            if let Some(captured) = self.read.as_mut().and_then(|read| read.captured.as_mut()) {
                captured.extend_from_slice(&bytes[..used]);
            }
            self.remaining -= used as u64;
            if self.remaining > 0 {
                return (used, Step::More);
            }
            self.end_frame();
            return (used, Step::End);
        }
        let mut used = 0;
        loop {
            let have = usize::from(self.header_len);
            let need = self.header_size();
            if have == need {
                self.begin_frame();
                return (used, Step::Header);
            }
            let count = (need - have).min(bytes.len() - used);
            if count == 0 {
                return (used, Step::More);
            }
            self.header[have..have + count].copy_from_slice(&bytes[used..used + count]);
            self.header_len += count as u8;
            used += count;
        }
    }

    /// Whether the stream stands between two frames.
    pub fn at_boundary(&self) -> bool {
        !self.in_payload && self.header_len == 0
    }

    /// Whether the stream stands between two messages: only there may a message of ours go in.
    pub fn between_messages(&self) -> bool {
        self.at_boundary() && !self.fragmented
    }

    /// Follows the bytes up to the end of the message that is passing, or to their end: how many bytes that took, and how
    /// many messages have their last frame beginning in them.
    pub fn scan_to_message_end(&mut self, bytes: &[u8]) -> (usize, u64) {
        let (mut at, mut messages) = (0, 0);
        while !self.between_messages() {
            let (used, step) = self.step(&bytes[at..]);
            at += used;
            match step {
                Step::Header => messages += u64::from(self.is_last_of_message()),
                Step::End => {}
                Step::More => break,
            }
        }
        (at, messages)
    }

    /// First byte of the frame that is passing (after [`Step::Header`]): flags and opcode.
    pub fn first_byte(&self) -> u8 {
        self.header[0]
    }

    /// Bytes of payload still to come in the frame that is passing.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The session that the newest of the read text frames named, once.
    pub fn take_session(&mut self) -> Option<Box<str>> {
        let read = self.read.as_mut()?;
        let session = read.session.take();
        if read.close.is_none() && read.captured.is_none() {
            self.read = None;
        }
        session
    }

    /// Code and reason of the first close frame; 1005 if it had no code.
    pub fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.read.as_ref()?.close.as_ref()?;
        Some((*code, reason.as_str()))
    }

    /// Size of the header as far as its first two bytes say; two if they are not here yet.
    fn header_size(&self) -> usize {
        if self.header_len < 2 {
            return 2;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if self.is_masked() { 4 } else { 0 }
    }

    fn is_masked(&self) -> bool {
        self.header[1] & 0x80 != 0
    }

    fn begin_frame(&mut self) {
        let short = self.header[1] & 0x7f;
        self.remaining = match short {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |length, byte| (length << 8) | u64::from(*byte)),
            _ => u64::from(short),
        };
        self.in_payload = true;
        // Control frames may stand between the frames of a message.
        if self.header[0] & 0x08 == 0 {
            self.fragmented = self.header[0] & 0x80 == 0;
        }
        let wanted = match self.header[0] {
            TEXT if self.sniffs_left > 0 && self.remaining <= SNIFFED_LENGTH => {
                self.sniffs_left -= 1;
                true
            }
            CLOSE => self.close().is_none() && self.remaining <= 125,
            _ => false,
        };
        if wanted {
            self.read.get_or_insert_default().captured = Some(Vec::new());
        }
    }

    fn end_frame(&mut self) {
        if let Some(mut payload) = self.read.as_mut().and_then(|read| read.captured.take()) {
            if self.is_masked() {
                let from = usize::from(self.header_len) - 4;
                let mut key = [0; 4];
                key.copy_from_slice(&self.header[from..from + 4]);
                Mask::new(key).apply(&mut payload);
            }
            self.read_frame(&payload);
        }
        self.in_payload = false;
        self.header_len = 0;
    }

    /// The payload of a frame that was wanted is here.
    fn read_frame(&mut self, payload: &[u8]) {
        let read = self.read.get_or_insert_default();
        if self.header[0] == CLOSE {
            read.close = Some(read_close(payload));
        } else if let Some(session) = find_session(payload) {
            read.session = Some(session.into());
        }
        if read.close.is_none() && read.session.is_none() {
            self.read = None;
        }
    }

    /// The last (or only) frame of a text or binary message is passing.
    pub(crate) fn is_last_of_message(&self) -> bool {
        self.header[0] & 0x88 == 0x80
    }
}

fn read_close(payload: &[u8]) -> (u16, String) {
    payload.split_first_chunk::<2>().map_or((1005, String::new()), |(code, reason)| {
        (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned())
    })
}

/// The first `"session_id": "…"` in a piece of JSON; the value must be plain visible ASCII.
fn find_session(text: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"\"session_id\"";
    let mut rest = text;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        rest = rest[at + NAME.len()..].trim_ascii_start();
        let Some(value) =
            rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start).and_then(|rest| rest.strip_prefix(b"\""))
        else {
            continue;
        };
        let end = value.iter().take(MAX_SESSION + 1).position(|byte| *byte == b'"')?;
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
        return std::str::from_utf8(&value[..end])
            .ok()
            .filter(|id| !id.is_empty() && id.as_bytes().iter().all(plain));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Opcode, write_close, write_masked_frame};
    use proptest::prelude::*;

    fn text(payload: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_masked_frame(&mut out, Opcode::Text, payload.as_bytes(), [1, 2, 3, 4]);
        out
    }

    #[test]
    fn a_session_id_is_found_in_the_first_frames_only() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan(&text(r#"{"event":"user.message","session_id" : "s-1"}"#)), 1);
        assert_eq!(scanner.take_session().as_deref(), Some("s-1"));
        assert_eq!(scanner.take_session(), None);
        for _ in 0..7 {
            scanner.scan(&text(r#"{"session_id":null}"#));
            assert_eq!(scanner.take_session(), None);
        }
        scanner.scan(&text(r#"{"session_id":"s-2"}"#));
        assert_eq!(scanner.take_session(), None);
        assert_eq!(find_session(br#"{"session_id":null,"x":{"session_id":"y"}}"#), Some("y"));
        assert_eq!(find_session(br#"{"session_id":"a\"b"}"#), None);
        assert_eq!(find_session(br#"{"session_id":"cut"#), None);
    }

    #[test]
    fn close_frames_and_boundaries() {
        let mut scanner = Scanner::new();
        let mut out = Vec::new();
        write_close(&mut out, 4001, "done");
        assert!(scanner.at_boundary());
        scanner.scan(&out[..1]);
        assert!(!scanner.at_boundary());
        scanner.scan(&out[1..4]);
        assert!(!scanner.at_boundary());
        assert_eq!(scanner.close(), None);
        assert_eq!(scanner.scan_to_boundary(&out[4..5]), None);
        let mut rest = out[5..].to_vec();
        rest.extend_from_slice(&out);
        assert_eq!(scanner.scan_to_boundary(&rest), Some(out.len() - 5));
        assert!(scanner.at_boundary());
        assert_eq!(scanner.scan_to_boundary(&rest), Some(0));
        assert_eq!(scanner.close(), Some((4001, "done")));
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan(&[0x88, 0]), 0);
        assert_eq!(scanner.close(), Some((1005, "")));
    }

    #[test]
    fn a_frame_beyond_all_bounds_is_followed_all_the_same() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan(&[0xff; 100]), 0);
        assert!(!scanner.at_boundary());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Scanner::new().scan(&bytes);
        }
    }
}
