//! The request head that an agent gets: the client's own, with the path, the hop-by-hop headers and the trace changed.

use crate::handshake::{EVENTS_HEADER, MAX_HEADERS, percent_decode, push_header, wants_events};
use myagent_core::routing::Target;
use myagent_core::wire::handover::Offer;

/// Query parameters that are for the front door and not for the agent.
const OWN_QUERY: [&str; 4] = ["service", "tag", "routing_hint", "events"];
/// Headers that belong to one hop (RFC 9110 section 7.6.1), besides those that `Connection` names. `Transfer-Encoding` is
/// not here: a body is passed on as it is.
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"];
/// Headers that are for the front door.
const OWN_HEADERS: [&str; 1] = [EVENTS_HEADER];

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

/// The client's head cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request head cannot be read: {0}")]
pub struct RequestError(String);

/// Makes the agent's request out of the client's.
pub fn rewrite(head: &[u8], destination: Destination<'_>, offer: &Offer) -> Result<Request, RequestError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(RequestError("it is cut short".to_owned())),
        Err(error) => return Err(RequestError(error.to_string())),
    }
    let (method, target) = (request.method.unwrap_or("GET"), request.path.unwrap_or("/"));
    let find = |name: &str| {
        request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let named_by_connection: Vec<&str> = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let upgrade = find("upgrade")
        .filter(|_| named_by_connection.iter().any(|name| name.eq_ignore_ascii_case("upgrade")));

    let mut out = Vec::with_capacity(head.len() + 512);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(upstream_target(destination.path, target).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = find("host");
    let new_host =
        destination.host.map(str::as_bytes).or(host).unwrap_or(destination.default_host.as_bytes());
    push_header(&mut out, "Host", new_host);
    let is = |name: &str, list: &[&str]| list.iter().any(|other| name.eq_ignore_ascii_case(other));
    for header in request.headers.iter() {
        let name = header.name;
        let dropped = is(name, &HOP_BY_HOP) || is(name, &OWN_HEADERS) || is(name, &named_by_connection);
        if !dropped && !is(name, &["host", "x-forwarded-for"]) {
            push_header(&mut out, name, header.value);
        }
    }
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        push_header(&mut out, "Upgrade", protocol);
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    push_header(&mut out, "X-Forwarded-For", forwarded_for(&request, offer));
    if find("x-forwarded-proto").is_none() {
        push_header(&mut out, "X-Forwarded-Proto", "http");
    }
    if let (None, Some(host)) = (find("x-forwarded-host"), host) {
        push_header(&mut out, "X-Forwarded-Host", host);
    }
    if find("x-request-id").is_none() {
        push_header(&mut out, "X-Request-Id", offer.connection_id.to_string());
    }
    if find("traceparent").is_none() {
        let id = offer.connection_id.0.as_u128();
        // A span id of zero would be invalid.
        push_header(&mut out, "traceparent", format!("00-{id:032x}-{:016x}-00", (id as u64).max(1)));
    }
    out.extend_from_slice(b"\r\n");
    Ok(Request {
        head: out,
        upgrade: upgrade.is_some(),
        is_head: method == "HEAD",
        user_agent: find("user-agent").map(|value| String::from_utf8_lossy(value).into_owned()),
        session: Target::parse(target).session_id.map(std::borrow::Cow::into_owned),
        events: wants_events(target, find(EVENTS_HEADER).and_then(|value| std::str::from_utf8(value).ok())),
    })
}

/// The client's address after those that proxies before us have noted.
fn forwarded_for(request: &httparse::Request<'_, '_>, offer: &Offer) -> String {
    let client = offer.client.ip().to_canonical().to_string();
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
    use myagent_core::ConnectionId;

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

    fn offer() -> Offer {
        Offer {
            connection_id: ConnectionId(uuid::Uuid::from_u128(0x0102)),
            client: "[::ffff:192.0.2.7]:5000".parse().unwrap(),
            strategy: String::new(),
            rule: None,
            head_len: 0,
            attempt: 0,
        }
    }

    fn check(head: &str, host: Option<&str>, expected: &str) {
        let destination = Destination { path: "/ws", host, default_host: "127.0.0.1:9" };
        let request = rewrite(head.as_bytes(), destination, &offer()).unwrap();
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
        let request = rewrite(head, destination, &offer()).unwrap();
        let text = String::from_utf8(request.head).unwrap();
        assert!(text.contains("X-Forwarded-For: 10.0.0.1, 192.0.2.7\r\n"), "{text}");
        assert!(text.contains("Host: 127.0.0.1:9\r\n"), "{text}");
        assert!(!request.upgrade);
        assert!(rewrite(b"GET / HT", destination, &offer()).is_err());
    }
}
