//! What clients send to the front door, and what becomes of each.

use super::{HELLO, Leave, Then};
use crate::wire::{FIN, TEXT, frame};

/// A peer that has to begin with a header of the PROXY protocol.
pub(super) const BALANCER: &str = "127.0.0.7";

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) from: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) leave: Leave,
    pub(super) then: Then,
}

/// A good request, of which cases make bad ones.
pub(super) const GOOD: &str = "GET /s/echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const TOO_LARGE: Then = Then::Told(431, "larger than 16384 bytes or has more than 100 headers");

fn case(name: &'static str, bytes: impl AsRef<[u8]>, then: Then) -> Case {
    Case { name, from: "127.0.0.1", bytes: bytes.as_ref().to_vec(), leave: Leave::Stays, then }
}

/// It is told what is wrong with its request.
fn bad(name: &'static str, bytes: impl AsRef<[u8]>, why: &'static str) -> Case {
    case(name, bytes, Then::Told(400, why))
}

/// A good request with one thing in place of another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// A good request with another target.
fn to(target: &str) -> String {
    with("/s/echo", target)
}

/// A good request with more header lines.
fn and(lines: &str) -> String {
    with("Host: h\r\n", &format!("Host: h\r\n{lines}\r\n"))
}

/// A request with a body, and another request behind it that must not be taken for one.
fn post(lines: &str, body: &str) -> String {
    format!("POST /s/echo HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

fn sizes() -> Vec<Case> {
    let long = "a".repeat(20_000);
    let lines = |count: usize, length: usize| format!("X-Pad: {}\r\n", "p".repeat(length)).repeat(count);
    let exactly = {
        let head = to("/s/file").replacen("\r\n\r\n", "\r\nX-Pad: \r\n\r\n", 1);
        head.replacen("X-Pad: ", &format!("X-Pad: {}", "p".repeat(16_384 - head.len())), 1)
    };
    assert_eq!(exactly.len(), 16_384);
    vec![
        case("a request line of 20 kB", to(&format!("/{long}")), TOO_LARGE),
        case("a request line without an end", format!("GET /{long}"), TOO_LARGE),
        case("a method without an end", long.clone(), TOO_LARGE),
        case("a header line of 20 kB", and(&format!("X-Pad: {long}")), TOO_LARGE),
        case("a header name of 20 kB", and(&format!("{long}: x")), TOO_LARGE),
        case("a head of 20 kB", and(lines(80, 250).trim_end()), TOO_LARGE),
        case("more than 100 headers", and(lines(101, 1).trim_end()), TOO_LARGE),
        case("200 kB of a head", format!("GET / HTTP/1.1\r\n{}", lines(800, 250)), TOO_LARGE),
        case("ten megabytes of a head", format!("GET / HTTP/1.1\r\n{}", lines(40_000, 250)), Then::Over),
        case("the largest head that there may be", &exactly, Then::Opened),
        case("one byte more", exactly.replacen("X-Pad: ", "X-Pad: p", 1), TOO_LARGE),
        case("nothing but empty lines", "\r\n".repeat(20_000), TOO_LARGE),
    ]
}

fn request_lines() -> Vec<Case> {
    let line = |line: &str| with("GET /s/echo HTTP/1.1", line);
    let bytes = |line: &[u8]| [line, GOOD.split_once("\r\n").unwrap_or_default().1.as_bytes()].concat();
    vec![
        bad("a method that is none", line("G(T /s/echo HTTP/1.1"), "invalid token"),
        bad("no method", line(" /s/echo HTTP/1.1"), "invalid token"),
        bad("no target", line("GET HTTP/1.1"), "invalid"),
        bad("no version", line("GET /s/echo"), "invalid"),
        bad("an unknown version", line("GET /s/echo HTTP/1.2"), "invalid HTTP version"),
        bad("HTTP/2 in words", line("GET /s/echo HTTP/2.0"), "invalid HTTP version"),
        bad("a version in small letters", line("GET /s/echo http/1.1"), "invalid HTTP version"),
        bad("more behind the version", line("GET /s/echo HTTP/1.1 x"), "invalid"),
        bad("two spaces", line("GET  /s/echo HTTP/1.1"), "invalid"),
        bad("tabs in place of spaces", line("GET\t/s/echo\tHTTP/1.1"), "invalid token"),
        bad("a NUL in the target", bytes(b"GET /s/ec\0ho HTTP/1.1\r\n"), "invalid"),
        bad("a target that is not UTF-8", bytes(b"GET /s/echo?\xff\xfe HTTP/1.1\r\n"), "invalid"),
        bad("a control character in the target", bytes(b"GET /s/echo\x7f HTTP/1.1\r\n"), "invalid"),
        bad("a target of all", to("*"), "not a path"),
        bad("a target without a slash", to("s/echo"), "not a path"),
        bad("another scheme", to("file:///s/echo"), "not a path"),
        bad("a tunnel", with("GET /s/echo", "CONNECT 127.0.0.1:22"), "not a path"),
        bad("a fragment", to("/s/echo#top"), "fragment"),
        bad("up in the path", to("/s/echo/../../etc"), ". or .."),
        bad("up in the path, escaped", to("/s/echo/%2e%2E/x"), ". or .."),
        bad("up in the path of an absolute target", to("ws://h/s/echo/../x"), ". or .."),
        bad("up with backslashes", to("/s/echo\\..\\x"), ". or .."),
        case("an absolute target", to("http://somewhere:1/s/echo"), Then::Served),
        case("an empty line before", format!("\r\n{GOOD}"), Then::Served),
    ]
}

fn header_lines() -> Vec<Case> {
    let bytes = |line: &[u8]| {
        let (first, rest) = GOOD.split_once("\r\n").unwrap_or_default();
        [first.as_bytes(), b"\r\n", line, b"\r\n", rest.as_bytes()].concat()
    };
    vec![
        bad("a space before the colon", and("X-Pad : x"), "invalid header name"),
        bad("a space in a name", and("X Pad: x"), "invalid header name"),
        bad("a control character in a name", bytes(b"X\x01: x"), "invalid header name"),
        bad("a name that is not ASCII", bytes("X-Übel: x".as_bytes()), "invalid header name"),
        bad("no name", and(": x"), "invalid header name"),
        bad("no colon", and("X-Pad"), "invalid header name"),
        bad("a line that goes on on the next one", and("X-Pad: x\r\n y"), "invalid header"),
        bad("a first line that begins with a space", and(" X-Pad: x"), "invalid header name"),
        bad("a return without a line end", bytes(b"X-Pad: a\rContent-Length: 5"), "invalid header value"),
        bad("a NUL in a value", bytes(b"X-Pad: a\0b"), "invalid header value"),
        bad("two hosts", and("Host: other"), "two Host headers"),
        case("lines that end without a return", GOOD.replace("\r\n", "\n"), Then::Served),
    ]
}

fn upgrades() -> Vec<Case> {
    let key = |key: &str| with("dGhlIHNhbXBsZSBub25jZQ==", key);
    let no_key = "Sec-WebSocket-Key is not 16 bytes in base64";
    let version = Then::Told(426, "\r\nSec-WebSocket-Version: 13\r\n");
    vec![
        case("an upgrade to something else", with("websocket", "h2c"), Then::Plain),
        case(
            "a connection that is not upgraded",
            with("Connection: Upgrade", "Connection: close"),
            Then::Plain,
        ),
        case("nothing to upgrade to", with("Upgrade: websocket\r\n", ""), Then::Plain),
        case("a WebSocket over HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), Then::Plain),
        case("a WebSocket by POST", with("GET", "POST"), Then::Plain),
        case("an old version", with("Version: 13", "Version: 8"), version),
        case("a version that is no number", with("Version: 13", "Version: 13x"), version),
        case("no version", with("Sec-WebSocket-Version: 13\r\n", ""), version),
        bad("two versions", and("Sec-WebSocket-Version: 8"), "two Sec-WebSocket-Version headers"),
        bad("no key", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), no_key),
        bad("an empty key", key(""), no_key),
        bad("a short key", key("c2hvcnQ="), no_key),
        bad("a long key", key("dGhlIHNhbXBsZSBub25jZSB0aGUgc2FtcGxlIG5vbmNl"), no_key),
        bad("a key that is not base64", key("!!!!IHNhbXBsZSBub25jZQ=="), no_key),
        bad("two keys", and("Sec-WebSocket-Key: AAAAIHNhbXBsZSBub25jZQ=="), "two Sec-WebSocket-Key headers"),
        case("a foreign page", and("Origin: https://evil.example"), Then::Told(403, "evil.example")),
        bad(
            "two pages",
            and("Origin: http://localhost\r\nOrigin: https://evil.example"),
            "Origin header is invalid",
        ),
    ]
}

fn smuggling() -> Vec<Case> {
    let inner = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    let not_a_number = "Content-Length is not a number";
    let not_chunked = "Transfer-Encoding is not just chunked";
    vec![
        bad(
            "a WebSocket with a body",
            and(&format!("Content-Length: {}", inner.len())) + inner,
            "has no body",
        ),
        bad(
            "a WebSocket with a body in chunks",
            and("Transfer-Encoding: chunked") + "0\r\n\r\n",
            "has no body",
        ),
        bad(
            "a length and chunks",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            "both",
        ),
        bad("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", inner), "both"),
        bad("two lengths", post("Content-Length: 0\r\nContent-Length: 37", inner), "two Content-Length"),
        bad("a length, twice", post("Content-Length: 5\r\ncontent-length: 5", "hello"), "two content-length"),
        bad("a list of lengths", post("Content-Length: 5, 5", "hello"), not_a_number),
        bad("a length with a sign", post("Content-Length: +5", "hello"), not_a_number),
        bad("a length below nothing", post("Content-Length: -1", inner), not_a_number),
        bad("a length in hexadecimal", post("Content-Length: 0x5", "hello"), not_a_number),
        bad("a length beyond all numbers", post("Content-Length: 18446744073709551616", "x"), not_a_number),
        bad("a list of encodings", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), not_chunked),
        bad("chunks, and then not", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"), not_chunked),
        bad("almost chunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), not_chunked),
        bad("a quoted encoding", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), not_chunked),
        bad(
            "chunked behind a control character",
            post("Transfer-Encoding: \u{b}chunked", inner),
            "invalid header",
        ),
        bad(
            "two encodings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n"),
            "two Transfer-Encoding",
        ),
        bad(
            "chunks in HTTP/1.0",
            post("Transfer-Encoding: chunked", inner).replace("HTTP/1.1\r\nHost", "HTTP/1.0\r\nHost"),
            "its version of HTTP",
        ),
        // What comes behind the head is a body, whatever it looks like: there is one answer.
        case(
            "garbage for chunks",
            post("Transfer-Encoding: chunked", &format!("zz\r\n{inner}")),
            Then::Told(400, "its chunks cannot be read"),
        ),
        case(
            "a chunk beyond all numbers",
            post("Transfer-Encoding: chunked", "fffffffffffffffff\r\nx"),
            Then::Told(400, "its chunks cannot be read"),
        ),
        case("a request for a body", post("Content-Length: 37", inner), Then::Plain),
        // Whoever closes before the whole body has come has left.
        Case {
            leave: Leave::Half,
            ..case("a body that is shorter than it says", post("Content-Length: 1000", inner), Then::Silence)
        },
    ]
}

fn truncated() -> Vec<Case> {
    let cut = |name, bytes: &[u8]| Case { leave: Leave::Half, ..case(name, bytes, Then::Silence) };
    let good = GOOD.as_bytes();
    let line = GOOD.find('\r').unwrap_or_default();
    vec![
        cut("gone before the first byte", b""),
        cut("gone after a byte", &good[..1]),
        cut("gone within the target", &good[..8]),
        cut("gone behind the request line", &good[..line + 2]),
        cut("gone within a header", &good[..line + 7]),
        cut("gone before the last byte", &good[..good.len() - 1]),
        Case { leave: Leave::Half, ..case("half closed behind the request", good, Then::Over) },
        Case { leave: Leave::Resets, ..case("broken within the head", &good[..40], Then::Gone) },
        Case { leave: Leave::Resets, ..case("broken behind the head", good, Then::Gone) },
    ]
}

fn other_protocols() -> Vec<Case> {
    let hello = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03abcdefghijklmnopqrstuvwxyz012345\x20";
    let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let announced = |bytes: &[u8]| [bytes, GOOD.as_bytes()].concat();
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb";
    let version_3 = b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00";
    let long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
    let from_balancer = |case: Case| Case { from: BALANCER, ..case };
    let version_1 = b"PROXY TCP4 192.0.2.9 198.51.100.1 40000 443\r\n";
    vec![
        bad("TLS", hello, "invalid token"),
        bad("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "invalid HTTP version"),
        bad("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", "invalid"),
        bad("SOCKS", b"\x05\x01\x00", "invalid token"),
        bad("a frame before the handshake", frame(TEXT, b"hello"), "invalid token"),
        bad("noise", noise, "invalid token"),
        bad("zeros", vec![0; 5000], "invalid token"),
        bad("a PROXY header of one who is not trusted", announced(version_1), "invalid HTTP version"),
        bad("the same in version 2", announced(version_2), "invalid token"),
        from_balancer(case("a PROXY header", announced(version_1), Then::Served)),
        from_balancer(case("a PROXY header of version 2", announced(version_2), Then::Served)),
        from_balancer(bad("no PROXY header", GOOD, "PROXY header is missing")),
        from_balancer(bad("two PROXY headers", announced(&version_1.repeat(2)), "invalid HTTP version")),
        from_balancer(bad(
            "a PROXY header that is none",
            announced(b"PROXY TCP4 a b 1 2\r\n"),
            "cannot be read",
        )),
        from_balancer(bad("a PROXY header without an end", b"PROXY ".repeat(40), "has no end")),
        from_balancer(bad("a PROXY header of version 3", announced(version_3), "unknown version")),
        from_balancer(bad("a PROXY header of 64 kB", announced(long), "too long")),
        from_balancer(Case {
            leave: Leave::Half,
            ..case("half a PROXY header", &version_2[..20], Then::Silence)
        }),
    ]
}

fn pieces() -> Vec<Case> {
    let health = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    let body = [frame(TEXT & !FIN, &vec![b'x'; 300_000]), frame(FIN, b"end")].concat();
    vec![
        Case { leave: Leave::Slowly, ..case("byte by byte", GOOD, Then::Served) },
        Case { leave: Leave::Slowly, ..bad("a bad head byte by byte", to("/../x"), ". or ..") },
        case("fifty requests at once, then a WebSocket", health.repeat(50) + GOOD, Then::AfterHealth(50)),
        bad("a good request, then a bad one", format!("{health}GET nowhere HTTP/1.1\r\n\r\n"), "not a path"),
        case("a message along with the request", [GOOD.as_bytes(), HELLO].concat(), Then::Served),
        case("300 kB along with the request", [GOOD.as_bytes(), &body].concat(), Then::Echoed(300_003)),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [
        sizes(),
        request_lines(),
        header_lines(),
        upgrades(),
        smuggling(),
        truncated(),
        other_protocols(),
        pieces(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
