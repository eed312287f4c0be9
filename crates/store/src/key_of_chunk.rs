//! A chunk's row id: tier, window and entity in one number, so that rows lie in that order.

use myagent_core::series::Tier;

const ENTITY_BITS: u32 = 28;
const WINDOW_BITS: u32 = 28;

/// Which chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKey {
    pub(crate) tier: Tier,
    pub(crate) window: i64,
    /// Number of the entity's row.
    pub(crate) entity: i64,
}

impl ChunkKey {
    /// None: it does not fit, for its clock is before 1970 or many thousand years off.
    pub(crate) fn row(self) -> Option<i64> {
        let fits = |value: i64, bits: u32| (0..1 << bits).contains(&value);
        (fits(self.window, WINDOW_BITS) && fits(self.entity, ENTITY_BITS))
            .then(|| first_of(self.tier, self.window) + self.entity)
    }
}

/// The least row of a window; windows that do not fit are the nearest that does.
pub(crate) fn first_of(tier: Tier, window: i64) -> i64 {
    let window = window.clamp(0, (1 << WINDOW_BITS) - 1);
    i64::from(tier.number()) << (WINDOW_BITS + ENTITY_BITS) | window << ENTITY_BITS
}

/// The greatest.
pub(crate) fn last_of(tier: Tier, window: i64) -> i64 {
    first_of(tier, window) + (1 << ENTITY_BITS) - 1
}

/// The least and the greatest row of a tier.
pub(crate) fn all_of(tier: Tier) -> (i64, i64) {
    (first_of(tier, 0), last_of(tier, i64::MAX))
}

pub(crate) fn window_of(row: i64) -> i64 {
    row >> ENTITY_BITS & ((1 << WINDOW_BITS) - 1)
}

pub(crate) fn entity_of(row: i64) -> i64 {
    row & ((1 << ENTITY_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_of_tier_window_and_entity() {
        let row = |tier, window, entity| ChunkKey { tier, window, entity }.row();
        let most = (1 << 28) - 1;
        let rows = [
            row(Tier::Slots, 0, 0),
            row(Tier::Slots, 500_000, 7),
            row(Tier::Slots, 500_001, 1),
            row(Tier::Slots, most, most),
            row(Tier::Minutes, 0, 0),
            row(Tier::Hours, 2, 9),
        ];
        assert!(rows.is_sorted() && rows.iter().all(Option::is_some), "{rows:?}");
        for tier in Tier::ALL {
            let row = row(tier, 1234, 56).unwrap();
            assert_eq!((window_of(row), entity_of(row)), (1234, 56));
            assert!((first_of(tier, 1234)..=last_of(tier, 1234)).contains(&row));
            assert!((all_of(tier).0..=all_of(tier).1).contains(&row));
        }
        assert_eq!(
            (row(Tier::Slots, -1, 0), row(Tier::Slots, 1 << 28, 0), row(Tier::Slots, 0, 1 << 28)),
            (None, None, None)
        );
    }
}
