//! Heads that two readers may understand differently: refused, whatever they ask for. The agent behind us, or a proxy before us, may
//! see another end of such a request, another host or another path than we do, and then the bytes of one request become
//! another one.
//!
//! Sources: RFC 9112 (3.2, 6.1, 6.3, 11.2), RFC 6455 (4.2.1, 11.3).

use crate::head::HeadError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use httparse::Request;
use myagent_core::http::Body;

/// Headers of which there may be one at the most.
const SINGLE: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "sec-websocket-key", "sec-websocket-version"];
/// Schemes of absolute targets, as a client of a forward proxy sends them.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];
/// Bytes of a key, and as many as are decoded at once where it is that long.
const KEY_BYTES: usize = 16;
const KEY_ROOM: usize = 18;

/// Checks a head that could be parsed; the body that is behind it.
pub(crate) fn check(request: &Request<'_, '_>) -> Result<Body, HeadError> {
    if let Some(what) = target_fault(request.method.unwrap_or_default(), request.path.unwrap_or_default()) {
        return Err(HeadError::Bad(what.to_owned()));
    }
    let mut seen = [false; SINGLE.len()];
    for header in request.headers.iter() {
        if let Some(index) = SINGLE.iter().position(|name| header.name.eq_ignore_ascii_case(name))
            && std::mem::replace(&mut seen[index], true)
        {
            return Err(HeadError::Bad(format!("it has two {} headers", header.name)));
        }
    }
    Body::of_request(request.headers, request.version == Some(1))
        .map_err(|error| HeadError::Bad(error.to_string()))
}

/// Checks what makes a request one for a WebSocket. An agent that is offended closes the connection, which would count against
/// the instance: a client could talk all but one of a service out of routing.
pub(crate) fn check_websocket(request: &Request<'_, '_>) -> Result<(), HeadError> {
    let value = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(header.value.trim_ascii())
    };
    if value("sec-websocket-version") != Some(b"13") {
        return Err(HeadError::Version);
    }
    let key = value("sec-websocket-key").unwrap_or_default();
    match STANDARD.decode_slice(key, &mut [0; KEY_ROOM]) {
        Ok(KEY_BYTES) => Ok(()),
        _ => Err(HeadError::Bad("its Sec-WebSocket-Key is not 16 bytes in base64".to_owned())),
    }
}

/// What is wrong with a target.
fn target_fault(method: &str, target: &str) -> Option<&'static str> {
    let path = if target.starts_with('/') {
        target
    } else if target == "*" && method == "OPTIONS" {
        return None;
    } else if let Some((scheme, rest)) = target.split_once("://")
        && SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))
    {
        rest
    } else {
        return Some("its target is not a path");
    };
    if path.contains('#') {
        return Some("its target has a fragment");
    }
    // Most paths have no dot behind a slash, however it is written.
    let path = path.split('?').next().unwrap_or_default();
    let is_dots = |segment: &str| {
        let segment = segment.replace("%2e", ".").replace("%2E", ".");
        segment == "." || segment == ".."
    };
    // Some readers take a backslash for a slash.
    let may_be = path.contains("/.") || path.contains('\\') || path.contains("/%2");
    (may_be && path.split(['/', '\\']).any(is_dots))
        .then_some("its target has . or .. for a part of the path")
}

#[cfg(test)]
mod tests {
    use crate::head::{HeadError, parse};

    fn check(head: &str, expected: Option<&str>) {
        match (parse(head.as_bytes()), expected) {
            (Ok(Some(_)), None) => {}
            (Err(HeadError::Bad(found)), Some(part)) => assert!(found.contains(part), "{head:?}: {found}"),
            (found, _) => panic!("{head:?}: {found:?}"),
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for (lines, expected) in [
            ("Host: a\r\nContent-Length: 5", None),
            ("Content-Length:  5 ", None),
            ("Transfer-Encoding: Chunked", None),
            ("Host: a\r\nhost: a", Some("two host headers")),
            ("Content-Length: 5\r\nContent-Length: 6", Some("two Content-Length")),
            ("Content-Length: 5\r\nContent-Length: 5", Some("two Content-Length")),
            ("Content-Length: 5, 5", Some("not a number")),
            ("Content-Length: +5", Some("not a number")),
            ("Content-Length: 0x5", Some("not a number")),
            ("Content-Length:", Some("not a number")),
            ("Content-Length: 99999999999999999999", Some("not a number")),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Some("both")),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0", Some("both")),
            ("Transfer-Encoding: gzip, chunked", Some("just chunked")),
            ("Transfer-Encoding: \u{b}chunked", Some("invalid header value")),
            ("Transfer-Encoding: xchunked", Some("just chunked")),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Some("two Transfer-Encoding")),
            ("Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b", Some("two Sec-WebSocket-Key")),
            ("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8", Some("two Sec-WebSocket-Version")),
        ] {
            check(&format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n"), expected);
        }
        check("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Some("its version"));
        check("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", None);
    }

    #[test]
    fn a_websocket_has_no_body_before_it() {
        let with = |lines: &str| {
            format!(
                "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n\r\n"
            )
        };
        check(&with("Content-Length: 0"), None);
        check(&with("Content-Length: 5"), Some("no body"));
        check(&with("Transfer-Encoding: chunked"), Some("no body"));
    }

    #[test]
    fn a_websocket_has_a_key_and_a_version() {
        let with = |lines: &str| {
            format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n{lines}\r\n\r\n")
        };
        let key = |key: &str| with(&format!("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"));
        check(&key("dGhlIHNhbXBsZSBub25jZQ=="), None);
        for wrong in
            ["", "dGhlIHNhbXBsZSBub25jZQ", "c2hvcnQ=", "MDEyMzQ1Njc4OTAxMjM0NTY=", "not base64, really no!!"]
        {
            check(&key(wrong), Some("Sec-WebSocket-Key"));
        }
        check(&key(&"dGhl".repeat(1000)), Some("Sec-WebSocket-Key"));
        check(&with("Sec-WebSocket-Version: 13"), Some("Sec-WebSocket-Key"));
        for version in ["X: 13", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 13, 8"] {
            let head = with(&format!("{version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="));
            assert_eq!(parse(head.as_bytes()), Err(HeadError::Version), "{version}");
        }
    }

    #[test]
    fn targets() {
        for (target, expected) in [
            ("/", None),
            ("/s/weather/ws?a=../b#", Some("fragment")),
            ("/s/weather/ws?a=../b", None),
            ("/.well-known/x", None),
            ("/a/...", None),
            ("/a/..b/.c.", None),
            ("/a/%2fb", None),
            ("http://host/x", None),
            ("HTTPS://host", None),
            ("wss://host/?x", None),
            ("ftp://host/", Some("not a path")),
            ("host:443", Some("not a path")),
            ("*", Some("not a path")),
            ("a/b", Some("not a path")),
            ("/..", Some(". or ..")),
            ("/./a", Some(". or ..")),
            ("/s/weather/../other", Some(". or ..")),
            ("/s/weather/%2e%2E/other", Some(". or ..")),
            ("/s/weather/.%2e", Some(". or ..")),
            ("/s/weather\\..\\other", Some(". or ..")),
            ("http://host/../x", Some(". or ..")),
        ] {
            check(&format!("GET {target} HTTP/1.1\r\n\r\n"), expected);
        }
        check("OPTIONS * HTTP/1.1\r\n\r\n", None);
        check("CONNECT host:443 HTTP/1.1\r\n\r\n", Some("not a path"));
    }
}
