//! From what is read at a tick to what is kept of a slot: counters become increments.
//!
//! The sums that we read are of a whole life, kept across restarts of runners and managers: they do not begin at zero after
//! one. A sum that goes down has lost something (a runner was killed while no manager was there to hear its last minute), so
//! taking the new value for an increment, as is right for counters of a process, would count a whole life again. The
//! increment of such a step is 0, and the new value is the base of the next.
//!
//! An increment needs two ticks, one after the other. After a gap there is none: the new value is the base.

use super::metric::{Values, is_counted};
use super::reader::{Reader, put_varint};
use super::{EntityKey, SLOT, Unreadable};
use crate::ids::ServiceId;
use std::collections::BTreeMap;

/// What was kept of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its beginning, seconds since 1970.
    pub start: i64,
    /// Increments of counters, values of gauges.
    pub entries: Vec<(EntityKey, Values)>,
}

/// One reading, and whether everything in it began within the slot.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Whose.
    pub key: EntityKey,
    /// Counters as sums.
    pub values: Values,
    /// It did not exist before the slot, so that its sums are increments.
    pub is_new: bool,
}

/// Remembers the last sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    last: Option<i64>,
    sums: BTreeMap<EntityKey, Values>,
}

/// Entities of a stored tracker; a manager has less.
const MAX_ENTITIES: u64 = 1_000_000;

impl Tracker {
    /// The last slot that was taken.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// Nothing up to this slot is taken again, though its sums are not known.
    pub fn not_before(&mut self, slot: i64) {
        if self.last.is_none_or(|last| last < slot) {
            *self = Self { last: Some(slot), sums: BTreeMap::new() };
        }
    }

    /// Takes a reading of all that there is.
    pub fn take(&mut self, start: i64, readings: Vec<Reading>) -> Slot {
        let follows = self.last.is_some_and(|last| last + SLOT == start);
        let before = std::mem::take(&mut self.sums);
        self.last = Some(start);
        let mut entries = Vec::with_capacity(readings.len());
        for Reading { key, values, is_new } in readings {
            let base = before.get(&key).filter(|_| follows).map(Vec::as_slice);
            entries.push((key, increments(&values, base, is_new)));
            self.sums.insert(key, values.into_iter().filter(|(column, _)| is_counted(*column)).collect());
        }
        Slot { start, entries }
    }

    /// As bytes, for the next manager.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(last) = self.last else { return out };
        put_varint(&mut out, last.cast_unsigned());
        put_varint(&mut out, self.sums.len() as u64);
        for (key, sums) in &self.sums {
            super::segment::put_key(&mut out, *key);
            put_varint(&mut out, sums.len() as u64);
            for (column, sum) in sums {
                out.push(*column);
                put_varint(&mut out, sum.cast_unsigned());
            }
        }
        out
    }

    /// From the bytes of the manager before.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut from = Reader(bytes);
        if from.is_empty() {
            return Ok(Self::default());
        }
        let last = Some(from.varint()?.cast_signed());
        let count = from.varint()?;
        if count > MAX_ENTITIES {
            return Err(Unreadable("it has too many entities"));
        }
        let mut sums = BTreeMap::new();
        for _ in 0..count {
            let key = super::segment::read_key(&mut from)?;
            let columns = from.varint()?;
            let mut values = Values::new();
            for _ in 0..columns {
                values.push((from.byte()?, from.varint()?.cast_signed()));
            }
            sums.insert(key, values);
        }
        Ok(Self { last, sums })
    }

    /// The services that there were at the last tick.
    pub fn services(&self) -> impl Iterator<Item = ServiceId> {
        self.sums.keys().map(|key| key.service_id)
    }
}

fn increments(values: &Values, base: Option<&[(u8, i64)]>, is_new: bool) -> Values {
    let mut kept = Values::with_capacity(values.len());
    for (column, value) in values {
        if !is_counted(*column) {
            kept.push((*column, *value));
            continue;
        }
        let before = match base.map(|base| base.binary_search_by_key(column, |(column, _)| *column)) {
            Some(Ok(at)) => base.and_then(|base| base.get(at)).map(|(_, sum)| *sum),
            _ if is_new => Some(0),
            _ => None,
        };
        if let Some(before) = before {
            kept.push((*column, value.saturating_sub(before).max(0)));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> EntityKey {
        EntityKey { service_id: ServiceId(uuid::Uuid::from_u128(7)), index: Some(index) }
    }

    fn reading(messages: i64, connections: i64) -> Reading {
        Reading { key: key(0), values: vec![(2, messages), (10, connections)], is_new: false }
    }

    /// The increments of a counter at these ticks.
    fn taken(tracker: &mut Tracker, ticks: &[(i64, i64)]) -> Vec<Option<i64>> {
        let mut found = Vec::new();
        for (start, sum) in ticks {
            let slot = tracker.take(*start, vec![reading(*sum, 3)]);
            let values = &slot.entries[0].1;
            assert!(values.contains(&(10, 3)), "{values:?}");
            found.push(values.iter().find(|(column, _)| *column == 2).map(|(_, value)| *value));
        }
        found
    }

    #[test]
    fn increments_need_two_ticks_one_after_the_other_and_a_sum_that_shrank_is_the_new_base() {
        let ticks = [(0, 100), (10, 104), (20, 104), (30, 90), (40, 95), (70, 200), (80, 201)];
        let expected = [None, Some(4), Some(0), Some(0), Some(5), None, Some(1)];
        assert_eq!(taken(&mut Tracker::default(), &ticks), expected);
    }

    #[test]
    fn what_is_new_began_at_zero() {
        let mut tracker = Tracker::default();
        let new = Reading { is_new: true, ..reading(5, 0) };
        assert_eq!(tracker.take(0, vec![new]).entries[0].1, [(2, 5), (10, 0)]);
        assert_eq!(taken(&mut tracker, &[(10, 6)]), [Some(1)]);
        // Another one that was not there at the last tick.
        let other = Reading { key: key(1), ..reading(5, 0) };
        assert_eq!(tracker.take(20, vec![other]).entries[0].1, [(10, 0)]);
    }

    #[test]
    fn the_next_manager_goes_on_where_this_one_ended() {
        let mut tracker = Tracker::default();
        taken(&mut tracker, &[(0, 100)]);
        let bytes = tracker.encode();
        let mut next = Tracker::decode(&bytes).unwrap();
        assert_eq!(next, tracker);
        assert_eq!(next.services().count(), 1);
        next.not_before(-10);
        assert_eq!(taken(&mut next, &[(10, 101)]), [Some(1)]);
        next.not_before(50);
        assert_eq!((next.last(), taken(&mut next, &[(60, 200)])), (Some(50), vec![None]));
        assert_eq!(Tracker::decode(&Tracker::default().encode()), Ok(Tracker::default()));
        for cut in 1..bytes.len() {
            assert!(Tracker::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Tracker::decode(&[0, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
