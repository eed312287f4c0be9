//! Each in turn, in proportion to its weight: the tick counts through the sum of the weights.

use crate::routing::snapshot::RoutedInstance;

pub(super) fn select<'a>(pool: &[&'a RoutedInstance], tick: u64) -> Option<&'a RoutedInstance> {
    let total: u64 = pool.iter().map(|instance| u64::from(instance.weight)).sum();
    let mut slot = tick.checked_rem(total)?;
    pool.iter().copied().find(|instance| {
        let weight = u64::from(instance.weight);
        let here = slot < weight;
        slot = slot.saturating_sub(weight);
        here
    })
}
