//! Records as bytes: header, checksum, and what a checkpoint and a turn of the history hold. Little-endian throughout.
//!
//! Nothing here trusts what it reads: a length is compared with what there is before anything is taken from it.

use crate::Position;

/// Bytes at the start of a segment: magic, version, its number.
pub(crate) const SEGMENT_HEADER: usize = 16;
/// Bytes of a record before its payload.
pub(crate) const HEADER: usize = 50;
/// Largest payload of any log: what a longer length field says is damage.
pub(crate) const MAX_PAYLOAD: usize = 64 * 1024 * 1024;
/// Messages of a session that may be open at once. The host's bound is lower.
pub(crate) const MAX_OPEN: usize = 64;

/// Largest number of an event: what is above it is damage, and adding one to what is not never overflows.
const MAX_SEQ: u64 = u64::MAX >> 1;

const MAGIC: &[u8; 8] = b"MYAGJRNL";
const VERSION: u32 = 1;
/// The checksum is over everything behind it.
const CHECKED: usize = 8;

impl Position {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(segment: u32, offset: u64) -> Self {
        Self(u64::from(segment) << 32 | offset & 0xffff_ffff)
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event's text; `seq` is its number.
    Event = 1,
    /// A session's parameters (nothing: none); `seq` is the epoch. The first record of a fresh chain.
    Meta = 2,
    /// A message's content and metadata.
    Message = 3,
    /// A message and its answer.
    History = 4,
    /// The agent's state.
    State = 5,
    /// How the session stands; `seq` is the number of its newest event.
    Checkpoint = 6,
    /// The session is over.
    End = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Event,
            2 => Self::Meta,
            3 => Self::Message,
            4 => Self::History,
            5 => Self::State,
            6 => Self::Checkpoint,
            7 => Self::End,
            _ => return None,
        })
    }
}

/// An event: something other than `agent.thinking` of the agent in the running turn.
pub(crate) const SAID: u8 = 1;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) session: u128,
    pub(crate) seq: u64,
    /// The session's record before this one; none: a fresh chain begins.
    pub(crate) prev: Position,
    /// The session's newest checkpoint before this record.
    pub(crate) base: Position,
}

impl Header {
    /// Appends a record whose payload is these parts.
    pub(crate) fn write(&self, out: &mut Vec<u8>, parts: &[&[u8]]) {
        let start = out.len();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        header[8] = self.kind as u8;
        header[9] = self.flags;
        header[10..26].copy_from_slice(&self.session.to_le_bytes());
        header[26..34].copy_from_slice(&self.seq.to_le_bytes());
        header[34..42].copy_from_slice(&self.prev.0.to_le_bytes());
        header[42..50].copy_from_slice(&self.base.0.to_le_bytes());
        out.reserve(HEADER + length);
        out.extend_from_slice(&header);
        for part in parts {
            out.extend_from_slice(part);
        }
        let crc = crc32fast::hash(&out[start + CHECKED..]);
        out[start + 4..start + CHECKED].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of these bytes, and the length of its payload; not checked.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut fields = Fields(bytes.get(..HEADER)?);
        let length = fields.u32()? as usize;
        fields.u32()?;
        let (kind, flags) = (Kind::from_byte(fields.u8()?)?, fields.u8()?);
        let session = u128::from_le_bytes(fields.take()?);
        let (seq, prev, base) = (fields.u64()?, Position(fields.u64()?), Position(fields.u64()?));
        (length <= MAX_PAYLOAD && seq <= MAX_SEQ)
            .then_some((Self { kind, flags, session, seq, prev, base }, length))
    }

    /// The record at the start of these bytes, if it is whole and its checksum is right.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (header, length) = Self::peek(bytes)?;
        let record = bytes.get(..HEADER + length)?;
        let crc = u32::from_le_bytes(record[4..CHECKED].try_into().ok()?);
        (crc32fast::hash(&record[CHECKED..]) == crc).then(|| (header, &record[HEADER..]))
    }
}

/// What a segment begins with.
pub(crate) fn segment_header(number: u32) -> [u8; SEGMENT_HEADER] {
    let mut out = [0; SEGMENT_HEADER];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..].copy_from_slice(&number.to_le_bytes());
    out
}

/// Where everything of a session is, so that nothing needs to be looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) epoch: u32,
    /// First number of the newest turn's events.
    pub(crate) turn_first: u64,
    /// None: the parameters are lost.
    pub(crate) meta: Position,
    /// Its newest turn.
    pub(crate) history: Position,
    pub(crate) state: Position,
    pub(crate) running: Option<Open>,
    /// Oldest first.
    pub(crate) waiting: Vec<Open>,
}

/// A message that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) at: Position,
    pub(crate) redelivered: bool,
    /// Only of the running one.
    pub(crate) said: bool,
}

const REDELIVERED: u8 = 1;
const OPEN_SAID: u8 = 2;

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.waiting.len() * 9);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        for number in [self.turn_first, self.meta.0, self.history.0, self.state.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.running.is_some()));
        for open in self.running.iter().chain(&self.waiting) {
            out.extend_from_slice(&open.at.0.to_le_bytes());
            out.push(if open.redelivered { REDELIVERED } else { 0 } | if open.said { OPEN_SAID } else { 0 });
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let epoch = fields.u32()?;
        let turn_first = fields.u64()?;
        let [meta, history, state] =
            [Position(fields.u64()?), Position(fields.u64()?), Position(fields.u64()?)];
        let runs = fields.u8()? != 0;
        let mut open = Vec::new();
        while !fields.0.is_empty() && open.len() <= MAX_OPEN {
            let (at, flags) = (Position(fields.u64()?), fields.u8()?);
            // One that stands there twice is damage, and would be read twice.
            if open.iter().any(|other: &Open| other.at == at) {
                return None;
            }
            open.push(Open { at, redelivered: flags & REDELIVERED != 0, said: flags & OPEN_SAID != 0 });
        }
        let running = (runs && !open.is_empty()).then(|| open.remove(0));
        Some(Self { epoch, turn_first, meta, history, state, running, waiting: open })
    }
}

/// What stands before content and metadata in a record of a message: the content's length.
pub(crate) fn message_prefix(content: usize) -> [u8; 4] {
    (content as u32).to_le_bytes()
}

/// Content and metadata; the latter is empty if there is none.
pub(crate) fn message(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = Fields(payload);
    let length = fields.u32()? as usize;
    fields.0.split_at_checked(length)
}

/// What stands before message and answer in a record of the history: the turn before, and the message's length.
pub(crate) fn history_prefix(prev: Position, message: usize) -> [u8; 12] {
    let mut out = [0; 12];
    out[..8].copy_from_slice(&prev.0.to_le_bytes());
    out[8..].copy_from_slice(&(message as u32).to_le_bytes());
    out
}

/// The turn before, message and answer.
pub(crate) fn history(payload: &[u8]) -> Option<(Position, &[u8], &[u8])> {
    let mut fields = Fields(payload);
    let prev = Position(fields.u64()?);
    let (message, answer) = {
        let length = fields.u32()? as usize;
        fields.0.split_at_checked(length)?
    };
    Some((prev, message, answer))
}

/// Takes numbers off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind) -> Header {
        Header {
            kind,
            flags: 1,
            session: 0x1234_5678_9abc_def0_0fed_cba9_8765_4321,
            seq: 7,
            prev: Position::new(2, 16),
            base: Position::NONE,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut bytes = vec![9, 9];
        header(Kind::Event).write(&mut bytes, &[b"he", b"", b"llo"]);
        header(Kind::End).write(&mut bytes, &[]);
        assert_eq!(bytes.len(), 2 + HEADER + 5 + HEADER);
        assert_eq!(Header::read(&bytes[2..]), Some((header(Kind::Event), b"hello".as_slice())));
        assert_eq!(Header::read(&bytes[2 + HEADER + 5..]), Some((header(Kind::End), b"".as_slice())));
        assert_eq!(Position::new(3, 17), Position(0x3_0000_0011));
        assert_eq!((Position::new(3, 17).segment(), Position::new(3, 17).offset()), (3, 17));
    }

    #[test]
    fn no_changed_bit_and_no_missing_byte_goes_unseen() {
        let mut bytes = Vec::new();
        header(Kind::Meta).write(&mut bytes, &[b"{\"a\":1}"]);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::read(&bad), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Header::read(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let open = |at, redelivered, said| Open { at: Position(at), redelivered, said };
        let full = Checkpoint {
            epoch: 3,
            turn_first: 17,
            meta: Position(1),
            history: Position(2),
            state: Position(3),
            running: Some(open(4, true, true)),
            waiting: vec![open(5, false, false), open(6, true, false)],
        };
        let check = |point: &Checkpoint| {
            let bytes = point.encode();
            assert_eq!(Checkpoint::decode(&bytes).as_ref(), Some(point));
            assert_eq!(Checkpoint::decode(&bytes[..bytes.len() - 1]), None);
        };
        check(&full);
        check(&Checkpoint { running: None, ..full.clone() });
        check(&Checkpoint::default());
        let twice = Checkpoint { waiting: vec![open(4, false, false)], ..full.clone() };
        assert_eq!(Checkpoint::decode(&twice.encode()), None);
        // A running message without its position is none.
        let torn = Checkpoint { running: None, waiting: vec![], ..full }.encode();
        let runs = [&torn[..torn.len() - 1], &[1]].concat();
        assert_eq!(Checkpoint::decode(&runs).map(|point| point.running), Some(None));
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let record = [message_prefix(3).as_slice(), b"123456"].concat();
        assert_eq!(message(&record), Some((b"123".as_slice(), b"456".as_slice())));
        assert_eq!(message(&record[..7]), Some((b"123".as_slice(), b"".as_slice())));
        assert_eq!(message(&record[..6]), None);
        assert_eq!(message(b"1"), None);
    }

    #[test]
    fn a_turn_of_the_history_is_read_as_it_was_written() {
        let record = [history_prefix(Position(5), 3).as_slice(), b"123456"].concat();
        assert_eq!(history(&record), Some((Position(5), b"123".as_slice(), b"456".as_slice())));
        assert_eq!(history(&history_prefix(Position(5), 3)), None);
        assert_eq!(history(b"short"), None);
    }
}
