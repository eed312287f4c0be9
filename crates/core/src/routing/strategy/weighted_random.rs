//! By chance: in proportion to weights that somebody has set or, where all weigh the same and have a limit of places, to the
//! places that are free. For many front doors that do not know of each other.

use super::{Candidate, UNLIMITED};

pub(super) fn select(candidates: &[Candidate], random: u64) -> Option<usize> {
    let first = candidates.first()?;
    let by_places =
        candidates.iter().all(|candidate| candidate.weight == first.weight && candidate.free != UNLIMITED);
    let share = |candidate: &Candidate| {
        let share = f64::from(candidate.share);
        if by_places { share * f64::from(candidate.free) } else { share }
    };
    let total: f64 = candidates.iter().map(share).sum();
    let mut point = random as f64 / u64::MAX as f64 * total;
    for (place, candidate) in candidates.iter().enumerate() {
        point -= share(candidate);
        if point < 0.0 {
            return Some(place);
        }
    }
    // The sum was rounded.
    Some(candidates.len() - 1)
}
