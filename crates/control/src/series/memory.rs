//! What was measured and is in no chunk yet.

use crate::handle::Views;
use myagent_core::ServiceId;
use myagent_core::series::track::{Reading, Slot, Tracker};
use myagent_core::series::{SLOT, hour_of, metric, segment};
use myagent_store::SeriesState;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of minutes that are kept while they cannot be stored; then the oldest go.
const MAX_BYTES: usize = 64 << 20;
/// If the clock goes back by less, it is waited for; if by more, it was wrong before.
const PATIENCE: i64 = 3_600;
/// The clock is believed, as far as removing what is old goes, when it has gone on steadily for so many slots.
const STEADY: u32 = 60;

/// Minutes as bytes, by their first slot.
pub(super) type Segments = Vec<(i64, Arc<[u8]>)>;

/// What came of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is the slot's.
    Measured,
    /// The slot has been measured.
    Again,
    /// The clock went back by so many seconds, and is believed.
    Back(i64),
}

/// A minute as bytes.
struct Kept {
    data: Arc<[u8]>,
    is_stored: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Memory {
    tracker: Tracker,
    /// Slots that are no segment yet, by minute.
    minutes: BTreeMap<i64, Vec<Arc<Slot>>>,
    /// By first slot.
    segments: BTreeMap<i64, Kept>,
    bytes: usize,
    services: Option<BTreeSet<ServiceId>>,
    steady: u32,
}

/// What is to be stored.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Segments that are not in the file.
    pub(super) new: Segments,
    /// Hours that are over, and their segments.
    pub(super) hours: BTreeMap<i64, Segments>,
    /// The last slot.
    pub(super) last_slot: Option<i64>,
    /// The services that there are; none: nothing was measured yet, and nobody knows.
    pub(super) services: Option<BTreeSet<ServiceId>>,
    /// The time, if it can be relied on for removing what is old.
    pub(super) now: Option<i64>,
}

impl Memory {
    /// Goes on with what is in the file. Called again when the manager before may have written its last, for a file that was
    /// not there at first, and for a new one.
    pub(super) fn restore(&mut self, state: SeriesState) {
        for kept in self.segments.values_mut() {
            kept.is_stored = false;
        }
        for (start, data) in state.segments {
            self.bytes += data.len();
            let kept = Kept { data: data.into(), is_stored: true };
            if let Some(before) = self.segments.insert(start, kept) {
                self.bytes -= before.data.len();
            }
        }
        // Nothing was measured yet.
        if self.services.is_none() {
            match Tracker::decode(&state.sums) {
                Ok(tracker) => self.tracker = tracker,
                Err(error) => tracing::warn!(%error, "the counters of the manager before are not known"),
            }
            if let Some(last) = state.last_slot {
                self.tracker.not_before(last);
            }
        }
    }

    /// Takes what the views say at `now`: it is of the slot that has just ended.
    pub(super) fn take(&mut self, now: i64, views: &Views) -> Taken {
        let start = now.div_euclid(SLOT) * SLOT - SLOT;
        let mut taken = Taken::Measured;
        let last = self.tracker.last();
        if let Some(back) = last.map(|last| last - start).filter(|back| *back >= 0) {
            if back <= PATIENCE {
                return Taken::Again;
            }
            taken = Taken::Back(back);
        }
        let has_jumped = last.is_none_or(|last| (start - last).abs() > PATIENCE);
        self.steady = if has_jumped { 0 } else { self.steady.saturating_add(1) };
        let readings = views.values().flat_map(|view| {
            let is_new = view.created_at.as_second() >= start;
            metric::read(view).into_iter().map(move |(key, values)| Reading { key, values, is_new })
        });
        let slot = self.tracker.take(start, readings.collect());
        self.services = Some(views.values().map(|view| view.service_id).collect());
        self.minutes.entry(start.div_euclid(60) * 60).or_default().push(Arc::new(slot));
        taken
    }

    /// Slots that can become a segment: of minutes that are over, or of all. Some of them again when the clock went back.
    pub(super) fn to_seal(&self, all: bool) -> Vec<(i64, Vec<Arc<Slot>>)> {
        let last = self.tracker.last().unwrap_or_default();
        let is_over = |minute: i64| last.div_euclid(60) * 60 != minute || last + SLOT == minute + 60;
        let over = self.minutes.iter().filter(|(minute, _)| all || is_over(**minute));
        over.map(|(minute, slots)| (*minute, slots.clone())).collect()
    }

    /// Slots of a minute have become a segment. True: for the sake of the bound, older ones were given up.
    pub(super) fn sealed(&mut self, minute: i64, slots: &[Arc<Slot>], data: Vec<u8>) -> bool {
        if let Some(left) = self.minutes.get_mut(&minute) {
            left.drain(..slots.len().min(left.len()));
            if left.is_empty() {
                self.minutes.remove(&minute);
            }
        }
        let Some(first) = slots.first() else { return false };
        // What was measured first stays.
        if !self.segments.contains_key(&first.start) {
            self.bytes += data.len();
            self.segments.insert(first.start, Kept { data: data.into(), is_stored: false });
        }
        let mut gave_up = false;
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.segments.pop_first()
        {
            self.bytes -= oldest.data.len();
            gave_up = true;
        }
        gave_up
    }

    /// What is to be stored now.
    pub(super) fn job(&self) -> Job {
        let last_slot = self.tracker.last();
        let present = last_slot.map(hour_of);
        let mut job = Job { last_slot, services: self.services.clone(), ..Job::default() };
        job.now = last_slot.filter(|_| self.steady >= STEADY);
        for (start, kept) in &self.segments {
            if !kept.is_stored {
                job.new.push((*start, Arc::clone(&kept.data)));
            }
            let hour = hour_of(*start);
            if Some(hour) != present {
                job.hours.entry(hour).or_default().push((*start, Arc::clone(&kept.data)));
            }
        }
        job
    }

    /// The counters' sums, for a manager that follows.
    pub(super) fn sums(&self) -> Vec<u8> {
        self.tracker.encode()
    }

    /// These are in the file now.
    pub(super) fn stored(&mut self, segments: &[(i64, Arc<[u8]>)]) {
        for (start, _) in segments {
            if let Some(kept) = self.segments.get_mut(start) {
                kept.is_stored = true;
            }
        }
    }

    /// These are in chunks now.
    pub(super) fn done(&mut self, segments: &[(i64, Arc<[u8]>)]) {
        for (start, data) in segments {
            if self.segments.get(start).is_some_and(|kept| Arc::ptr_eq(&kept.data, data)) {
                self.segments.remove(start);
                self.bytes -= data.len();
            }
        }
    }

    /// Everything, as segments by their first slot; what is none yet is still to be made one.
    pub(super) fn all(&self) -> (Segments, Vec<Vec<Arc<Slot>>>) {
        let segments = self.segments.iter().map(|(start, kept)| (*start, Arc::clone(&kept.data))).collect();
        (segments, self.minutes.values().cloned().collect())
    }
}

/// Slots of one minute as bytes. They need not be in order if the clock went back.
pub(super) fn seal(slots: &[Arc<Slot>]) -> Vec<u8> {
    let mut slots: Vec<Slot> = slots.iter().map(|slot| slot.as_ref().clone()).collect();
    slots.sort_by_key(|slot| slot.start);
    slots.dedup_by_key(|slot| slot.start);
    segment::encode(&slots)
}
