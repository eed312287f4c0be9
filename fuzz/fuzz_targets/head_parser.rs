//! The first bytes of a connection, arbitrary and in arbitrary pieces: what the front door makes of them does not depend on the
//! pieces, nor on what comes behind the head; what it refuses is told with a 4xx; what it takes is the same request when it is
//! written anew, and nobody behind it finds it malformed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use myagent_core::ConnectionId;
use myagent_core::wire::handover::{MAX_HEAD, MAX_HEADERS, Offer};
use myagent_proxy::look::{Look, head, proxy_header};
use myagent_relay::handshake::{HandshakeError, Upgrade};
use myagent_relay::request::{Destination, rewrite};
use uuid::Uuid;

/// Most pieces but one.
const CUTS: usize = 15;

fn is_told<T>(look: &Look<T>) {
    if let Look::Refused(answer) = look {
        assert!(answer.starts_with("HTTP/1.1 4") && answer.len() < 2_000, "{answer}");
    }
}

fn check_proxy_header(stream: &[u8], pieces: &[&[u8]]) {
    let whole = proxy_header([stream]);
    is_told(&whole);
    for other in [proxy_header(pieces.iter().copied()), proxy_header(stream.chunks(1))] {
        is_told(&other);
        match (&whole, &other) {
            // What is wrong may show at an earlier place.
            (Look::Refused(_), Look::Refused(_)) => {}
            _ => assert_eq!(whole, other),
        }
    }
    if let Look::Read(length, _) = whole {
        assert_eq!(proxy_header([&stream[..length]]), whole);
        assert_eq!(proxy_header([&stream[..length - 1]]), Look::More);
    }
}

fn check_head(stream: &[u8], pieces: &[&[u8]]) {
    let whole = head([stream]);
    is_told(&whole);
    for other in [head(pieces.iter().copied()), head(stream.chunks(1))] {
        is_told(&other);
        match (&whole, &other) {
            // In pieces it is looked at when it may be complete.
            (Look::Refused(_), Look::Refused(_) | Look::More) => {}
            (Look::More, Look::Refused(answer)) if stream.len() > MAX_HEAD => {
                assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
            }
            _ => assert_eq!(whole, other),
        }
    }
    if let Look::Read(length, what) = &whole {
        assert_eq!(head([&stream[..*length]]), whole);
        assert_eq!(head([&stream[..*length - 1]]), Look::More);
        check_taken(&stream[..*length], what);
    }
}

/// A head that was taken.
fn check_taken(bytes: &[u8], what: &str) {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let read = request.parse(bytes).expect("it was read before");
    assert_eq!(read, httparse::Status::Complete(bytes.len()));
    let (method, target) = (request.method.expect("a method"), request.path.expect("a target"));
    let mut anew =
        format!("{method} {target} HTTP/1.{}\r\n", request.version.expect("a version")).into_bytes();
    for header in request.headers.iter() {
        anew.extend([header.name.as_bytes(), b": ", header.value, b"\r\n"].concat());
    }
    anew.extend(b"\r\n");
    if anew.len() <= MAX_HEAD {
        assert_eq!(head([anew.as_slice()]), Look::Read(anew.len(), what.to_owned()));
    }

    let offer = Offer {
        connection_id: ConnectionId(Uuid::nil()),
        client: ([192, 0, 2, 1], 5000).into(),
        strategy: String::new(),
        rule: None,
        pool: None,
        head_len: bytes.len(),
        attempt: 0,
    };
    let destination = Destination { path: "/ws", host: None, default_host: "127.0.0.1:9" };
    let forwarded =
        rewrite(bytes, destination, &offer).expect("the relay reads what the front door read").head;
    // One request, to its last byte.
    let mut headers = [httparse::EMPTY_HEADER; 2 * MAX_HEADERS];
    let read = httparse::Request::new(&mut headers).parse(&forwarded);
    assert_eq!(read, Ok(httparse::Status::Complete(forwarded.len())));
    if let Err(error) = Upgrade::parse(bytes) {
        assert!(!matches!(error, HandshakeError::Malformed(_)), "{error}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how many cuts there are, and in its highest bit what is read; two more each say where; the rest
    // is the stream.
    let Some((first, rest)) = bytes.split_first() else { return };
    let count = (usize::from(*first & 0x7f) % (CUTS + 1)).min(rest.len() / 2);
    let (cuts, stream) = rest.split_at(count * 2);
    let place = |pair: &[u8]| usize::from(u16::from_be_bytes([pair[0], pair[1]])) % (stream.len() + 1);
    let mut cuts: Vec<usize> = cuts.chunks(2).map(place).chain([0, stream.len()]).collect();
    cuts.sort_unstable();
    // An empty piece is none: nobody reads nothing.
    let pieces: Vec<&[u8]> =
        cuts.windows(2).map(|two| &stream[two[0]..two[1]]).filter(|piece| !piece.is_empty()).collect();
    if stream.is_empty() {
        return;
    }
    if first & 0x80 == 0 {
        check_head(stream, &pieces);
    } else {
        check_proxy_header(stream, &pieces);
    }
});
