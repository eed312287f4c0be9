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
    /// Payload of a frame that is read: a close frame, or a text frame that may name a session.
    captured: Option<Vec<u8>>,
    session: Option<Box<str>>,
    close: Option<Box<(u16, String)>>,
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
            captured: None,
            session: None,
            close: None,
        }
    }

    /// Follows the next bytes of the stream; returns how many data messages have their last frame beginning in them.
    pub fn scan(&mut self, bytes: &[u8]) -> u64 {
        let (mut at, mut messages) = (0, 0);
        loop {
            let (used, step) = self.step(&bytes[at..]);
            at += used;
            match step {
                Step::Header => messages += u64::from(self.is_last_of_message()),
                Step::End => {}
                Step::More => return messages,
            }
        }
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
            if let Some(captured) = &mut self.captured {
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
        self.session.take()
    }

    /// Code and reason of the first close frame; 1005 if it had no code.
    pub fn close(&self) -> Option<(u16, &str)> {
        self.close.as_deref().map(|(code, reason)| (*code, reason.as_str()))
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
        // FIN, no reserved bit, and the opcode of text or close.
        let wanted = match self.header[0] {
            0x81 if self.sniffs_left > 0 && self.remaining <= SNIFFED_LENGTH => {
                self.sniffs_left -= 1;
                true
            }
            0x88 => self.close.is_none() && self.remaining <= 125,
            _ => false,
        };
        if wanted {
            self.captured = Some(Vec::new());
        }
    }

    fn end_frame(&mut self) {
        if let Some(mut payload) = self.captured.take() {
            if self.is_masked() {
                let from = usize::from(self.header_len) - 4;
                let mut key = [0; 4];
                key.copy_from_slice(&self.header[from..from + 4]);
                Mask::new(key).apply(&mut payload);
            }
            if self.header[0] == 0x88 {
                self.close = Some(Box::new(read_close(&payload)));
            } else if let Some(session) = find_session(&payload) {
                self.session = Some(session.into());
            }
        }
        self.in_payload = false;
        self.header_len = 0;
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
    use crate::codec::{Opcode, write_close, write_frame, write_masked_frame};
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
        fn any_split_gives_the_same(
            frames in proptest::collection::vec((0..6_usize, any::<bool>(), any::<bool>(), 0..400_usize), 0..10),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let kinds = [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];
            let (mut bytes, mut expected, mut ends) = (Vec::new(), 0, vec![0]);
            for (kind, masked, fin, length) in frames {
                let start = bytes.len();
                // Long enough for the eight-byte form now and then.
                let payload = vec![b'x'; if length > 390 { 66_000 } else { length }];
                if masked {
                    write_masked_frame(&mut bytes, kinds[kind], &payload, [9, 8, 7, 6]);
                } else {
                    write_frame(&mut bytes, kinds[kind], &payload);
                }
                if !fin {
                    bytes[start] &= 0x7f;
                }
                expected += u64::from(fin && kind < 3);
                ends.push(bytes.len());
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut whole = Scanner::new();
            prop_assert_eq!(whole.scan(&bytes), expected);
            prop_assert!(whole.at_boundary());
            let (mut pieces, mut messages) = (Scanner::new(), 0);
            for pair in cuts.windows(2) {
                messages += pieces.scan(&bytes[pair[0]..pair[1]]);
                prop_assert_eq!(pieces.at_boundary(), ends.contains(&pair[1]));
            }
            prop_assert_eq!(messages, expected);
            prop_assert_eq!(pieces.close(), whole.close());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Scanner::new().scan(&bytes);
        }
    }
}
