//! Cleaning: the oldest segment is emptied by writing what is still needed of it again, then removed.
//!
//! In portions, so that no call takes long. If what lives long fills half of the log, less is kept of each session. If the log is
//! full all the same, its oldest segment goes as it is: what was in it is told as a gap, or its sessions cannot be resumed.

use crate::carry::{Carried, Events};
use crate::inner::Inner;
use crate::limits::Bounds;

/// A segment that is being emptied.
pub(crate) struct Cleaning {
    segment: u32,
    /// Sessions that may have records in it.
    sessions: Vec<u128>,
}

/// What looking at a session costs, in bytes of writing.
const LOOK: u64 = 1024;

/// For each byte that is written, so many may be moved: enough to be done before the log is full.
const EFFORT: u64 = 4;

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

    /// Cleans until about this much has been written.
    pub(crate) fn clean(&mut self, portion: u64) {
        let max = self.log.limits.max;
        while self.log.used() > max && self.log.oldest().is_some() {
            tracing::warn!(
                max_bytes = max,
                sessions = self.sessions.len(),
                "the journal is full: its oldest records are lost"
            );
            self.log.remove_oldest();
            self.cleaning = None;
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
                let cost = LOOK + self.relocate(id, oldest);
                match left.checked_sub(cost) {
                    Some(rest) => left = rest,
                    None => return self.cleaning = Some(cleaning),
                }
            }
            // The copies must be with the kernel before the originals go.
            if !self.flush_log() {
                return;
            }
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
        let Some(entry) = self.sessions.get(&id).copied().filter(|entry| entry.oldest <= segment) else {
            return 0;
        };
        let before = self.log.pending() as u64;
        let moves = |at: crate::Position| at.segment() <= segment;
        let carried = Carried::read(&self.log, id, &entry, &self.bounds(), Events::Keep, moves)
            .unwrap_or_else(|| Carried::bare(&entry));
        self.log.moving = true;
        let mut all = u64::MAX;
        let entry = carried.write(&mut self.log, id, &entry, &mut all);
        self.log.moving = false;
        self.sessions.insert(id, entry);
        (self.log.pending() as u64).saturating_sub(before)
    }

    /// How much of a session there is room for.
    fn bounds(&self) -> Bounds {
        let limits = &self.log.limits;
        let is_tight = self.log.moved() > limits.max / 2 || self.log.used() > limits.max / 8 * 7;
        if is_tight { limits.less } else { limits.full }
    }
}
