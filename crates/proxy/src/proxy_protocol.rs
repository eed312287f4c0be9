//! The header of the PROXY protocol, versions 1 and 2: a load balancer before us says whose connection it is. Read only from
//! trusted proxies, and then required: the protocol forbids guessing.
//!
//! Source: "The PROXY protocol, versions 1 & 2", haproxy.org, 2020/03/05.

use crate::head::HeadError;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpStream;

/// Begins every header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, line end included.
const MAX_V1: usize = 107;
/// Most bytes behind the fixed part of version 2 that are read; addresses need 36, extensions follow them.
const MAX_V2_REST: usize = 2048;

/// A header that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// The client; none: the proxy itself asks (a health check), or it does not know.
    pub(crate) source: Option<SocketAddr>,
}

/// Reads a header from the beginning of a connection, takes it out of `bytes`, and says who the client is; none: the peer
/// itself. What was read behind it stays in `bytes`.
pub(crate) async fn read(
    stream: &TcpStream,
    scratch: &RefCell<Box<[u8]>>,
    bytes: &mut Vec<u8>,
) -> Result<Option<SocketAddr>, HeadError> {
    loop {
        if let Some(header) = parse(bytes)? {
            bytes.drain(..header.len);
            return Ok(header.source);
        }
        crate::head::read_more(stream, scratch, bytes).await?;
    }
}

/// Reads a header, if it is complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeadError> {
    let bad = |what: &str| HeadError::Bad(format!("its PROXY header {what}"));
    let begins = |mark: &[u8]| mark.starts_with(&bytes[..bytes.len().min(mark.len())]);
    if begins(SIGNATURE) {
        return parse_v2(bytes);
    }
    if !begins(b"PROXY ") {
        return Err(bad("is missing; this port expects one from trusted_proxies (proxy_protocol = true)"));
    }
    let Some(end) = bytes.windows(2).take(MAX_V1 - 1).position(|two| two == b"\r\n") else {
        return if bytes.len() >= MAX_V1 { Err(bad("has no end")) } else { Ok(None) };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("is not text"))?;
    let source = parse_v1(line).ok_or_else(|| bad("cannot be read"))?;
    Ok(Some(Header { len: end + 2, source }))
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, or `PROXY UNKNOWN` and anything. Outer none: it is neither.
#[expect(clippy::option_option, reason = "whether it can be read, and whether it names somebody")]
fn parse_v1(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    words.next()?;
    let is_v6 = match words.next()? {
        "TCP4" => false,
        "TCP6" => true,
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == is_v6);
    let port = |text: &str| text.parse::<u16>().ok();
    let (source, _) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(SocketAddr::new(source, source_port)))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, HeadError> {
    let bad = |what: &str| HeadError::Bad(format!("its PROXY header {what}"));
    let Some((fixed, rest)) = bytes.split_at_checked(16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if fixed[12] >> 4 != 2 {
        return Err(bad("has an unknown version"));
    }
    if length > MAX_V2_REST {
        return Err(bad("is too long"));
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let header = |source| Ok(Some(Header { len: 16 + length, source }));
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match (fixed[12] & 0x0f, fixed[13]) {
        (1, 0x11) if length >= 12 => {
            let address = Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]);
            header(Some(SocketAddr::new(address.into(), port(8))))
        }
        (1, 0x21) if length >= 36 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&rest[..16]);
            let address = Ipv6Addr::from(octets).to_canonical();
            header(Some(SocketAddr::new(address, port(32))))
        }
        (1, 0x11 | 0x21) => Err(bad("has no room for its addresses")),
        // LOCAL: the proxy's own connection. Other transports: whoever it is, it is not known by an address.
        (0 | 1, _) => header(None),
        _ => Err(bad("has an unknown command")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<&str>) {
        let whole = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        let header = parse(&whole).unwrap().unwrap();
        assert_eq!(header.len, bytes.len());
        assert_eq!(header.source, expected.map(|text| text.parse().unwrap()), "{bytes:?}");
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE.as_slice(), &[0x20 | command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_are_read_in_any_split() {
        check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Some("192.0.2.1:56324"));
        check(b"PROXY TCP6 2001:db8::1 ::1 5 6\r\n", Some("[2001:db8::1]:5"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff:f...f:ffff 65535\r\n", None);
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
        check(&v2(1, 0x11, &v4), Some("192.0.2.1:56324"));
        check(&v2(1, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), Some("192.0.2.1:56324"));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0, 5, 0, 6]].concat();
        check(&v2(1, 0x21, &v6), Some("[2001:db8::1]:5"));
        check(&v2(0, 0x00, &[]), None);
        check(&v2(0, 0x11, &v4), None);
        check(&v2(1, 0x31, &[0; 216]), None);
        check(&v2(1, 0x00, &[]), None);
    }

    #[test]
    fn what_is_none_is_told() {
        for (bytes, part) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "is missing"),
            (b"\x16\x03\x01", "is missing"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", "cannot be read"),
            (b"PROXY TCP4 2001:db8::1 ::1 5 6\r\n", "cannot be read"),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 5 66666\r\n", "cannot be read"),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 5 6 7\r\n", "cannot be read"),
            (b"PROXY UDP4 1.1.1.1 1.1.1.1 5 6\r\n", "cannot be read"),
            (b"PROXY \xff\r\n", "is not text"),
            (&[&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(), "has no end"),
            (&v2(1, 0x11, &[0; 11]), "no room"),
            (&v2(2, 0x11, &[0; 12]), "unknown command"),
            (&v2(1, 0x11, &[0; 3000]), "too long"),
            (&[&SIGNATURE[..], &[0x31, 0x11, 0, 0]].concat(), "unknown version"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.to_string().contains(part), "{bytes:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[SIGNATURE.as_slice(), &bytes].concat());
        }
    }
}
