//! The reader against tables and against any split of the same bytes.

use super::*;
use crate::codec::write_masked_frame;
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_masked_frame(&mut out, Opcode::Text, payload, KEY);
    out[0] = first;
    out
}

fn read_all(reader: &mut MessageReader) -> Result<Vec<Incoming>, ProtocolError> {
    let mut messages = Vec::new();
    while let Some(message) = reader.next()? {
        messages.push(message);
    }
    Ok(messages)
}

fn check(bytes: &[u8], expected: &[Incoming]) {
    let mut reader = MessageReader::new(1_000_000);
    reader.push(bytes);
    assert_eq!(read_all(&mut reader).unwrap(), expected);
    assert!(reader.is_idle());
    assert_eq!(reader.buffer.capacity(), 0, "an idle reader holds no memory");
}

fn check_error(bytes: &[u8], code: u16) {
    let mut reader = MessageReader::new(1000);
    reader.push(bytes);
    let error = read_all(&mut reader).unwrap_err();
    assert_eq!(error.code, code, "{error} for {bytes:x?}");
    assert_eq!(reader.next(), Err(error), "an error is repeated");
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[test]
fn whole_messages() {
    check(&[], &[]);
    check(&frame(0x81, b"Hello"), &[text("Hello")]);
    check(&frame(0x81, b""), &[text("")]);
    check(&frame(0x82, &[0, 255]), &[Incoming::Binary(vec![0, 255])]);
    check(&frame(0x89, b"p"), &[Incoming::Ping(b"p".to_vec())]);
    check(&frame(0x8a, b""), &[Incoming::Pong(Vec::new())]);
    check(&[frame(0x81, b"a"), frame(0x81, b"b")].concat(), &[text("a"), text("b")]);
    check(&frame(0x81, "x".repeat(70_000).as_bytes()), &[text(&"x".repeat(70_000))]);
}

#[test]
fn fragments_with_control_frames_between() {
    let bytes =
        [frame(0x01, b"k\xc3"), frame(0x89, b"?"), frame(0x00, b"\xb6"), frame(0x80, b"nnen")].concat();
    check(&bytes, &[Incoming::Ping(b"?".to_vec()), text("können")]);
    check(&[frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")].concat(), &[Incoming::Binary(Vec::new())]);
}

#[test]
fn close_frames() {
    let close = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    let expected = |code, reason: &str| [Incoming::Close { code, reason: reason.to_owned() }];
    check(&frame(0x88, b""), &expected(None, ""));
    check(&frame(0x88, &close(1000, "bye")), &expected(Some(1000), "bye"));
    // What follows a close frame is ignored.
    check(&[frame(0x88, &close(4999, "")), frame(0xff, b"x")].concat(), &expected(Some(4999), ""));
    check_error(&frame(0x88, b"\x03"), 1002);
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535] {
        check_error(&frame(0x88, &close(code, "")), 1002);
    }
    check_error(&frame(0x88, b"\x03\xe8\xff"), 1007);
}

#[test]
fn violations() {
    check_error(&[0xc1], 1002);
    check_error(&[0xa1], 1002);
    check_error(&[0x91], 1002);
    check_error(&[0x83], 1002);
    check_error(&[0x8b], 1002);
    check_error(&[0x09], 1002);
    check_error(&[0x81, 0x05], 1002);
    check_error(&[0x89, 0xfe], 1002);
    check_error(&[0x81, 0xfe, 0, 125, 1, 2, 3, 4], 1002);
    check_error(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4], 1002);
    check_error(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1002);
    check_error(&frame(0x80, b"x"), 1002);
    check_error(&[frame(0x01, b"x"), frame(0x81, b"y")].concat(), 1002);
}

#[test]
fn messages_are_bounded_at_their_header() {
    check_error(&[0x82, 0xfe, 3, 233, 1, 2, 3, 4], 1009);
    check_error(&[frame(0x02, &[0; 600]), frame(0x80, &[0; 401])[..8].to_vec()].concat(), 1009);
    let mut reader = MessageReader::new(1000);
    reader.push(&[frame(0x02, &[0; 600]), frame(0x80, &[0; 400])].concat());
    assert_eq!(reader.next(), Ok(Some(Incoming::Binary(vec![0; 1000]))));
}

#[test]
fn bad_text_fails_before_its_frame_ends() {
    // 0xf4 0x90 is beyond the last character; the rest of the frame never comes.
    check_error(&frame(0x81, b"ok\xf4\x90 and much more")[..10], 1007);
    check_error(&frame(0x01, b"\xc3\x28"), 1007);
    check_error(&[frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), 1007);
    check_error(&frame(0x81, b"\xe2\x82"), 1007);
}

fn any_frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(prop_oneof![4 => Just(b'a'), 1 => any::<u8>()], 0..200);
    let first = prop_oneof![
        Just(0x81_u8),
        Just(0x82),
        Just(0x01),
        Just(0x02),
        Just(0x00),
        Just(0x80),
        Just(0x89),
        Just(0x8a),
        Just(0x88),
        any::<u8>()
    ];
    proptest::collection::vec((first, payload), 0..8)
        .prop_map(|frames| frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect())
}

/// Messages up to the error, if any.
fn run(reader: &mut MessageReader, pieces: &[&[u8]]) -> (Vec<Incoming>, Option<u16>) {
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error.code)),
            }
        }
    }
    (messages, None)
}

proptest! {
    #[test]
    fn any_split_gives_the_same(bytes in any_frames(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let whole = run(&mut MessageReader::new(300), &[&bytes]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(&run(&mut MessageReader::new(300), &pieces), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&run(&mut MessageReader::new(300), &single), &whole);
    }

    #[test]
    fn a_reader_can_be_moved_anywhere(bytes in any_frames(), cut in any::<prop::sample::Index>()) {
        let whole = run(&mut MessageReader::new(300), &[&bytes]);
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut reader = MessageReader::new(300);
        let mut result = run(&mut reader, &[first]);
        let ended = result.1.is_some() || result.0.iter().any(|message| matches!(message, Incoming::Close { .. }));
        if !ended {
            let unread = reader.unread();
            let more = run(&mut MessageReader::new(300), &[&unread, second]);
            result.0.extend(more.0);
            result.1 = more.1;
        }
        prop_assert_eq!(result, whole);
    }
}
