//! A frame of a client, of arbitrary bytes: it is an event, or it is refused in few words; nothing panics, and what is refused
//! is not echoed at length.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// Far more than any refusal needs.
const FEW_WORDS: usize = 2_000;

fuzz_target!(|frame: &[u8]| {
    if let Err(words) = myagent_host::read_client_event(frame) {
        assert!(words.len() <= FEW_WORDS, "{} bytes are answered with {}", frame.len(), words.len());
    }
});
