//! Those that have the most of the rule's tags, of them the one with the fewest connections. For targets that are matched by any
//! of several tags, the best match first.

use super::{Candidate, least_connections};

pub(super) fn select(candidates: &[Candidate], tick: u64) -> Option<usize> {
    let most = candidates.iter().map(|candidate| candidate.matches).max()?;
    least_connections::select(candidates, |candidate| candidate.matches == most, tick)
}
