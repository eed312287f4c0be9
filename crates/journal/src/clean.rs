//! Cleaning: the oldest segment is emptied by writing what is still needed of it again, then removed.
//!
//! In portions, so that no call takes long. If what lives long fills half of the log, less is kept of each session. If the log is
//! full all the same, its oldest segment goes at once: of its sessions only what is small is written again, their events are a gap.

use crate::Position;
use crate::carry::{Carried, Events};
use crate::inner::Inner;
use crate::limits::Bounds;

/// A segment that is being emptied.
pub(crate) struct Cleaning {
    segment: u32,
    /// Sessions that may have records in it.
    sessions: Vec<u128>,
}

/// What a session, and the removal of a file, cost in any case, in bytes of writing.
const LOOK: u64 = 1024;
const REMOVAL: u64 = 256 * 1024;
/// Reading is so much cheaper than writing.
const READING: u64 = 4;
/// For each byte that is written, so much may be spent: enough to be done before the log is full.
const EFFORT: u64 = 8;

impl Inner {
    /// Cleans, if that is due, a portion that goes with what was written since the last one.
    pub(crate) fn clean_if_due(&mut self) {
        if self.log.used() <= self.log.limits.max / 4 * 3 {
            self.written = 0;
        } else if self.written * EFFORT >= self.log.limits.portion {
            let portion = (self.written * EFFORT).min(self.log.limits.call);
            let left = self.written - portion / EFFORT;
            self.clean(portion);
            self.flush_log();
            // What cleaning itself writes does not call for more of it.
            self.written = left;
        }
    }

    /// Cleans until about this much has been spent.
    pub(crate) fn clean(&mut self, portion: u64) {
        let max = self.log.limits.max;
        for _ in 0..self.log.segments() {
            if self.is_failing() || self.log.used() <= max {
                break;
            }
            self.drop_oldest();
        }
        let mut left = portion;
        while !self.is_failing() && self.log.used() > max / 4 * 3 {
            let Some(oldest) = self.log.oldest() else { return };
            let mut cleaning = match self.cleaning.take() {
                Some(cleaning) if cleaning.segment == oldest => cleaning,
                _ => Cleaning { segment: oldest, sessions: self.sessions_in(oldest) },
            };
            while let Some(id) = cleaning.sessions.pop() {
                if self.is_failing() {
                    return;
                }
                let read = self.log.effort();
                let cost = LOOK + self.relocate(id, oldest) + (self.log.effort() - read) / READING;
                left = left.saturating_sub(cost);
                if left == 0 {
                    return self.cleaning = Some(cleaning);
                }
            }
            // The copies must be with the kernel before the originals go.
            if !self.flush_log() {
                return;
            }
            self.log.remove_oldest();
            left = left.saturating_sub(REMOVAL);
            if left == 0 {
                return;
            }
        }
    }

    /// The log is full: the oldest segment goes. What is written again is about half of it at most; sessions for which there is no room
    /// are not resumable any more, and only go on counting.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.log.oldest() else { return };
        let (max_bytes, sessions) = (self.log.limits.max, self.sessions.len());
        tracing::warn!(max_bytes, sessions, "the journal is full: its oldest events cannot be replayed");
        self.cleaning = None;
        let mut room = self.log.limits.segment / 2;
        for id in self.sessions_in(oldest) {
            let end = self.log.pending() as u64 + room;
            if room > 0 {
                self.carry(id, oldest, Events::Stay(oldest + 1), &mut room);
            } else if let Some(entry) = self.sessions.get_mut(&id) {
                if entry.base.segment() <= oldest {
                    (entry.last, entry.base) = (Position::NONE, Position::NONE);
                }
                entry.oldest = oldest + 1;
            }
            room = room.min(end.saturating_sub(self.log.pending() as u64));
        }
        if self.flush_log() {
            self.log.remove_oldest();
        }
    }

    fn sessions_in(&self, segment: u32) -> Vec<u128> {
        self.sessions.iter().filter(|(_, entry)| entry.oldest <= segment).map(|(id, _)| *id).collect()
    }

    /// Writes what a session has in this segment, or before it, again; the bytes of that.
    fn relocate(&mut self, id: u128, segment: u32) -> u64 {
        if self.log.pending() > self.log.limits.batch {
            self.flush_log();
        }
        if self.sessions.get(&id).is_none_or(|entry| entry.oldest > segment) {
            return 0;
        }
        let before = self.log.pending() as u64;
        let mut all = u64::MAX;
        self.carry(id, segment, Events::Keep, &mut all);
        (self.log.pending() as u64).saturating_sub(before)
    }

    fn carry(&mut self, id: u128, segment: u32, events: Events, room: &mut u64) {
        let Some(entry) = self.sessions.get(&id).copied() else { return };
        let moves = |at: Position| at.segment() <= segment;
        let carried = Carried::read(&self.log, id, &entry, &self.bounds(), events, moves)
            .unwrap_or_else(|| Carried::bare(&entry));
        self.log.moving = true;
        let entry = carried.write(&mut self.log, id, &entry, room);
        self.log.moving = false;
        self.sessions.insert(id, entry);
    }

    /// How much of a session there is room for.
    fn bounds(&self) -> Bounds {
        let limits = &self.log.limits;
        let is_tight = self.log.moved() > limits.max / 2 || self.log.used() > limits.max / 8 * 7;
        if is_tight { limits.less } else { limits.full }
    }
}
