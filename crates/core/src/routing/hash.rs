//! A hash that is the same in every process and version, so that a client stays with its instance over restarts and upgrades.
//! Not for tables: a client who knows it can find keys that collide.

/// Hashes bytes: FNV-1a over them, then [`mix`].
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// Spreads every bit over all (the finalizer of `splitmix64`).
#[inline]
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A number below `bound` in proportion to where `random` lies among all.
#[inline]
pub(super) fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(hash(b"192.168.1.7"), 0xa01a_eaea_47d9_b4bd);
        assert_ne!(hash(b"a"), hash(b"b"));
        assert_eq!((below(0, 10), below(u64::MAX, 10), below(u64::MAX / 2, 10)), (0, 9, 4));
    }
}
