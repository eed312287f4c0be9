//! Bytes that are no frames, or frames that break the rules, and how each connection ends.

use super::events::Then;
use crate::wire::{BINARY, CLOSE, FIN, PING, PONG, TEXT, frame};

/// Bytes that are sent on a connection with a session, and what comes of it.
pub(crate) struct Case {
    /// For the one who reads a failure.
    pub(crate) name: &'static str,
    /// Built for a session.
    pub(crate) bytes: fn(&str) -> Vec<u8>,
    /// One by one, each in a packet of its own.
    pub(crate) slowly: bool,
    pub(crate) then: Then,
}

const fn case(name: &'static str, bytes: fn(&str) -> Vec<u8>, then: Then) -> Case {
    Case { name, bytes, slowly: false, then }
}

const fn violation(name: &'static str, bytes: fn(&str) -> Vec<u8>, reason: &'static str) -> Case {
    case(name, bytes, Then::Closed(1002, reason))
}

const fn not_text(name: &'static str, bytes: fn(&str) -> Vec<u8>) -> Case {
    case(name, bytes, Then::Closed(1007, "not UTF-8"))
}

fn ask(session: &str, text: &str) -> Vec<u8> {
    format!(r#"{{"event":"user.message","session_id":"{session}","content":"{text}"}}"#).into_bytes()
}

/// A message in fragments of so many bytes, with something between them.
fn fragments(message: &[u8], size: usize, between: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let last = message.chunks(size).count() - 1;
    for (at, part) in message.chunks(size).enumerate() {
        let opcode = if at == 0 { TEXT & !FIN } else { 0 };
        out.extend(frame(if at == last { opcode | FIN } else { opcode }, part));
        out.extend(if at == last { &[] } else { between });
    }
    out
}

/// A frame's header alone, with a length of eight bytes.
fn long_header(first: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first, 0xff];
    out.extend(length.to_be_bytes());
    out.extend([0; 4]);
    out
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        violation("unmasked text", |_| b"\x81\x02{}".to_vec(), "not masked"),
        violation("unmasked ping", |_| b"\x89\x00".to_vec(), "not masked"),
        violation("reserved bit 1", |s| frame(TEXT | 0x40, &ask(s, "x")), "reserved bits"),
        violation("reserved bit 2", |s| frame(TEXT | 0x20, &ask(s, "x")), "reserved bits"),
        violation("reserved bit 3", |s| frame(TEXT | 0x10, &ask(s, "x")), "reserved bits"),
        violation("reserved bit of a ping", |_| frame(PING | 0x40, b""), "reserved bits"),
        violation("opcode 3", |_| frame(FIN | 0x3, b"x"), "reserved opcode"),
        violation("opcode 7", |_| frame(FIN | 0x7, b"x"), "reserved opcode"),
        violation("opcode 11", |_| frame(FIN | 0xb, b"x"), "reserved opcode"),
        violation("opcode 15", |_| frame(FIN | 0xf, b""), "reserved opcode"),
        violation("a long ping", |_| frame(PING, &[0; 126]), "control frame is too long"),
        violation("a very long close", |_| frame(CLOSE, &[0; 70_000]), "control frame is too long"),
        violation("half a ping", |_| frame(PING & !FIN, b"x"), "fragmented control frame"),
        violation("half a close", |_| frame(CLOSE & !FIN, b""), "fragmented control frame"),
        violation("a continuation of nothing", |_| frame(FIN, b"x"), "continuation of nothing"),
        violation("a first continuation", |_| frame(0, b"x"), "continuation of nothing"),
        violation(
            "a message inside another",
            |s| [frame(TEXT & !FIN, b"{"), frame(TEXT, &ask(s, "x"))].concat(),
            "inside a fragmented one",
        ),
        violation(
            "bytes inside a text",
            |_| [frame(TEXT & !FIN, b"{"), frame(BINARY, b"x")].concat(),
            "inside a fragmented one",
        ),
        violation(
            "a short length in two bytes",
            |_| b"\x81\xfe\x00\x05\0\0\0\0hello".to_vec(),
            "bad frame length",
        ),
        violation("a short length in eight bytes", |_| long_header(TEXT, 5), "bad frame length"),
        violation("a negative length", |_| long_header(TEXT, 1 << 63), "bad frame length"),
        violation("an HTTP request", |_| b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "reserved bits"),
        violation(
            "a TLS hello",
            |_| b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            "reserved bits",
        ),
        violation("nothing but zeros", |_| vec![0; 4096], "not masked"),
        violation("a close of one byte", |_| frame(CLOSE, b"\x03"), "close frame of one byte"),
        violation("close code 0", |_| frame(CLOSE, &[0, 0]), "bad close code"),
        violation("close code 999", |_| frame(CLOSE, &999u16.to_be_bytes()), "bad close code"),
        violation("close code 1005", |_| frame(CLOSE, &1005u16.to_be_bytes()), "bad close code"),
        violation("close code 1006", |_| frame(CLOSE, &1006u16.to_be_bytes()), "bad close code"),
        violation("close code 5000", |_| frame(CLOSE, &5000u16.to_be_bytes()), "bad close code"),
        not_text("a close with bytes", |_| frame(CLOSE, b"\x03\xe8\xff\xff")),
        not_text("bytes as text", |_| frame(TEXT, b"\xff\xfe{}")),
        not_text("an overlong slash", |_| frame(TEXT, b"{\"event\":\"\xc0\xaf\"}")),
        not_text("half a pair in three bytes", |_| frame(TEXT, b"{\"event\":\"\xed\xa0\x80\"}")),
        not_text("beyond the last character", |_| frame(TEXT, b"{\"event\":\"\xf4\x90\x80\x80\"}")),
        not_text("a character that does not end", |_| frame(TEXT, b"{\"event\":\"\xe2\x82")),
        not_text("a bad fragment, told before the rest", |_| {
            [frame(TEXT & !FIN, b"{\"event\":\""), frame(0, b"\xff")].concat()
        }),
        case(
            "more than may be, on the word of the header",
            |_| long_header(TEXT, (1 << 20) + 1),
            Then::Closed(1009, "too large"),
        ),
        case("more than there is", |_| long_header(TEXT, (1 << 63) - 1), Then::Closed(1009, "too large")),
        case("too much in bytes", |_| long_header(BINARY, 1 << 40), Then::Closed(1009, "too large")),
        case(
            "as much as there may be, in fragments",
            |_| fragments(&vec![b' '; 1 << 20], 4096, b""),
            Then::Told("system.error", "MALFORMED"),
        ),
        case(
            "too much in fragments that do not end",
            |_| {
                let part = frame(0, &[b' '; 65_536]);
                [frame(TEXT & !FIN, b""), part.repeat(16), frame(0, b" ")].concat()
            },
            Then::Closed(1009, "too large"),
        ),
        case("bytes instead of text", |_| frame(BINARY, b"{}"), Then::Told("system.error", "MALFORMED")),
        case("no bytes at all", |_| frame(BINARY, b""), Then::Told("system.error", "MALFORMED")),
        case("an empty text", |_| frame(TEXT, b""), Then::Told("system.error", "MALFORMED")),
        case(
            "an empty text in a thousand fragments",
            |_| [frame(TEXT & !FIN, b""), frame(0, b"").repeat(1000), frame(FIN, b"")].concat(),
            Then::Told("system.error", "MALFORMED"),
        ),
        case(
            "a text byte by byte",
            |s| fragments(&ask(s, "häppchen"), 1, b""),
            Then::Answer(r#""h\u00e4ppchen""#.to_owned()),
        ),
        case(
            "pongs between fragments",
            |s| fragments(&ask(s, "x"), 3, &frame(PONG, &[7; 125])),
            Then::Answer("\"x\"".to_owned()),
        ),
        Case {
            slowly: true,
            ..case(
                "in packets of one byte",
                |s| fragments(&ask(s, "slow"), 50, &frame(PONG, b"")),
                Then::Answer("\"slow\"".to_owned()),
            )
        },
        case("pongs that nobody asked for", |_| frame(PONG, b"unasked").repeat(1000), Then::Kinds(&[])),
        case("a polite close", |_| frame(CLOSE, &1000u16.to_be_bytes()), Then::Closed(1000, "")),
        case("a close without a code", |_| frame(CLOSE, b""), Then::Closed(1005, "")),
        case("a close of its own", |_| frame(CLOSE, b"\x0f\xa0going home"), Then::Closed(4000, "going home")),
        case(
            "a close, and then more",
            |s| {
                [frame(CLOSE, &1001u16.to_be_bytes()), frame(TEXT, &ask(s, "x")), b"\xff\xff".to_vec()]
                    .concat()
            },
            Then::Closed(1001, ""),
        ),
        case(
            "a message, and then rubbish",
            |s| [frame(TEXT, &ask(s, "x")), b"\xff\xff".to_vec()].concat(),
            Then::Closed(1002, "reserved bits"),
        ),
    ]
}
