//! The map from session to the little that is kept of it in memory.

use crate::Position;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Sessions by their UUID as a number.
pub(crate) type Index = HashMap<u128, Entry, BuildHasherDefault<IdHasher>>;

/// Before the first turn of a session, none of its events belong to the newest one.
pub(crate) const NO_TURN: u64 = u64::MAX;

/// All that a session costs in memory: where its newest record and checkpoint are, and what is asked for at every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its newest record.
    pub(crate) last: Position,
    /// Its newest checkpoint; none: it was lost.
    pub(crate) base: Position,
    /// Number of its newest event.
    pub(crate) last_seq: u64,
    /// First number of the newest turn's events.
    pub(crate) turn_first: u64,
    /// Tenths of a second of the journal's own time, plus one; 0: it is not idle.
    pub(crate) idle_since: u32,
    /// No record that is kept of it is in an older segment than this.
    pub(crate) oldest: u32,
    /// How often it was taken over, plus one.
    pub(crate) epoch: u32,
    /// Something was said in the running turn.
    pub(crate) said: bool,
    /// The link that says whose it is could not be made yet.
    pub(crate) unlinked: bool,
    /// In a dead log: a checkpoint after `base` is damaged.
    pub(crate) damaged: bool,
}

/// Ids are ours and mostly random: their bits need folding, not protection.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, id: u128) {
        let folded = (id as u64 ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (id >> 64) as u64;
        let mixed = u128::from(folded) * 0xd6e8_feb8_6659_fd93;
        self.0 = mixed as u64 ^ (mixed >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::Hash as _;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<(u128, Entry)>() <= 96, "{} bytes", size_of::<(u128, Entry)>());
    }

    #[test]
    fn ids_that_differ_little_are_spread() {
        let hash = |id: u128| {
            let mut hasher = IdHasher::default();
            id.hash(&mut hasher);
            hasher.finish()
        };
        for step in [1, 1 << 12, 1 << 62, 1 << 80, 1 << 100] {
            let low: HashSet<u64> = (0..256).map(|n| hash(n * step) & 0xffff).collect();
            let high: HashSet<u64> = (0..256).map(|n| hash(n * step) >> 48).collect();
            assert!(low.len() > 240 && high.len() > 240, "step {step}: {}, {}", low.len(), high.len());
        }
    }
}
