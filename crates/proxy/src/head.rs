//! Reading a request head: bounded in bytes and in time, and looking at it only as far as the front door must.
//!
//! The head stays exactly as the client sent it; it travels on to the runner as it is. The time limit is the caller's.

use httparse::{EMPTY_HEADER, Error, Request, Status};
use myagent_core::http::Body;
use myagent_core::routing::{Context, Headers, Target, TrustedProxies};
use myagent_core::wire::handover::{MAX_HEAD, MAX_HEADERS};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Why there is no usable head.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// The client left, or its socket failed.
    #[error("the client left before its request was complete")]
    Left,
    /// It took too long.
    #[error("the request head did not come in time")]
    Late,
    /// It was slow, and others came.
    #[error("the request head did not come in time, and others wait")]
    SentAway,
    /// Not HTTP/1.x.
    #[error("the request is not valid HTTP/1.1: {0}")]
    Bad(String),
    /// A WebSocket of another version.
    #[error("the request is for another version of WebSocket than 13")]
    Version,
    /// Longer than [`MAX_HEAD`], or more than [`MAX_HEADERS`] headers.
    #[error("the request head is larger than {MAX_HEAD} bytes or has more than {MAX_HEADERS} headers")]
    TooLarge,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To become a WebSocket.
    WebSocket,
    /// An event stream: handed over like a WebSocket, because it lasts as long.
    EventStream,
    /// The front door's own health.
    Health,
    /// Anything else.
    Plain,
}

/// What the front door knows of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length in bytes, the empty line included.
    pub(crate) len: usize,
    /// What it asks for.
    pub(crate) kind: Kind,
    /// It must be answered without a body.
    pub(crate) is_head_method: bool,
    /// Another request may follow, right behind this one: it has no body, and its client keeps the connection open.
    pub(crate) keeps_alive: bool,
    /// Its client closes the connection after it.
    pub(crate) closes: bool,
    /// The service it names.
    pub(crate) service: Option<Box<str>>,
    /// The web page that sent it.
    pub(crate) origin: Option<Box<str>>,
}

/// Parts that only a refusal needs: read again from the head when they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WebSocketHead<'a> {
    /// `Sec-WebSocket-Key`.
    pub(crate) key: &'a str,
    /// The first of `Sec-WebSocket-Protocol`: a browser that asked for one fails without one.
    pub(crate) protocol: Option<&'a str>,
}

/// Reads until the head is complete, appending to `bytes`, which then also has what came behind the head (together at
/// most [`MAX_HEAD`]). What is in `bytes` already is looked at first. `scratch` is the thread's own buffer, so that a client
/// that has said nothing yet needs none. Cancel-safe: what was read is in `bytes`.
pub(crate) async fn read(
    stream: &TcpStream,
    scratch: &RefCell<Box<[u8]>>,
    bytes: &mut Vec<u8>,
) -> Result<Head, HeadError> {
    if !bytes.is_empty()
        && let Some(head) = parse(bytes)?
    {
        return Ok(head);
    }
    loop {
        let before = bytes.len();
        read_more(stream, scratch, bytes).await?;
        if let Some(head) = look(bytes, before)? {
            return Ok(head);
        }
    }
}

/// Looks at what has come, of which `before` bytes were there already. The first bytes are looked at for what is no HTTP at all;
/// later ones only if they can have ended the head, or a client that sends it byte by byte would make us read it again each
/// time.
pub(crate) fn look(bytes: &[u8], before: usize) -> Result<Option<Head>, HeadError> {
    if before == 0 || may_end(bytes, before) { parse(bytes) } else { Ok(None) }
}

/// Reads what has come, appending it to `bytes`, up to [`MAX_HEAD`] in all.
pub(crate) async fn read_more(
    stream: &TcpStream,
    scratch: &RefCell<Box<[u8]>>,
    bytes: &mut Vec<u8>,
) -> Result<(), HeadError> {
    let room = MAX_HEAD.saturating_sub(bytes.len());
    if room == 0 {
        return Err(HeadError::TooLarge);
    }
    loop {
        stream.readable().await.map_err(|_| HeadError::Left)?;
        let mut scratch = scratch.borrow_mut();
        match stream.try_read(&mut scratch[..room]) {
            Ok(0) => return Err(HeadError::Left),
            Ok(count) => {
                bytes.extend_from_slice(&scratch[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(HeadError::Left),
        }
    }
}

/// Whether the bytes from `from` on can have completed the head: an empty line ends there.
fn may_end(bytes: &[u8], from: usize) -> bool {
    let tail = &bytes[from.saturating_sub(3)..];
    tail.windows(2).any(|two| two == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// Reads a head, if it is complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(HeadError::Bad(error.to_string())),
    };
    let has_body = crate::strict::check(&request)? != Body::NONE;
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let (mut upgrade, mut connection, mut origin) = (false, false, None);
    let (mut close, mut events) = (request.version != Some(1), false);
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("upgrade") {
            upgrade |= has_token(header.value, "websocket");
        } else if header.name.eq_ignore_ascii_case("connection") {
            connection |= has_token(header.value, "upgrade");
            close |= has_token(header.value, "close");
        } else if header.name.eq_ignore_ascii_case("accept") {
            events |= has_token(header.value, "text/event-stream");
        } else if header.name.eq_ignore_ascii_case("origin") {
            // Two origins, or one that is no text, come from no browser: neither could be checked.
            let text = std::str::from_utf8(header.value).ok().filter(|_| origin.is_none());
            let text = text.ok_or_else(|| HeadError::Bad("its Origin header is invalid".to_owned()))?;
            origin = Some(Box::from(text));
        }
    }
    let path = target.split('?').next().unwrap_or_default();
    let kind = if upgrade && connection && method == "GET" && request.version == Some(1) {
        if has_body {
            // Where it ended, and the frames began, would be a matter of opinion.
            return Err(HeadError::Bad("a request for a WebSocket has no body".to_owned()));
        }
        crate::strict::check_websocket(&request)?;
        Kind::WebSocket
    } else if path == "/health" && matches!(method, "GET" | "HEAD") {
        Kind::Health
    } else if events && method == "GET" && !has_body {
        Kind::EventStream
    } else {
        Kind::Plain
    };
    Ok(Some(Head {
        len,
        kind,
        is_head_method: method == "HEAD",
        keeps_alive: !close && !has_body,
        closes: close,
        service: Target::parse(target).service.map(Box::from),
        origin,
    }))
}

/// The headers as they were read.
struct Parsed<'a>(&'a [httparse::Header<'a>]);

impl Headers for Parsed<'_> {
    fn header(&self, index: usize) -> Option<(&str, &[u8])> {
        self.0.get(index).map(|header| (header.name, header.value))
    }
}

/// The address that the client behind `peer` counts as: what trusted peers say of it in the head that `bytes` begin with.
pub(crate) fn client_address(bytes: &[u8], peer: SocketAddr, trusted: &TrustedProxies) -> SocketAddr {
    if trusted.is_empty() {
        return peer;
    }
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    // It was read before; a head that cannot be read says nothing.
    let _ = request.parse(bytes);
    SocketAddr::new(trusted.client_ip(peer.ip(), &Parsed(request.headers)), peer.port())
}

/// Calls `read` with what routing knows of a client: its address and the head that `bytes` begin with.
pub(crate) fn with_context<T>(bytes: &[u8], client: SocketAddr, read: impl FnOnce(&Context<'_>) -> T) -> T {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    // It was read before; a head that cannot be read asks for nothing.
    let _ = request.parse(bytes);
    let target = request.path.unwrap_or_default();
    read(&Context::new(client, target, &Parsed(request.headers)))
}

/// Reads what a refusal needs; empty if there is no key.
pub(crate) fn websocket_parts(bytes: &[u8]) -> WebSocketHead<'_> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    if !matches!(request.parse(bytes), Ok(Status::Complete(_))) {
        return WebSocketHead::default();
    }
    let value = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let protocol = value("sec-websocket-protocol")
        .and_then(|list| list.split(',').next())
        .map(str::trim)
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
    WebSocketHead { key: value("sec-websocket-key").unwrap_or_default(), protocol }
}

fn has_token(value: &[u8], token: &str) -> bool {
    value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /s/weather/ws?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, superchat\r\n\r\n";

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_websocket_request_is_known() {
        let found = head(&format!("{UPGRADE}rest"));
        assert_eq!(found.len, UPGRADE.len());
        assert_eq!((found.kind, found.keeps_alive), (Kind::WebSocket, true));
        assert_eq!(found.service.as_deref(), Some("weather"));
        let parts = websocket_parts(UPGRADE.as_bytes());
        assert_eq!((parts.key, parts.protocol), ("dGhlIHNhbXBsZSBub25jZQ==", Some("chat")));
        for missing in ["Upgrade: WebSocket\r\n", "Connection: keep-alive, Upgrade\r\n"] {
            assert_eq!(head(&UPGRADE.replace(missing, "")).kind, Kind::Plain, "{missing}");
        }
        assert_eq!(head(&UPGRADE.replace("GET", "POST")).kind, Kind::Plain);
        assert_eq!(head(&UPGRADE.replace("HTTP/1.1", "HTTP/1.0")).kind, Kind::Plain);
    }

    #[test]
    fn routing_sees_the_target_and_all_headers() {
        with_context(
            format!("{UPGRADE}rest").as_bytes(),
            "[::ffff:10.0.0.1]:9".parse().unwrap(),
            |context| {
                assert_eq!((context.client_ip.to_string().as_str(), context.client_port), ("10.0.0.1", 9));
                assert_eq!(context.target.service.as_deref(), Some("weather"));
                assert_eq!(context.headers.first("HOST"), Some("a"));
                assert!(context.headers.header(5).is_some() && context.headers.header(6).is_none());
            },
        );
    }

    #[test]
    fn a_head_is_complete_at_its_last_byte_only() {
        for end in 1..UPGRADE.len() {
            assert_eq!(parse(&UPGRADE.as_bytes()[..end]), Ok(None), "{end}");
            assert!(!may_end(&UPGRADE.as_bytes()[..end], end - 1), "{end}");
        }
        assert!(may_end(UPGRADE.as_bytes(), UPGRADE.len() - 1));
        assert!(may_end(b"GET / HTTP/1.1\nHost: a\n\n", 23));
    }

    #[test]
    fn other_requests_are_told_apart() {
        for (text, kind, keeps_alive) in [
            ("GET /health?x HTTP/1.1\r\n\r\n", Kind::Health, true),
            ("POST /health HTTP/1.1\r\n\r\n", Kind::Plain, true),
            ("GET /s/health HTTP/1.1\r\nConnection: x, Close\r\n\r\n", Kind::Plain, false),
            ("GET /s/health HTTP/1.0\r\n\r\n", Kind::Plain, false),
            ("GET / HTTP/1.1\r\nAccept: text/html, text/event-stream\r\n\r\n", Kind::EventStream, true),
            ("POST / HTTP/1.1\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n\r\n", Kind::Plain, true),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Kind::Plain, false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Kind::Plain, false),
        ] {
            assert_eq!((head(text).kind, head(text).keeps_alive), (kind, keeps_alive), "{text}");
            assert!(!head(text).keeps_alive || !head(text).closes, "{text}");
        }
        assert!(head("HEAD /health HTTP/1.1\r\n\r\n").is_head_method);
        assert_eq!(head("GET / HTTP/1.1\r\nOrigin: http://a\r\n\r\n").origin.as_deref(), Some("http://a"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in [
            "\u{16}\u{3}\u{1}",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\nBad Header: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nOrigin: http://a\r\nOrigin: http://b\r\n\r\n",
        ] {
            assert!(matches!(parse(bad.as_bytes()), Err(HeadError::Bad(_))), "{bad:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()), Err(HeadError::TooLarge));
    }
}
