//! Reading what a client sends: bytes of any split in, whole messages out, strictly after RFC 6455.
//!
//! Payload is unmasked and checked as it comes, so bad UTF-8 and oversized messages fail at the first possible byte, and
//! nothing but the message itself grows. An idle reader holds no allocation.

use super::writer::write_header;
use super::{Incoming, Mask, Opcode, ProtocolError, is_valid_close_code};

/// Room that a message may take on the word of a frame header, before its bytes are there.
const TRUST: usize = 64 * 1024;

/// Puts frames back together. Call [`MessageReader::push`], then [`MessageReader::next`] until it returns none.
#[derive(Debug)]
pub struct MessageReader {
    max_message: usize,
    /// Bytes not yet looked at: from `start`.
    buffer: Vec<u8>,
    start: usize,
    /// The data frame whose payload is coming.
    frame: Option<DataFrame>,
    /// The message of which frames have come.
    message: Option<Message>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A close frame came: whatever follows is ignored.
    Closed,
    Failed(ProtocolError),
}

#[derive(Debug)]
struct DataFrame {
    fin: bool,
    mask: Mask,
    remaining: usize,
}

#[derive(Debug)]
struct Message {
    text: bool,
    payload: Vec<u8>,
    /// So many bytes of the payload are known to be UTF-8; text only.
    checked: usize,
}

struct Header {
    fin: bool,
    opcode: Opcode,
    length: usize,
    key: [u8; 4],
    /// Of the header itself.
    size: usize,
}

impl MessageReader {
    /// `max_message`: largest message in bytes, all fragments together (1009 beyond).
    pub fn new(max_message: usize) -> Self {
        Self { max_message, buffer: Vec::new(), start: 0, frame: None, message: None, state: State::Open }
    }

    /// Adds bytes as they were read from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Open {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message or control frame; none: push more bytes first. An error is final and repeated.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at none; this goes on after more bytes"
    )]
    pub fn next(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let result = if self.state == State::Open { self.read() } else { Ok(None) };
        match &result {
            Ok(Some(Incoming::Close { .. })) => self.end(State::Closed),
            Err(error) => self.end(State::Failed(*error)),
            Ok(_) if self.start == self.buffer.len() => self.free(),
            Ok(_) => {}
        }
        result
    }

    /// True between messages: it holds no bytes.
    pub fn is_idle(&self) -> bool {
        self.start == self.buffer.len() && self.frame.is_none() && self.message.is_none()
    }

    /// Bytes that bring a fresh reader to where this one was before it returned this text message.
    pub fn unread_with(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, Opcode::Text, true, text.len(), Some([0; 4]));
        out.extend_from_slice(text.as_bytes());
        out.extend(self.unread());
        out
    }

    /// Bytes that bring a fresh reader to the same point: for a connection that moves to another
    /// process in the middle of a message. What was unmasked already comes as frames with a zero key.
    pub fn unread(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut opcode = Opcode::Continuation;
        if let Some(message) = &self.message {
            opcode = if message.text { Opcode::Text } else { Opcode::Binary };
            if self.frame.is_none() || !message.payload.is_empty() {
                write_header(&mut out, opcode, false, message.payload.len(), Some([0; 4]));
                out.extend_from_slice(&message.payload);
                opcode = Opcode::Continuation;
            }
        }
        if let Some(frame) = &self.frame {
            write_header(&mut out, opcode, frame.fin, frame.remaining, Some(frame.mask.key()));
        }
        out.extend_from_slice(&self.buffer[self.start..]);
        out
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.frame = None;
        self.message = None;
        self.free();
    }

    fn free(&mut self) {
        self.buffer = Vec::new();
        self.start = 0;
    }

    fn read(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        loop {
            if self.frame.is_some() {
                match self.read_payload()? {
                    Some(message) => return Ok(Some(message)),
                    None if self.frame.is_some() => return Ok(None),
                    None => {}
                }
            }
            let Some(header) = parse_header(&self.buffer[self.start..])? else { return Ok(None) };
            if header.opcode.is_control() {
                return self.read_control(&header);
            }
            self.begin_frame(&header)?;
        }
    }

    /// A control frame is taken whole; it is small.
    fn read_control(&mut self, header: &Header) -> Result<Option<Incoming>, ProtocolError> {
        let from = self.start + header.size;
        let Some(payload) = self.buffer.get(from..from + header.length) else { return Ok(None) };
        let mut payload = payload.to_vec();
        Mask::new(header.key).apply(&mut payload);
        self.start = from + header.length;
        Ok(Some(match header.opcode {
            Opcode::Ping => Incoming::Ping(payload),
            Opcode::Pong => Incoming::Pong(payload),
            _ => parse_close(&payload)?,
        }))
    }

    /// Takes a data frame's header.
    fn begin_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        let message = match (&mut self.message, header.opcode) {
            (Some(message), Opcode::Continuation) => message,
            (None, Opcode::Continuation) => return Err(violation("continuation of nothing")),
            (Some(_), _) => return Err(violation("new message inside a fragmented one")),
            (message @ None, opcode) => {
                message.insert(Message { text: opcode == Opcode::Text, payload: Vec::new(), checked: 0 })
            }
        };
        if header.length > self.max_message.saturating_sub(message.payload.len()) {
            return Err(ProtocolError { code: 1009, reason: "message too large" });
        }
        message.payload.reserve(header.length.min(TRUST));
        self.start += header.size;
        self.frame =
            Some(DataFrame { fin: header.fin, mask: Mask::new(header.key), remaining: header.length });
        Ok(())
    }

    /// Takes what is there of a data frame's payload.
    fn read_payload(&mut self) -> Result<Option<Incoming>, ProtocolError> {
        let (Some(frame), Some(message)) = (&mut self.frame, &mut self.message) else { return Ok(None) };
        let count = frame.remaining.min(self.buffer.len() - self.start);
        let from = message.payload.len();
        message.payload.extend_from_slice(&self.buffer[self.start..self.start + count]);
        frame.mask.apply(&mut message.payload[from..]);
        self.start += count;
        frame.remaining -= count;
        let frame_ends = frame.remaining == 0;
        let message_ends = frame_ends && frame.fin;
        // A message that came in one piece is checked once, when it becomes a string.
        if message.text && !(message_ends && message.checked == 0) {
            message.check()?;
        }
        if frame_ends {
            self.frame = None;
        }
        if !message_ends {
            return Ok(None);
        }
        let Some(message) = self.message.take() else { return Ok(None) };
        if message.text {
            String::from_utf8(message.payload).map(|text| Some(Incoming::Text(text))).map_err(|_| not_utf8())
        } else {
            Ok(Some(Incoming::Binary(message.payload)))
        }
    }
}

impl Message {
    /// Fails if the payload so far cannot be the beginning of UTF-8.
    fn check(&mut self) -> Result<(), ProtocolError> {
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            // A character that is not complete yet.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(not_utf8()),
        }
        Ok(())
    }
}

/// Reads a frame's header; none: it is not complete. Whatever can be refused is refused at its first two bytes.
fn parse_header(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(violation("reserved bits are set"));
    }
    let opcode = Opcode::from_bits(first).ok_or(violation("reserved opcode"))?;
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(violation("fragmented control frame"));
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(violation("frame is not masked"));
    }
    let short = usize::from(second & 0x7f);
    if opcode.is_control() && short > 125 {
        return Err(violation("control frame is too long"));
    }
    let rest = &bytes[2..];
    let (length, extended) = match short {
        126 => {
            let Some(length) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), 2)
        }
        127 => {
            let Some(length) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*length), 8)
        }
        _ => (short as u64, 0),
    };
    let minimum = [0, 126, 65_536][usize::from(extended > 0) + usize::from(extended > 2)];
    if length < minimum || length > i64::MAX as u64 {
        return Err(violation("bad frame length"));
    }
    let Some(key) = rest[extended..].first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Some(Header { fin, opcode, length, key: *key, size: 2 + extended + 4 }))
}

fn parse_close(payload: &[u8]) -> Result<Incoming, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Incoming::Close { code: None, reason: String::new() })
        } else {
            Err(violation("close frame of one byte"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_close_code(code) {
        return Err(violation("bad close code"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| not_utf8())?;
    Ok(Incoming::Close { code: Some(code), reason: reason.to_owned() })
}

const fn violation(reason: &'static str) -> ProtocolError {
    ProtocolError { code: 1002, reason }
}

const fn not_utf8() -> ProtocolError {
    ProtocolError { code: 1007, reason: "text is not UTF-8" }
}

#[cfg(test)]
mod tests;
