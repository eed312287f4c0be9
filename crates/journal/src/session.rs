//! What the log has of one session, followed from its newest record: which events are kept, its history, its open messages.
//!
//! The same for our own log, for that of a dead start, and for a log that is damaged: what cannot be read ends what is
//! found, and every walk goes to older positions only, so it ends.

use crate::Position;
use crate::index::Entry;
use crate::limits::Bounds;
use crate::reader::{Reader, Source};
use crate::record::{self, Checkpoint, Kind};

/// The session's newest checkpoint.
pub(crate) fn checkpoint(source: &dyn Source, id: u128, entry: &Entry) -> Option<Checkpoint> {
    payload(source, id, entry.base, Kind::Checkpoint).and_then(|bytes| Checkpoint::decode(&bytes))
}

/// What a record of this kind holds.
pub(crate) fn payload(source: &dyn Source, id: u128, at: Position, kind: Kind) -> Option<Vec<u8>> {
    let mut reader = Reader::single(source);
    let (header, payload) = reader.record(at, id)?;
    (header.kind == kind).then(|| payload.to_vec())
}

/// The positions of the kept events after `seen`, newest first. They are without gaps: the oldest one's number follows from
/// their count.
pub(crate) fn events(
    source: &dyn Source,
    id: u128,
    entry: &Entry,
    seen: u64,
    bounds: &Bounds,
) -> Vec<Position> {
    let mut reader = Reader::backward(source);
    let mut found = Vec::new();
    let (mut expected, mut at, mut bytes) = (entry.last_seq, entry.last, 0);
    while expected > seen {
        let Some((header, length)) = reader.header(at, id) else { break };
        if header.kind == Kind::Event {
            let count = entry.last_seq - expected + 1;
            bytes += length;
            let is_kept = count == 1
                || bytes <= bounds.event_bytes && (count <= bounds.events || expected >= entry.turn_first);
            if header.seq != expected || !is_kept || reader.record(at, id).is_none() {
                break;
            }
            found.push(at);
            expected -= 1;
        }
        if header.prev >= at {
            break;
        }
        at = header.prev;
    }
    found
}

/// The turns of the history, newest first, each with its position.
pub(crate) fn history(source: &dyn Source, id: u128, newest: Position, bounds: &Bounds) -> Vec<Turn> {
    let mut reader = Reader::single(source);
    let mut found = Vec::new();
    let (mut at, mut bytes) = (newest, 0);
    while found.len() < bounds.turns {
        let Some((header, payload)) = reader.record(at, id) else { break };
        let Some((prev, message, answer)) =
            Some(payload).filter(|_| header.kind == Kind::History).and_then(record::history)
        else {
            break;
        };
        bytes += message.len() + answer.len();
        if bytes > bounds.history {
            break;
        }
        found.push(Turn { at, prev, message: message.to_vec(), answer: answer.to_vec() });
        if prev >= at {
            break;
        }
        at = prev;
    }
    found
}

/// A turn of the history.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) at: Position,
    /// The turn before it.
    pub(crate) prev: Position,
    pub(crate) message: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

/// Events by themselves, for another log.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Reads the events at these positions, given newest first.
    pub(crate) fn read(source: &dyn Source, id: u128, newest_first: &[Position]) -> Self {
        let mut reader = Reader::forward(source);
        let mut texts = Self::default();
        for at in newest_first.iter().rev() {
            let Some((_, text)) = reader.record(*at, id) else {
                // It was there a moment ago. Only what is without gaps up to the newest counts.
                texts = Self::default();
                continue;
            };
            texts.bytes.extend_from_slice(text);
            texts.ends.push(texts.bytes.len());
        }
        texts
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ends.iter().enumerate().map(|(index, end)| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.bytes[start..*end]
        })
    }
}
