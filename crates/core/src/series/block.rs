//! The points of one entity in one window, as bytes: a chunk of the file, or a minute on its way there.
//!
//! ```text
//! version, number of coverages,
//!   each: part(list of slots measured by place), columns that are zero throughout as a bit set
//! then columns: number, coverage, part(payload)
//! ```
//!
//! A coverage says at which places there is a point, and of how many slots: most columns share one. A payload is one list for
//! slots and for sums; else the lists of minima, of max - min, of last - min, and of sum - count * min, which are small.
//! A column that this program does not know is passed over.

use super::metric::{MAX_COLUMNS, is_sum_only, known_column};
use super::point::{Column, Point};
use super::reader::{Reader, put_part, put_varint};
use super::{CHUNK_POINTS, Tier, Unreadable, ints};
use std::collections::BTreeMap;

/// Columns by number.
pub type Columns = BTreeMap<u8, Column>;

const VERSION: u8 = 1;

/// Writes columns; those that are empty are left out.
pub fn encode(columns: &Columns, tier: Tier) -> Vec<u8> {
    let mut coverages: Vec<(Vec<i64>, u64)> = Vec::new();
    let mut payloads = Vec::new();
    for (number, column) in columns.iter().filter(|(_, column)| !column.is_empty()) {
        let places = column.last().map_or(0, |(last, _)| usize::from(*last) + 1);
        let mut counts = vec![0_i64; places];
        for (place, point) in column {
            counts[usize::from(*place)] = i64::from(point.count);
        }
        let at = coverages.iter().position(|(known, _)| *known == counts).unwrap_or_else(|| {
            coverages.push((counts, 0));
            coverages.len() - 1
        });
        if column.iter().all(|(_, point)| (point.sum, point.min, point.max, point.last) == (0, 0, 0, 0)) {
            coverages[at].1 |= 1 << number;
            continue;
        }
        put_varint(&mut payloads, u64::from(*number));
        put_varint(&mut payloads, at as u64);
        put_part(&mut payloads, &payload(*number, column, tier));
    }
    let mut out = vec![VERSION];
    put_varint(&mut out, coverages.len() as u64);
    for (counts, zeros) in coverages {
        let mut list = Vec::new();
        put_varint(&mut list, counts.len() as u64);
        ints::put(&mut list, &counts);
        put_part(&mut out, &list);
        put_varint(&mut out, zeros);
    }
    out.append(&mut payloads);
    out
}

fn payload(number: u8, column: &Column, tier: Tier) -> Vec<u8> {
    let mut out = Vec::new();
    let mut list = |value: &dyn Fn(&Point) -> i64| {
        ints::put(&mut out, &column.iter().map(|(_, point)| value(point)).collect::<Vec<_>>());
    };
    if tier == Tier::Slots || is_sum_only(number) {
        list(&|point| point.sum);
    } else {
        list(&|point| point.min);
        list(&|point| point.max.wrapping_sub(point.min));
        list(&|point| point.last.wrapping_sub(point.min));
        list(&|point| point.sum.wrapping_sub(point.min.wrapping_mul(i64::from(point.count))));
    }
    out
}

/// Reads the columns that are `wanted`. Takes memory for the points of a window at most, whatever the bytes say.
pub fn decode(bytes: &[u8], tier: Tier, wanted: impl Fn(u8) -> bool) -> Result<Columns, Unreadable> {
    let mut from = Reader(bytes);
    if from.byte()? != VERSION {
        return Err(Unreadable("it is of another version"));
    }
    let coverages = from.varint()?;
    if coverages > u64::from(MAX_COLUMNS) {
        return Err(Unreadable("it has too many coverages"));
    }
    let mut columns = Columns::new();
    let mut put = |number: u8, column: Column| match columns.insert(number, column) {
        None => Ok(()),
        Some(_) => Err(Unreadable("a column is there twice")),
    };
    let mut known: Vec<Vec<(u16, u32)>> = Vec::new();
    for _ in 0..coverages {
        let coverage = read_coverage(from.part()?, tier)?;
        let zeros = from.varint()?;
        for number in (0..MAX_COLUMNS).filter(|number| zeros & (1 << number) != 0) {
            if known_column(u64::from(number))?.is_some_and(&wanted) {
                let zero = |count| Point { count, ..Point::default() };
                put(number, coverage.iter().map(|(place, count)| (*place, zero(*count))).collect())?;
            }
        }
        known.push(coverage);
    }
    while !from.is_empty() {
        let number = known_column(from.varint()?)?;
        let coverage = usize::try_from(from.varint()?).ok().and_then(|at| known.get(at));
        let coverage = coverage.ok_or(Unreadable("a column has no coverage"))?;
        let payload = from.part()?;
        if let Some(number) = number.filter(|number| wanted(*number)) {
            put(number, read_column(number, coverage, payload, tier)?)?;
        }
    }
    Ok(columns)
}

fn read_coverage(mut from: Reader<'_>, tier: Tier) -> Result<Vec<(u16, u32)>, Unreadable> {
    let places = from.varint()?;
    if places > u64::from(CHUNK_POINTS) {
        return Err(Unreadable("it is longer than its window"));
    }
    let counts = ints::get(from.0, places as usize)?;
    let mut coverage = Vec::with_capacity(counts.len());
    for (place, count) in (0_u16..).zip(counts) {
        match u32::try_from(count) {
            Ok(0) => {}
            Ok(count) if count <= tier.slots() => coverage.push((place, count)),
            _ => return Err(Unreadable("a point has more slots than there are")),
        }
    }
    Ok(coverage)
}

fn read_column(
    number: u8,
    coverage: &[(u16, u32)],
    mut from: Reader<'_>,
    tier: Tier,
) -> Result<Column, Unreadable> {
    let mut list = || ints::read(&mut from, coverage.len());
    let sums_only = is_sum_only(number);
    let points: Vec<Point> = if tier == Tier::Slots || sums_only {
        let sums = list()?.into_iter().zip(coverage);
        sums.map(|(sum, (_, count))| {
            let point = if sums_only { Point::of_sum(sum) } else { Point::of(sum) };
            Point { count: *count, ..point }
        })
        .collect()
    } else {
        let (mins, ranges, lasts, excesses) = (list()?, list()?, list()?, list()?);
        let rest = ranges.into_iter().zip(lasts).zip(excesses);
        let all = mins.into_iter().zip(rest).zip(coverage);
        all.map(|((min, ((range, last), excess)), (_, count))| Point {
            count: *count,
            sum: min.wrapping_mul(i64::from(*count)).wrapping_add(excess),
            min,
            max: min.wrapping_add(range),
            last: min.wrapping_add(last),
        })
        .collect()
    };
    if !from.is_empty() {
        return Err(Unreadable("a column is longer than it says"));
    }
    Ok(coverage.iter().map(|(place, _)| *place).zip(points).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::METRICS;
    use proptest::prelude::*;

    fn any_tier() -> impl Strategy<Value = Tier> {
        prop_oneof![Just(Tier::Slots), Just(Tier::Minutes), Just(Tier::Hours)]
    }

    /// Points as roll-ups make them, of known columns.
    fn any_columns(tier: Tier) -> impl Strategy<Value = Columns> {
        let numbers: Vec<u8> = METRICS.iter().flat_map(super::super::Metric::columns).collect();
        let value = prop_oneof![3 => Just(0_i64), 3 => 0_i64..50, 1 => -(1_i64 << 53)..1 << 53];
        let place = (0_u16..360, 1..=tier.slots(), value.clone(), value.clone(), value);
        let columns = proptest::collection::btree_map(
            proptest::sample::select(numbers),
            proptest::collection::vec(place, 0..60),
            0..20,
        );
        columns.prop_map(move |columns| {
            let column = |number: u8, places: Vec<(u16, u32, i64, i64, i64)>| -> Column {
                let point = |count, sum, other, last: i64| {
                    if is_sum_only(number) {
                        return Point { count, ..Point::of_sum(sum) };
                    }
                    if tier == Tier::Slots {
                        return Point::of(sum);
                    }
                    Point { count, sum, min: last.min(other), max: last.max(other), last }
                };
                let points = places.into_iter().map(|(at, count, a, b, c)| (at, point(count, a, b, c)));
                points.collect::<BTreeMap<_, _>>().into_iter().collect()
            };
            columns.into_iter().map(|(number, places)| (number, column(number, places))).collect()
        })
    }

    fn tier_and_columns() -> impl Strategy<Value = (Tier, Columns)> {
        any_tier().prop_flat_map(|tier| (Just(tier), any_columns(tier)))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read((tier, columns) in tier_and_columns(), wanted in 0_u8..64) {
            let bytes = encode(&columns, tier);
            let expected: Columns = columns.into_iter().filter(|(_, column)| !column.is_empty()).collect();
            prop_assert_eq!(&decode(&bytes, tier, |_| true).unwrap(), &expected);
            let some = decode(&bytes, tier, |number| number == wanted).unwrap();
            prop_assert_eq!(some.get(&wanted), expected.get(&wanted));
            prop_assert!(some.len() <= 1);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_within_their_window(
            (tier, columns) in tier_and_columns(),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = encode(&columns, tier);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(read) = decode(&bytes, tier, |_| true) {
                for point in read.values().flatten() {
                    prop_assert!(point.0 < CHUNK_POINTS && point.1.count >= 1 && point.1.count <= tier.slots());
                }
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300), tier in any_tier()) {
            let _ = decode(&[&[VERSION], bytes.as_slice()].concat(), tier, |_| true);
            let _ = decode(&bytes, tier, |_| true);
        }
    }

    #[test]
    fn an_idle_window_costs_a_few_bytes() {
        let idle: Column = (0..360).map(|place| (place, Point::of(0))).collect();
        let memory: Column = (0..360).map(|place| (place, Point::of(431))).collect();
        let columns: Columns = (0..16)
            .map(|number| (number, if number == 14 { memory.clone() } else { idle.clone() }))
            .collect();
        let bytes = encode(&columns, Tier::Slots);
        assert!(bytes.len() < 30, "{}", bytes.len());
    }

    #[test]
    fn what_does_not_hold_together_is_refused_and_unknown_columns_are_passed_over() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(decode(bytes, Tier::Slots, |_| true).unwrap_err().0, expected, "{bytes:?}");
        };
        check(&[], "it ends too early");
        check(&[9], "it is of another version");
        check(&[1, 65], "it has too many coverages");
        // One place that was measured once, and column 0 that is zero.
        let sound = [1, 1, 5, 1, 0, 0xff, 1, 2, 1];
        assert_eq!(decode(&sound, Tier::Slots, |_| true).unwrap()[&0], Column::from([(0, Point::of(0))]));
        check(&[&sound[..], &[0, 0, 4, 0, 0xff, 1, 2]].concat(), "a column is there twice");
        check(&[&sound[..], &[1, 1, 0]].concat(), "a column has no coverage");
        check(&[&sound[..], &[1, 0, 5, 0, 0xff, 1, 2, 0]].concat(), "a column is longer than it says");
        check(&[&sound[..], &[70, 0, 0]].concat(), "a column has no valid number");
        check(&[1, 1, 5, 1, 0, 0xff, 1, 4, 1], "a point has more slots than there are");
        check(&[1, 1, 6, 0xff, 0x7f, 0, 0xff, 1, 2, 1], "it is longer than its window");
        let unknown = [&sound[..], &[20, 0, 2, 9, 9]].concat();
        assert_eq!(decode(&unknown, Tier::Slots, |_| true).unwrap().len(), 1);
    }
}
