//! Points and how they become coarser ones.

/// What is known of a column in a slot, minute or hour: exact sums, so that a coarser point does not depend on how it was
/// made. For counters the values are increments per slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Slots that were measured; never 0.
    pub count: u32,
    /// Sum of their values.
    pub sum: i64,
    /// The smallest of them.
    pub min: i64,
    /// The largest.
    pub max: i64,
    /// The last.
    pub last: i64,
}

impl Point {
    /// One slot.
    pub fn of(value: i64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, last: value }
    }

    /// One slot of a column whose extremes mean nothing.
    pub fn of_sum(value: i64) -> Self {
        Self { count: 1, sum: value, ..Self::default() }
    }

    /// Adds a later one of the same column.
    pub fn add(&mut self, later: &Self) {
        if self.count == 0 {
            *self = *later;
            return;
        }
        self.count = self.count.saturating_add(later.count);
        self.sum = self.sum.saturating_add(later.sum);
        (self.min, self.max) = (self.min.min(later.min), self.max.max(later.max));
        self.last = later.last;
    }
}

/// The points of a chunk with their places in it, ascending; places that are not there were not measured.
pub type Column = Vec<(u16, Point)>;

/// Makes `factor` points one.
pub fn roll_up(column: &Column, factor: u16) -> Column {
    let mut coarse = Column::new();
    for (place, point) in column {
        match coarse.last_mut() {
            Some((last, sum)) if *last == place / factor => sum.add(point),
            _ => coarse.push((place / factor, *point)),
        }
    }
    coarse
}

/// Adds points at places where there is none yet: what was written once stays. True: something was added.
pub fn fill(column: &mut Column, more: Column) -> bool {
    let is_later = |(place, _): &(u16, Point)| column.last().is_none_or(|(last, _)| last < place);
    if more.first().is_none_or(is_later) {
        let added = !more.is_empty();
        column.extend(more);
        return added;
    }
    let before = column.len();
    column.extend(more);
    // Stable: of two at a place, the one that was there is first.
    column.sort_by_key(|(place, _)| *place);
    column.dedup_by_key(|(place, _)| *place);
    column.len() > before
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_is_in_no_point() {
        let slots = Column::from([(0, Point::of(5)), (3, Point::of(1)), (12, Point::of(-2))]);
        let minutes = roll_up(&slots, 6);
        let first = Point { count: 2, sum: 6, min: 1, max: 5, last: 1 };
        assert_eq!(minutes, Column::from([(0, first), (2, Point::of(-2))]));
    }

    #[test]
    fn what_was_written_stays() {
        let mut column = Column::from([(1, Point::of(5))]);
        assert!(!fill(&mut column, vec![(1, Point::of(6))]) && !fill(&mut column, Column::new()));
        assert!(fill(&mut column, vec![(0, Point::of(7)), (1, Point::of(6))]));
        assert_eq!(column, Column::from([(0, Point::of(7)), (1, Point::of(5))]));
    }

    proptest! {
        #[test]
        fn hours_are_the_same_from_slots_and_from_minutes(
            values in proptest::collection::btree_map(0_u16..360, -1000_i64..1000, 0..100)
        ) {
            let slots: Column = values.iter().map(|(place, value)| (*place, Point::of(*value))).collect();
            let hour = roll_up(&roll_up(&slots, 6), 60);
            prop_assert_eq!(&hour, &roll_up(&slots, 360));
            if let Some((0, point)) = hour.first() {
                prop_assert_eq!(point.count as usize, values.len());
                prop_assert_eq!(point.sum, values.values().sum::<i64>());
                prop_assert_eq!(Some(&point.last), values.values().last());
            }
        }
    }
}
