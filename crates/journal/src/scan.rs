//! The log of a start that has ended, read once from its first record to its last: which sessions it has, and where each ends.

use crate::Position;
use crate::index::{Entry, Index};
use crate::reader::Source;
use crate::record::{Checkpoint, HEADER, Header, Kind, MAX_PAYLOAD, SAID, SEGMENT_HEADER, segment_header};
use std::io;

/// Longest segment that is read: a full one and the largest record behind it.
const MAX_SEGMENT: usize = 2 * MAX_PAYLOAD;
/// Bytes that may be checked, in all of a log, for where whole records go on after damage.
const MAX_SEARCH: usize = 256 * 1024 * 1024;

/// What a log has.
#[derive(Default)]
pub(crate) struct Scan {
    pub(crate) sessions: Index,
    /// Bytes that are not part of a whole record.
    pub(crate) damaged: u64,
    /// Where the first of them are.
    pub(crate) damaged_at: Option<Position>,
    /// A session whose records were written anew and are not complete yet: until they are, the old ones count.
    fresh: Option<u128>,
    /// What was checked after damage.
    searched: usize,
}

/// Reads these segments, in order: number and length in bytes.
pub(crate) fn scan(source: &dyn Source, segments: &[(u32, u64)]) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let mut bytes = Vec::new();
    for (number, length) in segments {
        let length = usize::try_from(*length).unwrap_or(usize::MAX).min(MAX_SEGMENT);
        if bytes.len() < length {
            bytes.resize(length, 0);
        }
        let filled = source.read(*number, 0, &mut bytes[..length])?;
        scan.segment(*number, &bytes[..filled]);
    }
    Ok(scan)
}

impl Scan {
    fn segment(&mut self, number: u32, bytes: &[u8]) {
        let mut at = SEGMENT_HEADER;
        if !bytes.starts_with(&segment_header(number)) {
            // Another version, or not ours at all; nothing of it is believed.
            return self.damage(Position::new(number, 0), bytes.len());
        }
        while at < bytes.len() {
            let here = Position::new(number, at as u64);
            if let Some((header, payload)) = Header::read(&bytes[at..]) {
                self.record(here, &header, payload);
                at += HEADER + payload.len();
            } else {
                let next = self.search(bytes, at + 1).unwrap_or(bytes.len());
                self.damage(here, next - at);
                at = next;
            }
        }
    }

    fn damage(&mut self, at: Position, bytes: usize) {
        self.damaged += bytes as u64;
        self.damaged_at.get_or_insert(at);
    }

    /// Where the next whole record begins. What may be looked at is bounded: beyond it the rest of the segment is lost.
    fn search(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        (from..bytes.len()).find(|at| {
            let Some((_, length)) = Header::peek(&bytes[*at..]) else { return false };
            let cost = HEADER + length;
            if cost > bytes.len() - at || self.searched + cost > MAX_SEARCH {
                return false;
            }
            self.searched += cost;
            Header::read(&bytes[*at..]).is_some()
        })
    }

    fn record(&mut self, at: Position, header: &Header, payload: &[u8]) {
        let id = header.session;
        if self.fresh.is_some_and(|fresh| fresh != id) {
            // Its process died before it was through.
            self.fresh = None;
        }
        if header.prev.is_none() && header.kind != Kind::Checkpoint && header.kind != Kind::End {
            self.fresh = Some(id);
        }
        match header.kind {
            Kind::End => {
                self.sessions.remove(&id);
                self.fresh = None;
            }
            Kind::Checkpoint => {
                let Some(point) = Checkpoint::decode(payload) else { return };
                let said = point.running.is_some_and(|open| open.said);
                let entry = Entry {
                    last: at,
                    base: at,
                    last_seq: header.seq,
                    turn_first: point.turn_first,
                    epoch: point.epoch,
                    said,
                    ..Entry::default()
                };
                self.sessions.insert(id, entry);
                self.fresh = None;
            }
            _ if self.fresh == Some(id) => {}
            kind => {
                let Some(entry) = self.sessions.get_mut(&id) else { return };
                // Where a checkpoint in between is damaged, nobody knows which messages are open.
                entry.damaged |= header.base != entry.base;
                entry.last = at;
                if kind == Kind::Event {
                    entry.last_seq = entry.last_seq.max(header.seq);
                    entry.said |= header.flags & SAID != 0;
                }
            }
        }
    }
}
