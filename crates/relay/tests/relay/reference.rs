//! A plain reading of a stream of frames, with all of it in hand: what a scanner must say that gets it in pieces. Tests and
//! the fuzz target `frame_scanner` compare the two.

use myagent_relay::scanner::{Scanner, Step};

/// What stands in the first so many bytes of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    messages: u64,
    at_boundary: bool,
    between_messages: bool,
    close: Option<(u16, String)>,
    /// The sessions that were named, oldest first, each with the place where its frame ends.
    sessions: Vec<(usize, String)>,
    /// Where frames end.
    ends: Vec<usize>,
    /// Where messages end, control frames behind them not counted.
    message_ends: Vec<usize>,
}

fn read(stream: &[u8]) -> Reading {
    let mut reading = Reading {
        messages: 0,
        at_boundary: true,
        between_messages: true,
        close: None,
        sessions: Vec::new(),
        ends: Vec::new(),
        message_ends: Vec::new(),
    };
    let (mut at, mut fragmented, mut texts) = (0_usize, false, 0);
    while at < stream.len() {
        reading.at_boundary = false;
        let Some((first, length, key, header)) = header(&stream[at..]) else { break };
        if first & 8 == 0 {
            fragmented = first & 0x80 == 0;
            reading.messages += u64::from(!fragmented);
        }
        let small_text = first == 0x81 && length <= 4096 && texts < 8;
        texts += u32::from(small_text);
        let end = at as u128 + header as u128 + u128::from(length);
        if end > stream.len() as u128 {
            break;
        }
        let payload: Vec<u8> = stream[at + header..end as usize]
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ key.map_or(0, |key| key[index % 4]))
            .collect();
        at = end as usize;
        reading.at_boundary = true;
        reading.ends.push(at);
        if !fragmented {
            reading.message_ends.push(at);
        }
        if small_text && let Some(session) = session(&payload) {
            reading.sessions.push((at, session));
        }
        if first == 0x88 && length <= 125 && reading.close.is_none() {
            reading.close = Some(if payload.len() < 2 {
                (1005, String::new())
            } else {
                let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
                (code, String::from_utf8_lossy(&payload[2..]).into_owned())
            });
        }
    }
    reading.between_messages = reading.at_boundary && !fragmented;
    reading
}

/// First byte, length of the payload, key, and length of the header; none: there is more of it to come.
fn header(bytes: &[u8]) -> Option<(u8, u64, Option<[u8; 4]>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let count = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let extended = bytes.get(2..2 + count)?;
    let length = match count {
        0 => u64::from(second & 0x7f),
        _ => extended.iter().fold(0, |sum, byte| sum * 256 + u64::from(*byte)),
    };
    let masked = second & 0x80 != 0;
    let key = if masked { Some(bytes.get(2 + count..6 + count)?.try_into().ok()?) } else { None };
    Some((first, length, key, 2 + count + if masked { 4 } else { 0 }))
}

/// The first value of a `"session_id"` that is a string, if it is one that we take.
fn session(payload: &[u8]) -> Option<String> {
    // One character for each byte: whatever is not ASCII is no id, and no text that is looked for.
    let text: String = payload.iter().map(|byte| char::from(*byte)).collect();
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c');
    let mut rest = text.as_str();
    while let Some((_, behind)) = rest.split_once("\"session_id\"") {
        rest = behind.trim_start_matches(blank);
        let value = rest.strip_prefix(':').map(|value| value.trim_start_matches(blank));
        let Some(value) = value.and_then(|value| value.strip_prefix('"')) else { continue };
        let (value, _) = value.split_once('"')?;
        let plain = value.chars().all(|c| c.is_ascii_graphic() && c != '\\');
        return (plain && !value.is_empty() && value.len() <= 200).then(|| value.to_owned());
    }
    None
}

/// Feeds a scanner the stream in pieces, cut at these places, and fails where it says anything but what stands there.
pub(crate) fn check(stream: &[u8], mut cuts: Vec<usize>) {
    cuts.push(stream.len());
    cuts.sort_unstable();
    let whole = read(stream);
    let (mut scanner, mut stepper) = (Scanner::new(), Scanner::new());
    let (mut from, mut messages) = (0, 0);
    for to in cuts {
        let expected = read(&stream[..to]);
        // Up to the next end of a frame, or of a message, as far as it is in this piece.
        for (ends, until) in [
            (&whole.ends, Scanner::scan_to_boundary as fn(&mut Scanner, &[u8]) -> Option<usize>),
            (&whole.message_ends, |scanner, bytes| {
                let (used, _) = scanner.scan_to_message_end(bytes);
                scanner.between_messages().then_some(used)
            }),
        ] {
            let mut ahead = Scanner::new();
            ahead.scan(&stream[..from]);
            let next = std::iter::once(&0).chain(ends).find(|end| **end >= from && **end <= to);
            assert_eq!(
                until(&mut ahead, &stream[from..to]),
                next.map(|end| end - from),
                "from {from} to {to}"
            );
        }
        messages += scanner.scan(&stream[from..to]);
        assert_eq!(messages, expected.messages, "messages up to {to}");
        let named = expected.sessions.iter().rfind(|(end, _)| *end > from);
        assert_eq!(scanner.take_session().as_deref(), named.map(|(_, id)| id.as_str()), "session up to {to}");
        // Step by step it is the same.
        let mut at = from;
        loop {
            let (used, step) = stepper.step(&stream[at..to]);
            at += used;
            if step == Step::More {
                break;
            }
        }
        assert_eq!(at, to, "steps that leave something over");
        for scanner in [&scanner, &mut stepper] {
            assert_eq!(scanner.close(), expected.close.as_ref().map(|(code, why)| (*code, why.as_str())));
        }
        assert_eq!(scanner.at_boundary(), expected.at_boundary, "boundary at {to}");
        assert_eq!(scanner.between_messages(), expected.between_messages, "between messages at {to}");
        from = to;
    }
}
