//! A stream of frames, of arbitrary bytes and in arbitrary pieces: the scanner says of it what a plain reading of the whole
//! says; nothing panics or is counted twice, whatever the headers claim.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/relay/tests/relay/reference.rs"]
mod reference;

/// Most pieces but one.
const CUTS: usize = 15;

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how many cuts there are, two more each say where; the rest is the stream.
    let Some((count, rest)) = bytes.split_first() else { return };
    let count = (usize::from(*count) % (CUTS + 1)).min(rest.len() / 2);
    let (cuts, stream) = rest.split_at(count * 2);
    let place = |pair: &[u8]| usize::from(u16::from_be_bytes([pair[0], pair[1]])) % (stream.len() + 1);
    reference::check(stream, cuts.chunks(2).map(place).collect());
});
