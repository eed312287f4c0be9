//! The scanner against a plain reading of the same stream: any frames, any lengths, any split, whole or garbage.

use crate::reference::check;
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame as it may be on the wire, also as it should not be.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    key: Option<[u8; 4]>,
    /// Extended bytes of the length; more than it needs is allowed.
    extended: usize,
    payload: Vec<u8>,
}

impl Frame {
    fn write(&self, out: &mut Vec<u8>) {
        let length = self.payload.len();
        let need = if length < 126 {
            0
        } else if length < 65_536 {
            2
        } else {
            8
        };
        let extended = self.extended.max(need);
        let short = match extended {
            0 => length as u8,
            2 => 126,
            _ => 127,
        };
        out.extend([self.first, short | if self.key.is_some() { 0x80 } else { 0 }]);
        out.extend(&(length as u64).to_be_bytes()[8 - extended..]);
        out.extend(self.key.iter().flatten());
        let key = self.key.unwrap_or_default();
        out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let session =
        "[ -~]{0,3}\"session_id\"( ?: ?\"[a-z\\\\\\\\\"é]{0,6}\"| ?: ?[0-9]|\"[ -~]{0,4})[ -~]{0,5}";
    prop_oneof![
        4 => vec(any::<u8>(), 0..12),
        3 => session.prop_map(String::into_bytes),
        // Around the lengths where the header grows, and where a text is too long to be read.
        1 => (prop_oneof![Just(124_usize), Just(4094), Just(65_534)], 0..4_usize).prop_map(|(base, more)| vec![b'x'; base + more]),
        // A session id around the longest one.
        1 => (195..205_usize).prop_map(|length| format!("\"session_id\":\"{}\"", "i".repeat(length)).into_bytes()),
        2 => (1000..5000_u16, "[a-zé]{0,40}").prop_map(|(code, why)| [&code.to_be_bytes()[..], why.as_bytes()].concat()),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let first = prop_oneof![
        // Text, its fragments, control frames between them, a close; then anything, with reserved bits and opcodes.
        6 => prop::sample::select(vec![0x81_u8, 0x81, 0x01, 0x00, 0x80, 0x82, 0x89, 0x8a, 0x88]),
        1 => any::<u8>(),
    ];
    let key = prop::option::of(any::<[u8; 4]>());
    (first, key, prop::sample::select(vec![0_usize, 0, 0, 2, 8]), payload())
        .prop_map(|(first, key, extended, payload)| Frame { first, key, extended, payload })
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![
        3 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..20),
        // Lengths that never come to their end, up to all bits set.
        1 => (any::<u8>(), prop::sample::select(vec![u64::MAX, 1 << 63, (1 << 63) + 5, 10_000_000_000])).prop_map(
            |(first, length)| [&[first, 127][..], &length.to_be_bytes(), b"some of it"].concat()
        ),
    ];
    (vec(frame(), 0..14), end).prop_map(|(frames, end)| {
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.write(&mut bytes);
        }
        bytes.extend(end);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_frames_in_any_split(stream in stream(), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let cuts = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        check(&stream, cuts);
    }

    #[test]
    fn garbage(stream in vec(any::<u8>(), 0..400), cuts in vec(any::<prop::sample::Index>(), 0..12)) {
        let cuts = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        check(&stream, cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_byte_at_a_time(frames in vec(frame(), 0..8)) {
        let mut bytes = Vec::new();
        for frame in frames.iter().filter(|frame| frame.payload.len() < 200) {
            frame.write(&mut bytes);
        }
        check(&bytes, (0..bytes.len()).collect());
    }
}
