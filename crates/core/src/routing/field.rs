//! The names by which rules speak of a request.

use std::fmt;

/// Longest name of a field, bytes.
const MAX_NAME: usize = 256;

/// What part of a request a condition looks at. Each source is a namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `client_ip`: the client's address.
    ClientIp,
    /// `client_port`.
    ClientPort,
    /// `user_agent`: the header of that name.
    UserAgent,
    /// `path`: as sent, without the query.
    Path,
    /// `host`: the header of that name, without the port, in lower case.
    Host,
    /// `session_id`: `?session_id=`.
    SessionId,
    /// `service`: `/s/<name>/` or `?service=`.
    Service,
    /// `tag`: the first `?tag=`.
    Tag,
    /// `header.<name>`, the name in any case (kept in lower case): the first header of that name.
    Header(Box<str>),
    /// `query.<name>`: the first of that name, decoded.
    Query(Box<str>),
    /// `cookie.<name>`: the first of that name, as sent.
    Cookie(Box<str>),
    /// Any other name: the header, else the query parameter. Built-in names cannot be reached this way.
    Bare(Box<str>),
}

/// Names without a namespace before them.
const BUILT_IN: [(&str, Field); 8] = [
    ("client_ip", Field::ClientIp),
    ("client_port", Field::ClientPort),
    ("user_agent", Field::UserAgent),
    ("path", Field::Path),
    ("host", Field::Host),
    ("session_id", Field::SessionId),
    ("service", Field::Service),
    ("tag", Field::Tag),
];

impl Field {
    /// Reads a name. Errors: it is empty, too long, or has spaces or control characters.
    pub fn parse(name: &str) -> Result<Self, String> {
        let name = name.trim();
        if name.is_empty() {
            return Err("is empty; name a field, e.g. user_agent, header.x-tier, query.lang or cookie.plan"
                .to_owned());
        }
        if name.len() > MAX_NAME {
            return Err(format!("is longer than {MAX_NAME} bytes"));
        }
        if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("{name:?} has spaces or control characters, which no field name has"));
        }
        if let Some((_, field)) = BUILT_IN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Ok(field.clone());
        }
        let (space, rest) = name.split_once('.').unwrap_or((name, ""));
        let is = |expected: &str| space.eq_ignore_ascii_case(expected) && name.len() > space.len();
        if (is("header") || is("query") || is("cookie")) && rest.is_empty() {
            return Err(format!("{name:?} lacks the name behind the dot, e.g. header.x-tier"));
        }
        Ok(if is("header") {
            Self::Header(rest.to_ascii_lowercase().into())
        } else if is("query") {
            Self::Query(rest.into())
        } else if is("cookie") {
            Self::Cookie(rest.into())
        } else {
            Self::Bare(name.into())
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Bare(name) => f.write_str(name),
            built_in => {
                let name = BUILT_IN.iter().find(|(_, field)| field == built_in).map_or("", |(name, _)| *name);
                f.write_str(name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (name, expected) in [
            ("client_ip", Field::ClientIp),
            ("Client_IP", Field::ClientIp),
            ("header.X-Tier", Field::Header("x-tier".into())),
            ("HEADER.x-tier", Field::Header("x-tier".into())),
            ("query.Lang", Field::Query("Lang".into())),
            ("query.a.b", Field::Query("a.b".into())),
            ("cookie.plan", Field::Cookie("plan".into())),
            ("query.client_ip", Field::Query("client_ip".into())),
            ("X-User-Tier", Field::Bare("X-User-Tier".into())),
            ("header", Field::Bare("header".into())),
            ("a.b", Field::Bare("a.b".into())),
        ] {
            let field = Field::parse(name).unwrap();
            assert_eq!(field, expected, "{name}");
            assert_eq!(Field::parse(&field.to_string()).unwrap(), field, "{name}");
        }
        for (known, field) in BUILT_IN {
            assert_eq!(field.to_string(), known);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (name, part) in [
            ("", "is empty"),
            ("  ", "is empty"),
            ("header.", "behind the dot"),
            ("query.", "behind the dot"),
            ("a b", "has spaces"),
            ("a\0", "control"),
            (&"x".repeat(300), "longer than 256"),
        ] {
            let error = Field::parse(name).unwrap_err();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}
