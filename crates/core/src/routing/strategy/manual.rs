//! The first of the services that the rule lists, as long as it has an eligible instance; of that service the first. For a main
//! service and its stand-ins.

use super::{Candidate, UNLISTED};

pub(super) fn select(candidates: &[Candidate]) -> Option<usize> {
    candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.rank != UNLISTED)
        .min_by_key(|(_, candidate)| candidate.rank)
        .map(|(place, _)| place)
}
