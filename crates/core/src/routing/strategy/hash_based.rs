//! The same instance for the same key: rendezvous hashing by weight (Thaler and Ravishankar 1998; weights after Schindelhauer
//! and Schomaker 2005). For agents that keep something of a client in memory.
//!
//! Each instance draws a lot for each key, and the best one wins: when an instance comes or goes, only the keys that it wins or
//! had won move. Loads are bounded (Mirrokni, Thorup, Zadimoghaddam 2016): who has 1.25 times the mean is passed over for the next
//! best. Up to [`FREE`] connections that is not looked at, or a client's second connection would often go elsewhere.

use super::Candidate;
use crate::routing::hash::mix;

/// Connections that an instance may always have.
const FREE: u32 = 8;
/// How far above its part of all connections it may be beyond that.
const BOUND: f64 = 1.25;

pub(super) fn select(candidates: &[Candidate], key: u64, seeds: &[u64]) -> Option<usize> {
    let (active, weights) = candidates.iter().fold((0_u64, 0_u64), |(active, weights), candidate| {
        (active + u64::from(candidate.active), weights + u64::from(candidate.weight))
    });
    let per_weight = (active + 1) as f64 / weights as f64 * BOUND;
    let has_room = |candidate: &Candidate| {
        candidate.active < FREE
            || f64::from(candidate.active) < (per_weight * f64::from(candidate.weight)).ceil()
    };
    let lot =
        |candidate: &Candidate| mix(key ^ seeds.get(candidate.index as usize).copied().unwrap_or_default());
    best(candidates, lot, has_room).or_else(|| best(candidates, lot, |_| true))
}

fn best(
    candidates: &[Candidate],
    lot_of: impl Fn(&Candidate) -> u64,
    may: impl Fn(&Candidate) -> bool,
) -> Option<usize> {
    let mut best: Option<(usize, u64, u32)> = None;
    for (place, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| may(candidate)) {
        let lot = lot_of(candidate);
        let wins = best.is_none_or(|(_, best_lot, best_weight)| {
            // The logarithm is only needed where the better lot has the smaller weight.
            match (lot > best_lot, candidate.weight.cmp(&best_weight)) {
                (better, std::cmp::Ordering::Equal) => better,
                (true, std::cmp::Ordering::Greater) => true,
                (false, std::cmp::Ordering::Less) => false,
                _ => distance(lot, candidate.weight) < distance(best_lot, best_weight),
            }
        });
        if wins {
            best = Some((place, lot, candidate.weight));
        }
    }
    best.map(|(place, ..)| place)
}

/// Exponentially distributed with the weight as rate: the least of several is each one's in proportion to its weight.
fn distance(lot: u64, weight: u32) -> f64 {
    -(((lot >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln() / f64::from(weight)
}
