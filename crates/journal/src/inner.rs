//! What a journal is made of: the log, the sessions in it, and what happens when the log cannot be written.

use crate::Position;
use crate::carry::{Carried, Events};
use crate::clean::Cleaning;
use crate::index::{Entry, Index};
use crate::log::{Before, Log};
use crate::record::{Header, Kind};
use crate::session;
use crate::time::OwnTime;
use std::io;
use uuid::Uuid;

/// The part of a journal that changes.
pub(crate) struct Inner {
    /// Nothing is written.
    pub(crate) off: bool,
    pub(crate) log: Log,
    pub(crate) sessions: Index,
    pub(crate) cleaning: Option<Cleaning>,
    /// Bytes written since the last portion of cleaning.
    pub(crate) written: u64,
    pub(crate) time: OwnTime,
    trouble: Trouble,
}

/// What is wrong with the disk.
#[derive(Default)]
struct Trouble {
    /// The last write failed.
    failing: bool,
    /// It is tried again when this much waits.
    retry_at: usize,
    /// For people.
    text: Option<String>,
    /// Bytes of records that were given up since the last tick without a problem.
    lost: u64,
}

impl Inner {
    pub(crate) fn new(log: Log, time: OwnTime, off: bool) -> Self {
        Self {
            off,
            log,
            sessions: Index::default(),
            cleaning: None,
            written: 0,
            time,
            trouble: Trouble::default(),
        }
    }

    /// Adds a record of a session that is here; where it is.
    pub(crate) fn append(&mut self, id: Uuid, kind: Kind, seq: u64, parts: &[&[u8]]) -> Option<Position> {
        let session = id.as_u128();
        let entry = self.sessions.get_mut(&session)?;
        let header = Header { kind, flags: 0, session, seq, prev: entry.last, base: entry.base };
        let at = self.log.append(&header, parts);
        match at {
            Some(at) => entry.last = at,
            None => {
                tracing::warn!(session = %id, ?kind, limit = self.log.limits.payload, "too large for the journal: it is not kept");
            }
        }
        at
    }

    /// Changes how a session stands: writes what is added, and a new checkpoint.
    pub(crate) fn change(
        &mut self,
        id: Uuid,
        added: Option<(Kind, &[&[u8]])>,
        change: impl FnOnce(&mut crate::record::Checkpoint, Position),
    ) {
        if self.off {
            return;
        }
        self.make_room();
        let Some(entry) = self.sessions.get(&id.as_u128()).copied() else { return };
        let mut point = session::checkpoint(&self.log, id.as_u128(), &entry).unwrap_or_default();
        point.epoch = entry.epoch;
        point.turn_first = entry.turn_first;
        if let Some(running) = &mut point.running {
            running.said |= entry.said;
        }
        let at = added.and_then(|(kind, parts)| self.append(id, kind, 0, parts)).unwrap_or_default();
        change(&mut point, at);
        let said = point.running.is_some_and(|open| open.said);
        let turn_first = point.turn_first;
        let at = self.append(id, Kind::Checkpoint, entry.last_seq, &[&point.encode()]);
        if let Some(entry) = self.sessions.get_mut(&id.as_u128()) {
            entry.base = at.unwrap_or_default();
            (entry.said, entry.turn_first) = (said, turn_first);
        }
    }

    /// Flushes if much waits, and cleans if that is due.
    pub(crate) fn make_room(&mut self) {
        if self.log.pending() > self.log.limits.batch {
            self.flush_and_clean();
        }
    }

    /// Hands everything to the kernel, and cleans if that is due. A disk that fails is not tried each time.
    pub(crate) fn flush_and_clean(&mut self) {
        let pending = self.log.pending();
        if pending > 0 && pending >= self.trouble.retry_at && self.flush_log() {
            self.clean_if_due();
        }
    }

    /// Hands everything to the kernel. False: it waits, or is lost.
    pub(crate) fn flush_log(&mut self) -> bool {
        let pending = self.log.pending() as u64;
        match self.log.flush() {
            Ok(()) => {
                self.written += pending;
                if self.trouble.failing {
                    (self.trouble.failing, self.trouble.retry_at) = (false, 0);
                    tracing::info!(lost_bytes = self.trouble.lost, "the journal can be written again");
                }
                true
            }
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// What cannot be written or was lost.
    pub(crate) fn problem(&self) -> Option<String> {
        self.trouble.text.clone()
    }

    /// The last write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.trouble.failing
    }

    /// A tick has passed: what was told once need not be told any more.
    pub(crate) fn calm_down(&mut self) {
        if !self.trouble.failing {
            self.trouble = Trouble::default();
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !self.trouble.failing {
            tracing::warn!(%error, "the journal cannot be written; conversations go on, and what was said is kept in memory for now");
        }
        self.trouble.failing = true;
        if self.log.pending() > self.log.limits.pending {
            self.trouble.lost += self.log.pending() as u64;
            tracing::warn!(%error, bytes = self.log.pending(), "the journal could not be written for too long: these events cannot be replayed");
            self.abandon();
        }
        self.trouble.retry_at = self.log.pending() + self.log.limits.retry;
        self.trouble.text = Some(match self.trouble.lost {
            0 => format!("the journal cannot be written: {error}; nothing is lost yet"),
            lost => {
                format!("the journal cannot be written: {error}; {lost} bytes of events cannot be replayed")
            }
        });
    }

    /// Gives up what waits, and keeps of its sessions what is small.
    fn abandon(&mut self) {
        let abandoned = self.log.abandon();
        let mut room = (self.log.limits.pending / 4) as u64;
        let touched =
            self.sessions.iter().filter(|(_, entry)| abandoned.has(entry.last) || abandoned.has(entry.base));
        let touched: Vec<(u128, Entry)> = touched.map(|(id, entry)| (*id, *entry)).collect();
        for (id, entry) in touched {
            let before = Before { log: &self.log, abandoned: &abandoned };
            let bounds = self.log.limits.full;
            let carried = Carried::read(&before, id, &entry, &bounds, Events::Drop, |at| abandoned.has(at))
                .unwrap_or_else(|| Carried::bare(&entry));
            let entry = carried.write(&mut self.log, id, &entry, &mut room);
            self.sessions.insert(id, entry);
        }
        self.log.give_up(abandoned);
    }
}
