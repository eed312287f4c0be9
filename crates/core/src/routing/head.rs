//! The first bytes of a text as one number, in lower case: most of what is compared with many texts differs there already.

/// How a text must begin. Whatever it excludes is excluded; what it lets pass may still differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    bytes: u64,
    /// The bytes that count.
    mask: u64,
}

impl Head {
    /// Says nothing.
    pub(super) const ANY: Self = Self { bytes: 0, mask: 0 };

    /// That of the texts that are this one, be it in another case.
    pub(super) fn of_all(text: &str) -> Self {
        // The end counts as a byte.
        Self::of(text, text.len() + 1)
    }

    /// That of the texts that begin with this one, be it in another case.
    pub(super) fn of_longer(text: &str) -> Self {
        Self::of(text, text.len())
    }

    fn of(text: &str, count: usize) -> Self {
        // Letters beyond ASCII may have a lower case that depends on what follows them.
        if !text.is_ascii() {
            return Self::ANY;
        }
        let mask = u64::MAX.checked_shr(64_u32.saturating_sub(count.min(8) as u32 * 8)).unwrap_or(0);
        Self { bytes: first_bytes(text.as_bytes()) & mask, mask }
    }

    /// Whether a text with these [`first_bytes`] is none of those.
    #[inline]
    pub(super) fn differs(self, first_bytes: u64) -> bool {
        (self.bytes ^ first_bytes) & self.mask != 0
    }
}

/// The first eight bytes of a text in lower case; zeros if it is shorter.
#[inline]
pub(super) fn first_bytes(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = text.len().min(8);
    bytes[..count].copy_from_slice(&text[..count]);
    bytes.make_ascii_lowercase();
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_is_seen_in_the_first_bytes() {
        for (head, text, differs) in [
            (Head::of_all("vip"), "VIP", false),
            (Head::of_all("vip"), "vi", true),
            (Head::of_all("vip"), "vips", true),
            (Head::of_all(""), "", false),
            (Head::of_all(""), "a", true),
            (Head::of_all("seventy-eight"), "seventy-nine", false),
            (Head::of_longer("/chat/"), "/chat/ws", false),
            (Head::of_longer("/chat/"), "/chap/ws", true),
            (Head::of_longer("/chat/"), "/chat", true),
            (Head::of_longer("\u{e4}"), "x", false),
            (Head::ANY, "", false),
        ] {
            assert_eq!(head.differs(first_bytes(text.as_bytes())), differs, "{head:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_matches_is_excluded(text in any::<String>(), more in any::<String>()) {
            let longer = format!("{text}{more}");
            prop_assert!(!Head::of_all(&text).differs(first_bytes(text.to_lowercase().as_bytes())));
            prop_assert!(!Head::of_longer(&text).differs(first_bytes(longer.to_lowercase().as_bytes())));
            prop_assert!(!Head::of_longer(&text).differs(first_bytes(longer.as_bytes())));
        }
    }
}
