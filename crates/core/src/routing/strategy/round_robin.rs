//! Each in turn, in proportion to its weight. For many clients that cost about the same.
//!
//! Exact and without memory besides the tick: among candidates of total weight W each has been chosen exactly its weight's times
//! after W ticks. Smooth, too: with unequal weights the tick walks through the slots in steps of about the golden ratio, so that
//! the slots of one candidate, which lie side by side, are not taken one after the other.

use super::Candidate;

/// Weights are counted in tenths while somebody is new.
const TENTHS: f32 = 10.0;

pub(super) fn select(candidates: &[Candidate], tick: u64) -> usize {
    let weight = candidates[0].share;
    #[expect(clippy::float_cmp, reason = "equal weights give the same number, not one near it")]
    let all_equal = candidates.iter().all(|candidate| candidate.share == weight);
    if all_equal {
        return (tick % candidates.len() as u64) as usize;
    }
    #[expect(clippy::float_cmp, reason = "a share is the weight itself unless the instance is new")]
    let all_warm = candidates.iter().all(|candidate| candidate.share == candidate.weight as f32);
    let units = |candidate: &Candidate| {
        if all_warm { u64::from(candidate.weight) } else { ((candidate.share * TENTHS) as u64).max(1) }
    };
    let total: u64 = candidates.iter().map(units).sum();
    let mut slot = (u128::from(tick % total) * u128::from(step(total)) % u128::from(total)) as u64;
    for (place, candidate) in candidates.iter().enumerate() {
        let units = units(candidate);
        if slot < units {
            return place;
        }
        slot -= units;
    }
    0
}

/// The number nearest below the golden section of `total` that visits all slots: one that shares no divisor with it.
fn step(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_749_894_9) as u64;
    (1..=golden).rev().find(|step| divisor(*step, total) == 1).unwrap_or(1)
}

fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
