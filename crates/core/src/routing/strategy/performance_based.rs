//! Of two taken by chance the one with the lower product of latency and connections (power of two choices, Mitzenmacher 2001, on
//! a peak-weighted average). For instances that differ in speed, or whose speed changes.

use super::{Candidate, Inputs};
use crate::routing::hash::{below, mix};

/// What an instance is taken to need that has connections, but has answered nobody yet, nanoseconds.
const UNKNOWN: f64 = 1e9;

pub(super) fn select(candidates: &[Candidate], inputs: &Inputs<'_>) -> usize {
    let count = candidates.len();
    if count < 2 {
        return 0;
    }
    let one = below(inputs.random, count);
    let other = (one + 1 + below(mix(inputs.random), count - 1)) % count;
    let cost = |place: usize| {
        let candidate = &candidates[place];
        let latency = match (inputs.latency)(candidate.index) {
            Some(latency) => latency,
            // It is tried once, and not flooded before the answer is known.
            None if candidate.active == 0 => 0.0,
            None => UNKNOWN,
        };
        latency * (f64::from(candidate.active) + 1.0) / f64::from(candidate.share)
    };
    if cost(other) < cost(one) { other } else { one }
}
