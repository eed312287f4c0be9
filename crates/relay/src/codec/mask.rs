//! Masking: every byte from a client is XORed with one of the four bytes of its frame's key.

/// A masking key, and where in it the next byte of payload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    key: [u8; 4],
}

impl Mask {
    /// At the first byte of a payload.
    pub fn new(key: [u8; 4]) -> Self {
        Self { key }
    }

    /// The key as it applies to the next byte.
    pub fn key(self) -> [u8; 4] {
        self.key
    }

    /// Masks or unmasks (it is the same) the next bytes of the payload, eight at a time.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let key = u32::from_ne_bytes(self.key);
        let wide = (u64::from(key) << 32) | u64::from(key);
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            if let Ok(eight) = <[u8; 8]>::try_from(&*word) {
                word.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
            }
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(self.key.iter().cycle()) {
            *byte ^= key;
        }
        self.skip(bytes.len());
    }

    /// Passes over bytes without touching them.
    pub fn skip(&mut self, count: usize) {
        self.key.rotate_left(count % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn in_pieces_it_is_the_same_as_byte_by_byte(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            key in any::<[u8; 4]>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
            let mut actual = bytes.clone();
            let (first, second) = actual.split_at_mut(cut.index(bytes.len() + 1));
            let mut mask = Mask::new(key);
            mask.apply(first);
            mask.apply(second);
            prop_assert_eq!(actual, expected);
        }
    }
}
