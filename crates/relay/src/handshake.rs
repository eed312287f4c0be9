//! The server's side of the opening handshake: reading a request head, writing the answer.
//!
//! For endpoints that we serve ourselves; the relay passes the agent's own answer on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use myagent_core::http::{EVENTS_HEADER, percent_decode, push_header, wants_events};

/// Most headers of a request.
pub const MAX_HEADERS: usize = 100;
/// Appended to a client's key (RFC 6455 section 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A valid request to open a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    target: String,
    key: String,
    headers: Vec<(String, String)>,
}

/// Why a request does not open a WebSocket. [`HandshakeError::response`] is what to tell the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It is no HTTP request, or not a whole head.
    #[error("the request head cannot be read: {0}")]
    Malformed(String),
    /// A WebSocket opens with GET.
    #[error("the method must be GET")]
    Method,
    /// Not HTTP/1.1.
    #[error("the protocol must be HTTP/1.1")]
    HttpVersion,
    /// No `Upgrade: websocket`, or `Connection` does not name it.
    #[error("this is a WebSocket endpoint: the request must have Upgrade: websocket and Connection: Upgrade")]
    NotAnUpgrade,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("the WebSocket version must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl HandshakeError {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Key => 400,
            Self::Method => 405,
            Self::HttpVersion => 505,
            Self::NotAnUpgrade | Self::Version => 426,
        }
    }

    /// The whole HTTP answer, after which the connection is closed.
    pub fn response(&self) -> Vec<u8> {
        let extra: &[(&str, &str)] = match self {
            Self::Method => &[("Allow", "GET")],
            Self::NotAnUpgrade | Self::Version => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            }
            _ => &[],
        };
        error_response(self.status(), extra, &self.to_string())
    }
}

impl Upgrade {
    /// Reads a request head (with its empty line; what follows it is ignored).
    pub fn parse(head: &[u8]) -> Result<Self, HandshakeError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => {
                return Err(HandshakeError::Malformed("it is cut short".to_owned()));
            }
            Err(error) => return Err(HandshakeError::Malformed(error.to_string())),
        }
        if request.method != Some("GET") {
            return Err(HandshakeError::Method);
        }
        if request.version != Some(1) {
            return Err(HandshakeError::HttpVersion);
        }
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
            .collect();
        let mut upgrade =
            Self { target: request.path.unwrap_or("/").to_owned(), key: String::new(), headers };
        if !upgrade.has_token("upgrade", "websocket") || !upgrade.has_token("connection", "upgrade") {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if upgrade.header("sec-websocket-version") != Some("13") {
            return Err(HandshakeError::Version);
        }
        let key = upgrade.header("sec-websocket-key").unwrap_or_default().to_owned();
        if STANDARD.decode(&key).map_or(0, |bytes| bytes.len()) != 16 {
            return Err(HandshakeError::Key);
        }
        upgrade.key = key;
        Ok(upgrade)
    }

    /// Path and query, as the client sent them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first query parameter of this name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key) == name).then(|| percent_decode(value))
        })
    }

    /// Whether the client asks for events of our own.
    pub fn wants_events(&self) -> bool {
        wants_events(&self.target, self.header(EVENTS_HEADER))
    }

    /// The first header of this name, in any case; bytes that are not UTF-8 are replaced.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a comma-separated header (or several of the name) has this token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .any(|(_, value)| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }

    /// The answer that opens the WebSocket. Control characters in the extra values become spaces.
    pub fn response_101(&self, extra: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        push_header(&mut out, "Sec-WebSocket-Accept", accept_key(&self.key));
        for (name, value) in extra {
            push_header(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// The `Sec-WebSocket-Accept` for a client's key.
pub fn accept_key(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(MAGIC.as_bytes());
    STANDARD.encode(hash.digest().bytes())
}

/// A small answer in plain text, after which the connection is closed.
pub fn error_response(status: u16, extra: &[(&str, &str)], text: &str) -> Vec<u8> {
    let phrase = match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    };
    let mut out = format!("HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n").into_bytes();
    push_header(&mut out, "Content-Type", "text/plain; charset=utf-8");
    push_header(&mut out, "Content-Length", (text.len() + 1).to_string());
    for (name, value) in extra {
        push_header(&mut out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /s/x/chat?session_id=a%20b&x HTTP/1.1\r\nHost: h\r\nUPGRADE: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn a_good_request() {
        let upgrade = Upgrade::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(upgrade.path(), "/s/x/chat");
        assert_eq!(upgrade.query("session_id").as_deref(), Some("a b"));
        assert_eq!(upgrade.query("x").as_deref(), Some(""));
        assert_eq!(upgrade.query("y"), None);
        assert!(!upgrade.wants_events());
        assert_eq!(upgrade.header("HOST"), Some("h"));
        let answer = String::from_utf8(upgrade.response_101(&[("X-MyAgent-Service", "a\r\nb")])).unwrap();
        assert_eq!(
            answer,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-MyAgent-Service: a  b\r\n\r\n"
        );
    }

    #[test]
    fn bad_requests() {
        let check = |from: &str, to: &str, status: u16| {
            assert!(GOOD.contains(from));
            let error = Upgrade::parse(GOOD.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.status(), status, "{from:?} -> {to:?}: {error}");
            assert!(error.response().starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        };
        check("GET", "POST", 405);
        check("HTTP/1.1", "HTTP/1.0", 505);
        check("WebSocket", "h2c", 426);
        check("keep-alive, Upgrade", "keep-alive", 426);
        check("13", "8", 426);
        check("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400);
        check("dGhlIHNhbXBsZSBub25jZQ==", "not base64!", 400);
        check("\r\n\r\n", "\r\n", 400);
        check("Host: h", "Host h", 400);
    }
}
