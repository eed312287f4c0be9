//! The request head that an agent gets: the client's own, with the path, the hop-by-hop headers and the trace changed.

use super::body::{Body, BodyError};
use super::{
    EVENTS_HEADER, HOP_BY_HOP, OF_BODY, find, is_one_of, named_by_connection, percent_decode, push_header,
    wants_events,
};
use crate::ids::ConnectionId;
use crate::routing::Target;
use crate::wire::handover::MAX_HEADERS;
use std::net::SocketAddr;

/// Query parameters that are for the front door and not for the agent.
const OWN_QUERY: [&str; 4] = ["service", "tag", "routing_hint", "events"];
/// Headers that are for the front door.
const OWN_HEADERS: [&str; 1] = [EVENTS_HEADER];
/// Headers that are written anew.
const WRITTEN_ANEW: [&str; 2] = ["host", "x-forwarded-for"];

const WEBSOCKET: &[u8] = b"websocket";

/// Where the request goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Path (and query) of the endpoint.
    pub path: &'a str,
    /// `Host` to send; none: the client's own.
    pub host: Option<&'a str>,
    /// `Host` to send if the client sent none.
    pub default_host: &'a str,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The client's address.
    pub client: SocketAddr,
    /// The id of the connection, and of the request where the client gave it none.
    pub connection_id: ConnectionId,
}

/// A plain request, as far as it must be understood before it goes anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What is behind its head.
    pub body: Body,
    /// Its body's length was told.
    has_length: bool,
    /// The answer has no body.
    pub is_head: bool,
    /// Its client understands chunks and interim answers.
    pub is_http_1_1: bool,
}

/// A request, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The new head.
    pub head: Vec<u8>,
    /// It asks for another protocol (a WebSocket); otherwise it is plain HTTP, such as an event stream.
    pub upgrade: bool,
    /// The answer has no body.
    pub is_head: bool,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The client asks for events of our own.
    pub events: bool,
    /// The conversation that it says it goes on with.
    pub session: Option<String>,
}

/// Why a request goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The client's head cannot be read.
    #[error("request head cannot be read: {0}")]
    Unreadable(String),
    /// A tunnel to somewhere else, `*`, or a relative path.
    #[error("the request names no path that begins with /")]
    Target,
    /// Where the body ends is not clear.
    #[error("the request's body cannot be read: {0}")]
    Body(#[from] BodyError),
}

/// Makes a WebSocket's or an event stream's request out of the client's. A body behind it is passed on as it came.
pub fn rewrite(head: &[u8], destination: Destination<'_>, caller: Caller) -> Result<Request, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let request = parse(head, &mut headers)?;
    let target = request.path.unwrap_or("/");
    let upgrade = protocol(request.headers).filter(|_| {
        named_by_connection(request.headers).iter().any(|name| name.eq_ignore_ascii_case("upgrade"))
    });
    let mut out = begin(head.len(), &request, destination, &[]);
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        push_header(&mut out, "Upgrade", protocol);
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    finish(&mut out, &request, caller);
    let events = find(request.headers, EVENTS_HEADER).and_then(|value| std::str::from_utf8(value).ok());
    Ok(Request {
        head: out,
        upgrade: upgrade.is_some(),
        is_head: request.method == Some("HEAD"),
        user_agent: find(request.headers, "user-agent")
            .map(|value| String::from_utf8_lossy(value).into_owned()),
        session: Target::parse(target).session_id.map(std::borrow::Cow::into_owned),
        events: wants_events(target, events),
    })
}

/// Reads a plain request, and refuses a body that could be understood in two ways, and what is no request for an agent.
pub fn plain(head: &[u8]) -> Result<Plain, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let request = parse(head, &mut headers)?;
    let is_http_1_1 = request.version == Some(1);
    let target = request.path.unwrap_or_default();
    let has_path =
        target.starts_with('/') || target.split_once("://").is_some_and(|(_, rest)| !rest.is_empty());
    if !has_path || request.method == Some("CONNECT") {
        return Err(RequestError::Target);
    }
    Ok(Plain {
        body: Body::of_request(request.headers, is_http_1_1)?,
        has_length: find(request.headers, "content-length").is_some(),
        is_head: request.method == Some("HEAD"),
        is_http_1_1,
    })
}

/// Makes the agent's head out of that of a plain request. It asks for no other protocol, and the connection ends behind it; the
/// body is told in one way only.
pub fn rewrite_plain(
    head: &[u8],
    plain: &Plain,
    destination: Destination<'_>,
    caller: Caller,
) -> Result<Vec<u8>, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let request = parse(head, &mut headers)?;
    let mut out = begin(head.len(), &request, destination, &OF_BODY);
    match plain.body {
        Body::Length(length) if plain.has_length => {
            push_header(&mut out, "Content-Length", length.to_string())
        }
        Body::Chunked(_) => push_header(&mut out, "Transfer-Encoding", "chunked"),
        Body::Length(_) | Body::UntilEnd => {}
    }
    out.extend_from_slice(b"Connection: close\r\n");
    finish(&mut out, &request, caller);
    Ok(out)
}

fn parse<'h, 'b>(
    head: &'b [u8],
    headers: &'h mut [httparse::Header<'b>],
) -> Result<httparse::Request<'h, 'b>, RequestError> {
    let mut request = httparse::Request::new(headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => Ok(request),
        Ok(httparse::Status::Partial) => Err(RequestError::Unreadable("it is cut short".to_owned())),
        Err(error) => Err(RequestError::Unreadable(error.to_string())),
    }
}

/// The protocol that is asked for: a WebSocket if that is among those that would do.
fn protocol<'b>(headers: &[httparse::Header<'b>]) -> Option<&'b [u8]> {
    let values = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("upgrade"));
    let mut values = values.map(|header| header.value);
    let first = values.clone().next()?;
    let mut tokens = values.by_ref().flat_map(|value| value.split(|byte| *byte == b','));
    let is_websocket = tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(WEBSOCKET));
    Some(if is_websocket { WEBSOCKET } else { first })
}

/// The request line, the host, and the headers that pass.
fn begin(
    length: usize,
    request: &httparse::Request<'_, '_>,
    destination: Destination<'_>,
    dropped: &[&str],
) -> Vec<u8> {
    let named_by_connection = named_by_connection(request.headers);
    let mut out = Vec::with_capacity(length + 512);
    out.extend_from_slice(request.method.unwrap_or("GET").as_bytes());
    out.push(b' ');
    let target = request.path.unwrap_or("/");
    out.extend_from_slice(upstream_target(destination.path, target).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = destination.host.map(str::as_bytes).or(find(request.headers, "host"));
    push_header(&mut out, "Host", host.unwrap_or(destination.default_host.as_bytes()));
    for header in request.headers.iter() {
        let lists: [&[&str]; 5] = [&HOP_BY_HOP, &OWN_HEADERS, &WRITTEN_ANEW, dropped, &named_by_connection];
        // What belongs to a WebSocket's handshake is for its two ends, whatever `Connection` says of it.
        if is_of_handshake(header.name) || !lists.iter().any(|list| is_one_of(header.name, list)) {
            push_header(&mut out, header.name, header.value);
        }
    }
    out
}

fn is_of_handshake(name: &str) -> bool {
    const PREFIX: &str = "sec-websocket-";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// What is added for the agent, and the empty line.
fn finish(out: &mut Vec<u8>, request: &httparse::Request<'_, '_>, caller: Caller) {
    let has = |name: &str| find(request.headers, name).is_some();
    push_header(out, "X-Forwarded-For", forwarded_for(request, caller));
    if !has("x-forwarded-proto") {
        push_header(out, "X-Forwarded-Proto", "http");
    }
    if let (false, Some(host)) = (has("x-forwarded-host"), find(request.headers, "host")) {
        push_header(out, "X-Forwarded-Host", host);
    }
    if !has("x-request-id") {
        push_header(out, "X-Request-Id", caller.connection_id.to_string());
    }
    if !has("traceparent") {
        let id = caller.connection_id.0.as_u128();
        // A span id of zero would be invalid.
        push_header(out, "traceparent", format!("00-{id:032x}-{:016x}-00", (id as u64).max(1)));
    }
    out.extend_from_slice(b"\r\n");
}

/// The client's address after those that proxies before us have noted.
fn forwarded_for(request: &httparse::Request<'_, '_>, caller: Caller) -> String {
    let client = caller.client.ip().to_canonical().to_string();
    let mut list: Vec<String> = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"))
        .map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
        .filter(|value| !value.is_empty())
        .collect();
    // Behind a trusted proxy the client's address was read from this very header.
    if list.last().and_then(|last| last.rsplit(',').next()).map(str::trim) != Some(client.as_str()) {
        list.push(client);
    }
    list.join(", ")
}

/// Path and query for the agent: the endpoint's path, then the client's path after `/s/<name>`, then both queries without
/// our own parameters. A client that names the endpoint's path itself gets it once.
pub fn upstream_target(endpoint: &str, target: &str) -> String {
    let target = strip_origin(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (endpoint_path, endpoint_query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let base = endpoint_path.trim_end_matches('/');
    let after_name = path.strip_prefix("/s/").map(|rest| rest.find('/').map_or("", |slash| &rest[slash..]));
    let tail = after_name.unwrap_or_else(|| {
        path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
    });
    let mut out = match tail {
        // Nothing of its own: the endpoint exactly as it was registered.
        "" | "/" => endpoint_path.to_owned(),
        tail => format!("{base}{tail}"),
    };
    if out.is_empty() {
        out.push('/');
    }
    let own = |pair: &&str| {
        !OWN_QUERY.contains(&percent_decode(pair.split('=').next().unwrap_or_default()).as_str())
    };
    let pairs = endpoint_query.split('&').chain(query.split('&').filter(own)).filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        out.push_str(pair);
    }
    out
}

/// `http://host/path` is allowed as a target too.
fn strip_origin(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target;
    };
    rest.find(['/', '?']).map_or("/", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (endpoint, target, expected) in [
            ("/", "/", "/"),
            ("/", "/chat?a=1", "/chat?a=1"),
            ("/", "/s/weather", "/"),
            ("/", "/s/weather/chat", "/chat"),
            ("/ws", "/", "/ws"),
            ("/ws", "/s/weather", "/ws"),
            ("/ws", "/s/weather/", "/ws"),
            ("/ws", "/s/weather/ws", "/ws/ws"),
            ("/ws", "/chat", "/ws/chat"),
            ("/ws", "/ws", "/ws"),
            ("/ws", "/ws/chat", "/ws/chat"),
            ("/ws", "/wsx", "/ws/wsx"),
            ("/ws/", "/", "/ws/"),
            ("/ws/", "/chat", "/ws/chat"),
            ("/ws?token=t", "/?x=1", "/ws?token=t&x=1"),
            (
                "/",
                "/?service=a&x=%20&tag=b&tag=c&routing_hint=d&events=1&session_id=s",
                "/?x=%20&session_id=s",
            ),
            ("/", "/?servic%65=a", "/"),
            ("/", "http://host:1/chat?x", "/chat?x"),
            ("/", "ws://host", "/"),
        ] {
            assert_eq!(upstream_target(endpoint, target), expected, "{endpoint} + {target}");
        }
    }

    fn caller() -> Caller {
        Caller {
            connection_id: ConnectionId(uuid::Uuid::from_u128(0x0102)),
            client: "[::ffff:192.0.2.7]:5000".parse().unwrap(),
        }
    }

    fn check(head: &str, host: Option<&str>, expected: &str) {
        let destination = Destination { path: "/ws", host, default_host: "127.0.0.1:9" };
        let request = rewrite(head.as_bytes(), destination, caller()).unwrap();
        assert_eq!(String::from_utf8(request.head).unwrap(), expected);
    }

    #[test]
    fn a_websocket_request() {
        check(
            "GET /s/x/chat?service=y HTTP/1.1\r\nHost: front\r\nConnection: keep-alive, Upgrade, X-Hop\r\nupgrade: websocket\r\n\
             X-Hop: 1\r\nKeep-Alive: 5\r\nX-MyAgent-Events: 1\r\nOrigin: http://localhost\r\nSec-WebSocket-Key: k\r\n\r\n",
            None,
            "GET /ws/chat HTTP/1.1\r\nHost: front\r\nOrigin: http://localhost\r\nSec-WebSocket-Key: k\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: front\r\nX-Request-Id: 00000000-0000-0000-0000-000000000102\r\n\
             traceparent: 00-00000000000000000000000000000102-0000000000000102-00\r\n\r\n",
        );
    }

    #[test]
    fn a_client_cannot_make_its_handshake_one_that_agents_cannot_read() {
        let rewritten = |lines: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}Sec-WebSocket-Key: k\r\n\r\n");
            let destination = Destination { path: "/", host: None, default_host: "" };
            let request = rewrite(head.as_bytes(), destination, caller()).unwrap();
            String::from_utf8(request.head).unwrap()
        };
        let dropped = rewritten("Connection: Upgrade, Sec-WebSocket-Key\r\nUpgrade: websocket\r\n");
        assert!(dropped.contains("\r\nSec-WebSocket-Key: k\r\n"), "{dropped}");
        for lines in ["Upgrade: foo\r\nUpgrade: WebSocket\r\n", "Upgrade: foo, websocket\r\n"] {
            let other = rewritten(&format!("Connection: Upgrade\r\n{lines}"));
            assert!(other.contains("\r\nUpgrade: websocket\r\n") && !other.contains("foo"), "{other}");
        }
        assert!(rewritten("Connection: Upgrade\r\nUpgrade: h2c\r\n").contains("\r\nUpgrade: h2c\r\n"));
    }

    #[test]
    fn an_event_stream_to_another_host() {
        check(
            "GET / HTTP/1.1\r\nHost: front\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Host: far\r\nX-Request-Id: r\r\ntraceparent: t\r\n\r\n",
            Some("elsewhere:7000"),
            "GET /ws HTTP/1.1\r\nHost: elsewhere:7000\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: far\r\n\
             X-Request-Id: r\r\ntraceparent: t\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\n\r\n",
        );
    }

    #[test]
    fn an_address_from_a_trusted_proxy_is_not_repeated() {
        let head = b"GET / HTTP/1.0\r\nX-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n\r\n";
        let destination = Destination { path: "/", host: None, default_host: "127.0.0.1:9" };
        let request = rewrite(head, destination, caller()).unwrap();
        let text = String::from_utf8(request.head).unwrap();
        assert!(text.contains("X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n"), "{text}");
        assert!(text.contains("Host: 127.0.0.1:9\r\n"), "{text}");
        assert!(!request.upgrade);
        assert!(rewrite(b"GET / HT", destination, caller()).is_err());
    }

    #[test]
    fn a_plain_request() {
        let check = |head: &str, expected: &str| {
            let plain = plain(head.as_bytes()).unwrap();
            let destination = Destination { path: "/", host: None, default_host: "127.0.0.1:9" };
            let out = rewrite_plain(head.as_bytes(), &plain, destination, caller()).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.split("X-Forwarded-For").next().unwrap(), expected);
        };
        check(
            "POST /s/x/v1/chat?tag=y&a=b HTTP/1.1\r\nHost: front\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST /v1/chat?a=b HTTP/1.1\r\nHost: front\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n",
        );
        // What names the body as a header of this hop does not lose it.
        check(
            "PUT http://front/s/x HTTP/1.1\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: Chunked\r\nTrailer: x\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: 127.0.0.1:9\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n",
        );
        check("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 127.0.0.1:9\r\nConnection: close\r\n");
    }

    #[test]
    fn plain_requests_that_go_nowhere() {
        for (head, error) in [
            ("CONNECT a:1 HTTP/1.1\r\n\r\n", RequestError::Target),
            ("OPTIONS * HTTP/1.1\r\n\r\n", RequestError::Target),
            ("GET x HTTP/1.1\r\n\r\n", RequestError::Target),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                RequestError::Body(BodyError::Both),
            ),
        ] {
            assert_eq!(plain(head.as_bytes()), Err(error), "{head}");
        }
        let head = plain(b"HEAD / HTTP/1.0\r\n\r\n").unwrap();
        assert!(head.is_head && !head.is_http_1_1 && head.body == Body::NONE);
    }
}
