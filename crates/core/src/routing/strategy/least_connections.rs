//! The fewest open connections for its weight; of equals each in turn. For conversations of unequal length, the usual case.

use super::Candidate;

pub(super) fn select(candidates: &[Candidate], may: impl Fn(&Candidate) -> bool, tick: u64) -> Option<usize> {
    // The connection to come counts, so that of two idle ones the heavier is taken, and a new one is not flooded.
    let load = |candidate: &Candidate| (candidate.active as f32 + 1.0) / candidate.share;
    let (mut least, mut equals) = (f32::INFINITY, 0_u64);
    for load in candidates.iter().filter(|candidate| may(candidate)).map(load) {
        if load < least {
            (least, equals) = (load, 1);
        } else if load <= least {
            equals += 1;
        }
    }
    let turn = tick.checked_rem(equals)?;
    candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| may(candidate) && load(candidate) <= least)
        .nth(turn as usize)
        .map(|(place, _)| place)
}
