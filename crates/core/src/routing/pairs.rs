//! Which pairs of bytes a text has, roughly, in 256 bits: most searches in it can be answered without reading it. A thousand rules
//! that look for a word in the `User-Agent` read it a few times, not a thousand.

/// The pairs of a text. A pair may be there that only shares its bit with one that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs([u64; 4]);

impl Pairs {
    pub(super) fn of(text: &[u8]) -> Self {
        let mut pairs = Self::default();
        for pair in text.windows(2) {
            // Any odd factor that keeps letters apart does.
            let bit = pair[0].wrapping_mul(157).wrapping_add(pair[1]);
            pairs.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
        }
        pairs
    }

    /// Whether a text with these pairs can contain one with those.
    #[inline]
    pub(super) fn may_contain(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| own & other == other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn most_of_what_is_not_there_is_told_at_once() {
        let text =
            Pairs::of(b"mozilla/5.0 (x11; linux x86_64) applewebkit/537.36 chrome/140.0.0.0 safari/537.36");
        let words: [&[u8]; 6] = [b"iphone", b"android", b"mobile", b"bot", b"curl", b"windows"];
        assert!(words.iter().filter(|word| text.may_contain(&Pairs::of(word))).count() <= 1);
        assert!(text.may_contain(&Pairs::of(b"linux")) && text.may_contain(&Pairs::of(b"z")));
    }

    proptest! {
        #[test]
        fn what_is_there_is_never_denied(before in ".{0,40}", word in ".{0,10}", after in ".{0,40}") {
            let text = format!("{before}{word}{after}");
            prop_assert!(Pairs::of(text.as_bytes()).may_contain(&Pairs::of(word.as_bytes())));
        }
    }
}
