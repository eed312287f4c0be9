//! What a request target (`/path?query`) says about where its client wants to go, and the decoding of its parts.

use super::strategy::Strategy;
use std::borrow::Cow;

/// Query names that are ours: the relay removes them from what the agent sees.
pub const OWN_QUERY_NAMES: &[&str] = &["service", "session_id", "tag", "routing_hint"];

/// A request target, read once. Values are percent-decoded; they are borrowed where nothing had to be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The query as it was sent, without `?`.
    pub query: &'a str,
    /// The service it names: `/s/<name>/…` in the path, else the first `?service=`.
    pub service: Option<Cow<'a, str>>,
    /// The conversation it goes on with: `?session_id=`.
    pub session_id: Option<Cow<'a, str>>,
    /// Whether it has a `?tag=`; [`Target::tags`] are all of them.
    pub has_tags: bool,
    /// `?routing_hint=`, if it names a strategy.
    pub hint: Option<Strategy>,
}

impl<'a> Target<'a> {
    /// Reads a request target. An empty value is as good as none.
    pub fn parse(target: &'a str) -> Self {
        let target = without_authority(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let in_path = path
            .strip_prefix("/s/")
            .map(|rest| rest.split('/').next().unwrap_or(rest))
            .filter(|name| !name.is_empty())
            .map(|name| decode(name, false));
        let mut parsed = Self { path, query, service: in_path, ..Self::default() };
        for (name, value) in pairs(query) {
            if value.is_empty() {
                continue;
            }
            match &*decode(name, true) {
                "service" if parsed.service.is_none() => parsed.service = Some(decode(value, true)),
                "session_id" if parsed.session_id.is_none() => parsed.session_id = Some(decode(value, true)),
                "routing_hint" if parsed.hint.is_none() => parsed.hint = decode(value, true).parse().ok(),
                "tag" => parsed.has_tags = true,
                _ => {}
            }
        }
        parsed
    }

    /// The values of `?tag=`, in the order they were sent.
    pub fn tags(&self) -> impl Iterator<Item = Cow<'a, str>> + Clone + use<'a> {
        let query = if self.has_tags { self.query } else { "" };
        pairs(query)
            .filter(|(name, value)| !value.is_empty() && decode(name, true) == "tag")
            .map(|(_, value)| decode(value, true))
    }
}

/// The path of an absolute target (`http://host/path`), as a client of a forward proxy sends it.
fn without_authority(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    match target.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// The pairs of a query; a name without `=` has an empty value. Not decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> + Clone {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes `%41`, and in a query `+` as a space. What is no valid escape stays as it is; bytes that are no UTF-8 become �.
pub(crate) fn decode(text: &str, in_query: bool) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || in_query && byte == b'+') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match (*byte, tail) {
            (b'+', _) if in_query => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => byte,
        });
    }
    Cow::Owned(
        String::from_utf8(decoded)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_in_the_path_or_in_the_query() {
        for (target, service) in [
            ("/", None),
            ("/chat?x=1", None),
            ("/s/", None),
            ("/s/weather", Some("weather")),
            ("/s/weather?x", Some("weather")),
            ("/s/weather/ws?service=other", Some("weather")),
            ("/s/w%65ather/", Some("weather")),
            ("/ws?a=b&service=weather", Some("weather")),
            ("/ws?service=weather&service=other", Some("weather")),
            ("/ws?serv%69ce=we%61ther", Some("weather")),
            ("http://host:1/s/weather/x", Some("weather")),
            ("http://host?service=weather", Some("weather")),
            ("http://host", None),
            ("/?service=", None),
            ("/?service", None),
            ("/sx/weather", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(target).service.as_deref(), service, "{target}");
        }
    }

    #[test]
    fn session_tags_and_hint_are_in_the_query() {
        let target = Target::parse("/x?tag=a&session_id=1+2&tag=&t%61g=b%2Cc&routing_hint=hash_based&tag");
        assert_eq!(target.session_id.as_deref(), Some("1 2"));
        assert_eq!(target.tags().collect::<Vec<_>>(), ["a", "b,c"]);
        assert_eq!(target.hint, Some(Strategy::HashBased));
        let none = Target::parse("/x?routing_hint=fastest&tag=&session_id=");
        assert_eq!((none.hint, none.has_tags, none.session_id.clone()), (None, false, None));
        assert_eq!(none.tags().count(), 0);
        assert_eq!((none.path, none.query), ("/x", "routing_hint=fastest&tag=&session_id="));
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("a+b%20c", "a b c"),
            ("%C3%A9", "é"),
            ("%c3", "\u{fffd}"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%2541", "%41"),
            ("%00", "\0"),
        ] {
            assert_eq!(decode(text, true), expected, "{text}");
        }
        assert_eq!(decode("a+b", false), "a+b");
        assert!(matches!(decode("a-b", true), Cow::Borrowed(_)));
    }
}
