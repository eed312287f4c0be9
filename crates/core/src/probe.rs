//! How readiness is found out: the `ready` setting.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What must succeed before an instance gets clients. Written `ws`, `ws:/path`, `tcp`, `http:/path` or `log:REGEX`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ready {
    /// A WebSocket handshake on a path (default: the service's own path).
    Ws(Option<String>),
    /// A TCP connection.
    Tcp,
    /// An HTTP GET that answers 2xx or 3xx.
    Http(String),
    /// A line of output that matches.
    Log(String),
}

impl FromStr for Ready {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        match (kind, rest) {
            ("ws", None) => Ok(Self::Ws(None)),
            ("ws", Some(path)) if path.starts_with('/') => Ok(Self::Ws(Some(path.to_owned()))),
            ("tcp", None) => Ok(Self::Tcp),
            ("http", Some(path)) if path.starts_with('/') => Ok(Self::Http(path.to_owned())),
            ("log", Some(pattern)) if !pattern.is_empty() => match compile(pattern) {
                Ok(_) => Ok(Self::Log(pattern.to_owned())),
                Err(fault) => Err(format!("the pattern of log: {fault}")),
            },
            _ => Err(format!("{text:?} is not one of ws, ws:/path, tcp, http:/path, log:REGEX")),
        }
    }
}

/// Compiles a pattern that a person typed; the error is one line that reads after the name of the field.
pub fn compile(pattern: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(pattern).map_err(|error| {
        // The first lines draw the pattern with a mark below it; the last says what is wrong.
        let text = error.to_string();
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let fault = last.strip_prefix("error: ").unwrap_or(last);
        format!("{pattern:?} is not a regular expression: {fault}")
    })
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ws(None) => f.write_str("ws"),
            Self::Ws(Some(path)) => write!(f, "ws:{path}"),
            Self::Tcp => f.write_str("tcp"),
            Self::Http(path) => write!(f, "http:{path}"),
            Self::Log(pattern) => write!(f, "log:{pattern}"),
        }
    }
}

impl TryFrom<String> for Ready {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Ready> for String {
    fn from(ready: Ready) -> Self {
        ready.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_back_as_written() {
        for text in ["ws", "ws:/chat", "tcp", "http:/healthz", "log:listening on \\d+"] {
            assert_eq!(text.parse::<Ready>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_choices() {
        for text in ["", "udp", "ws:chat", "http", "http:x", "log:", "log:(", "tcp:1"] {
            let error = text.parse::<Ready>().unwrap_err();
            assert!(error.contains("ws") || error.contains("regular expression"), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
