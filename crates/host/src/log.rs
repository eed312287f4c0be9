//! The events of a session, kept for a client that comes back.
//!
//! Every numbered event goes through [`Log::append`] before it goes to a client, so this is the place where a log that
//! outlives the process belongs. This one is in memory and bounded; what it no longer has is told as a gap.

use std::collections::VecDeque;

/// Most events kept.
const MAX_EVENTS: usize = 1000;
/// Most bytes kept (the newest event is kept even if it is larger).
const MAX_BYTES: usize = 128 * 1024;

/// One session's newest events, without the connection that they went to.
#[derive(Debug, Default)]
pub(crate) struct Log {
    bytes: Vec<u8>,
    /// Where the oldest kept event begins.
    start: usize,
    /// Lengths, oldest first.
    lengths: VecDeque<usize>,
    last_seq: u64,
}

/// What a client has missed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missed<'a> {
    /// Events that are no longer kept: from, to.
    pub(crate) gap: Option<(u64, u64)>,
    /// The others, oldest first.
    pub(crate) events: Vec<&'a [u8]>,
}

impl Log {
    /// Adds an event; its number must be the one after the last.
    pub(crate) fn append(&mut self, seq: u64, event: &[u8]) {
        debug_assert_eq!(seq, self.last_seq + 1, "events are numbered without gaps");
        self.last_seq = seq;
        self.bytes.extend_from_slice(event);
        self.lengths.push_back(event.len());
        while self.lengths.len() > 1
            && (self.lengths.len() > MAX_EVENTS || self.bytes.len() - self.start > MAX_BYTES)
        {
            self.start += self.lengths.pop_front().unwrap_or(0);
        }
        if self.start > MAX_BYTES {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// The number of the newest event; 0: there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The events after number `seen`.
    pub(crate) fn after(&self, seen: u64) -> Missed<'_> {
        let first_kept = self.last_seq + 1 - self.lengths.len() as u64;
        let gap = (seen + 1 < first_kept).then(|| (seen + 1, first_kept - 1));
        let (mut at, mut events) = (self.start, Vec::new());
        for (seq, length) in (first_kept..).zip(&self.lengths) {
            if seq > seen {
                events.push(&self.bytes[at..at + length]);
            }
            at += length;
        }
        Missed { gap, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_comes_back_in_order() {
        let mut log = Log::default();
        assert_eq!(log.after(0), Missed { gap: None, events: vec![] });
        for seq in 1..=3 {
            log.append(seq, format!("e{seq}").as_bytes());
        }
        assert_eq!(log.after(0).events, [b"e1", b"e2", b"e3"]);
        assert_eq!(log.after(2), Missed { gap: None, events: vec![b"e3"] });
        assert_eq!(log.after(3).events.len(), 0);
        assert_eq!(log.after(99).events.len(), 0);
    }

    #[test]
    fn it_keeps_the_newest_and_tells_the_gap() {
        let mut log = Log::default();
        for seq in 1..=3000u64 {
            log.append(seq, b"0123456789");
        }
        let missed = log.after(500);
        assert_eq!(missed.gap, Some((501, 2000)));
        assert_eq!(missed.events.len(), MAX_EVENTS);
        log.append(3001, &vec![b'x'; 2 * MAX_BYTES]);
        assert_eq!(log.after(3000).events.len(), 1);
        assert_eq!(log.after(2999).gap, Some((3000, 3000)));
        for seq in 3002..4000 {
            log.append(seq, &[b'y'; 1000]);
        }
        assert!(log.bytes.len() <= 3 * MAX_BYTES, "{}", log.bytes.len());
        assert!(log.after(3999).events.is_empty());
    }
}
