//! HTTP/1.1 between a client and an agent, as far as it is decided and not moved: the head that the agent gets, the head
//! that the client gets, and where a body ends.
//!
//! For the relay, which carries WebSockets and event streams, and for the front door, which carries all other requests.
//!
//! * [`request`]: the request's head.
//! * [`answer`]: the answer's.
//! * [`body`]: what is behind either.
//! * [`upstream`]: where an agent is.

pub mod answer;
pub mod body;
pub mod request;
pub mod upstream;

pub use answer::Answer;
pub use body::Body;
pub use request::Request;
pub use upstream::Upstream;

/// With the value 1 the client asks for events of our own.
pub const EVENTS_HEADER: &str = "x-myagent-events";
/// Headers that belong to one hop (RFC 9110 section 7.6.1), besides those that `Connection` names. `Transfer-Encoding` is
/// not here: whoever carries the body says how.
const HOP_BY_HOP: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"];

/// Headers of a body, which are written anew where the body is.
const OF_BODY: [&str; 3] = ["content-length", "transfer-encoding", "trailer"];

/// Appends a header line; nothing in the value can end it early.
pub fn push_header(out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.as_ref().iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// Whether a request asks for events of our own, by `?events=1` or by the value of [`EVENTS_HEADER`].
pub fn wants_events(target: &str, header: Option<&str>) -> bool {
    let yes = |value: &str| matches!(value.trim(), "1" | "true");
    let query = target.split_once('?').map_or("", |(_, query)| query);
    header.is_some_and(yes)
        || query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .any(|(name, value)| name == "events" && yes(value))
}

/// Whether a name is one of these, in any case.
fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The names that `Connection` lists: headers of this hop only.
fn named_by_connection<'a>(headers: &[httparse::Header<'a>]) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect()
}

/// The first value of a header.
fn find<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// `%41+b` becomes `A b`; what is no escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    crate::routing::decode(text, true).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_leaves_what_is_no_escape() {
        for (text, expected) in
            [("a%2Fb", "a/b"), ("%", "%"), ("%4", "%4"), ("%+1", "% 1"), ("%c3%a4", "ä"), ("%ff", "\u{fffd}")]
        {
            assert_eq!(percent_decode(text), expected);
        }
    }

    #[test]
    fn events_are_asked_for_in_the_query_or_by_a_header() {
        assert!(wants_events("/s/x?a=1&events=1", None) && wants_events("/", Some(" 1")));
        assert!(!wants_events("/?events=0&xevents=1", Some("0")) && !wants_events("/events=1", None));
    }

    #[test]
    fn nothing_in_a_value_ends_its_line() {
        let mut out = Vec::new();
        push_header(&mut out, "X", "a\r\nb: c\0");
        assert_eq!(out, b"X: a  b: c \r\n");
    }
}
