//! A minute of everybody: what is written each minute, and read again by a manager that follows one that was killed. When an
//! hour is over, its segments become chunks of all three tiers.

use super::block::{self, Columns};
use super::metric::is_sum_only;
use super::point::{Point, fill, roll_up};
use super::reader::{Reader, put_part, put_varint};
use super::track::Slot;
use super::{EntityKey, SLOT, Tier, Unreadable, hour_of};
use crate::ids::ServiceId;
use std::collections::BTreeMap;

/// Slots of a segment at most.
pub const MAX_SLOTS: usize = 6;
const VERSION: u8 = 1;

pub(super) fn put_key(out: &mut Vec<u8>, key: EntityKey) {
    out.extend_from_slice(key.service_id.0.as_bytes());
    put_varint(out, key.index.map_or(0, |index| u64::from(index) + 1));
}

pub(super) fn read_key(from: &mut Reader<'_>) -> Result<EntityKey, Unreadable> {
    let id = uuid::Uuid::from_slice(from.bytes(16)?).map_err(|_| Unreadable("an id is none"))?;
    let index = from.varint()?;
    let index = index.checked_sub(1).map(u32::try_from).transpose();
    Ok(EntityKey {
        service_id: ServiceId(id),
        index: index.map_err(|_| Unreadable("an index is too large"))?,
    })
}

/// Writes slots of one hour, the first of which gives the segment its name.
pub fn encode(slots: &[Slot]) -> Vec<u8> {
    let first = slots.first().map_or(0, |slot| slot.start);
    let mut entities: BTreeMap<EntityKey, Columns> = BTreeMap::new();
    for slot in slots {
        let place = u16::try_from((slot.start - first) / SLOT).unwrap_or(u16::MAX);
        for (key, values) in &slot.entries {
            let columns = entities.entry(*key).or_default();
            for (column, value) in values {
                let point = if is_sum_only(*column) { Point::of_sum(*value) } else { Point::of(*value) };
                fill(columns.entry(*column).or_default(), vec![(place, point)]);
            }
        }
    }
    let mut out = vec![VERSION];
    put_varint(&mut out, first.cast_unsigned());
    for (key, columns) in entities {
        put_key(&mut out, key);
        put_part(&mut out, &block::encode(&columns, Tier::Slots));
    }
    out
}

/// The segment's first slot, and each entity's block in it.
fn read(bytes: &[u8]) -> Result<(i64, Reader<'_>), Unreadable> {
    let mut from = Reader(bytes);
    if from.byte()? != VERSION {
        return Err(Unreadable("it is of another version"));
    }
    let first = from.varint()?.cast_signed();
    if first.rem_euclid(SLOT) != 0 || first.unsigned_abs() > 1 << 40 {
        return Err(Unreadable("its time is none"));
    }
    Ok((first, from))
}

/// Whose blocks are in a segment.
pub fn entities(bytes: &[u8]) -> Result<Vec<EntityKey>, Unreadable> {
    let (_, mut from) = read(bytes)?;
    let mut keys = Vec::new();
    while !from.is_empty() {
        keys.push(read_key(&mut from)?);
        from.part()?;
    }
    Ok(keys)
}

/// Adds the wanted columns of a segment's entities to slots of the hour that begins at `hour`; points of another hour are left
/// out, and those that are there already stay.
pub fn gather(
    bytes: &[u8],
    hour: i64,
    to: &mut BTreeMap<EntityKey, Columns>,
    entity: impl Fn(EntityKey) -> bool,
    column: impl Fn(u8) -> bool,
) -> Result<(), Unreadable> {
    let (first, mut from) = read(bytes)?;
    let last = hour_of(hour) + Tier::Slots.chunk() - SLOT;
    while !from.is_empty() {
        let key = read_key(&mut from)?;
        let block = from.part()?;
        if !entity(key) {
            continue;
        }
        let columns = to.entry(key).or_default();
        for (number, points) in block::decode(block.0, Tier::Slots, &column)? {
            let places = points.into_iter().filter_map(|(place, point)| {
                let start = first + i64::from(place) * SLOT;
                let place = u16::try_from((start - hour) / SLOT).ok();
                place.filter(|_| (hour..=last).contains(&start)).map(|place| (place, point))
            });
            fill(columns.entry(number).or_default(), places.collect());
        }
    }
    Ok(())
}

/// The slots of the hour that begins at `hour` as points of `tier`, at their places in the chunk that holds the hour.
pub fn of_tier(slots: &Columns, hour: i64, tier: Tier) -> Columns {
    let factor = u16::try_from(tier.step() / SLOT).unwrap_or(u16::MAX);
    let first = u16::try_from(hour.rem_euclid(tier.chunk()) / tier.step()).unwrap_or_default();
    let column =
        |column| roll_up(column, factor).into_iter().map(|(place, point)| (place + first, point)).collect();
    slots.iter().map(|(number, points)| (*number, column(points))).collect()
}

/// Adds points where there are none yet. True: something was added.
pub fn fill_columns(to: &mut Columns, more: Columns) -> bool {
    let mut added = false;
    for (number, points) in more {
        added |= fill(to.entry(number).or_default(), points);
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::point::Column;
    use proptest::prelude::*;

    fn key(service: u128, index: Option<u32>) -> EntityKey {
        EntityKey { service_id: ServiceId(uuid::Uuid::from_u128(service)), index }
    }

    fn slot(start: i64, values: &[(EntityKey, i64)]) -> Slot {
        Slot {
            start,
            entries: values.iter().map(|(key, value)| (*key, vec![(2, *value), (32, *value)])).collect(),
        }
    }

    #[test]
    fn segments_of_an_hour_become_points_at_their_places_in_every_tier() {
        let (a, b) = (key(1, Some(0)), key(1, None));
        let hour = 7 * 3_600;
        let segments = [
            encode(&[slot(hour + 60, &[(a, 1), (b, 2)]), slot(hour + 80, &[(a, 3)])]),
            encode(&[slot(hour + 3_590, &[(a, 5)]), slot(hour + 3_600, &[(a, 9)])]),
            // A second time: what was there stays.
            encode(&[slot(hour + 60, &[(a, 100)])]),
        ];
        let mut all = BTreeMap::new();
        for segment in &segments {
            gather(segment, hour, &mut all, |_| true, |_| true).unwrap();
        }
        assert_eq!((entities(&segments[0]), entities(&segments[2])), (Ok(vec![b, a]), Ok(vec![a])));
        let slots = &all[&a];
        assert_eq!(slots[&2], Column::from([(6, Point::of(1)), (8, Point::of(3)), (359, Point::of(5))]));
        assert_eq!(slots[&32][1], (8, Point::of_sum(3)));
        assert_eq!(all[&b][&2], Column::from([(6, Point::of(2))]));
        assert_eq!(&of_tier(slots, hour, Tier::Slots), slots);
        let minute = Point { count: 2, sum: 4, min: 1, max: 3, last: 3 };
        // The seventh hour is the second of its six; and the eighth of its fifteen days.
        assert_eq!(
            of_tier(slots, hour, Tier::Minutes)[&2],
            Column::from([(61, minute), (119, Point::of(5))])
        );
        let whole = Point { count: 3, sum: 9, min: 1, max: 5, last: 5 };
        assert_eq!(of_tier(slots, hour, Tier::Hours)[&2], Column::from([(7, whole)]));
        let mut few = BTreeMap::new();
        gather(&segments[0], hour, &mut few, |key| key.index.is_none(), |column| column == 2).unwrap();
        assert_eq!(few, BTreeMap::from([(b, Columns::from([(2, Column::from([(6, Point::of(2))]))]))]));
        let mut filled = few[&b].clone();
        assert!(!fill_columns(&mut filled, few[&b].clone()) && fill_columns(&mut filled, slots.clone()));
    }

    proptest! {
        #[test]
        fn damaged_segments_are_refused_or_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut all = BTreeMap::new();
            let _ = entities(&bytes);
            let _ = gather(&bytes, 0, &mut all, |_| true, |_| true);
            let mut sound = encode(&[slot(0, &[(key(1, Some(0)), 5)]), slot(10, &[(key(2, None), 6)])]);
            let at = at.index(sound.len());
            sound[at] = byte;
            let _ = gather(&sound, 0, &mut all, |_| true, |_| true);
        }
    }
}
