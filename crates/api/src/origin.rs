//! Who may ask over TCP: a page of another site must not reach the API, neither directly (`Origin`) nor by giving our
//! address a name of its own (DNS rebinding: `Host`). Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The host of a `Host` header, without its port: an address cannot be rebound, a name can; so there are no names other than
/// `localhost`. It is written as it was understood, so nothing else of the header gets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    Localhost,
    Address(IpAddr),
}

impl HostName {
    /// Reads a `Host` header or the authority of a target.
    pub(crate) fn read(host: &str) -> Option<Self> {
        let name = without_port(host);
        if name.eq_ignore_ascii_case("localhost") {
            return Some(Self::Localhost);
        }
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        bare.parse().ok().map(Self::Address)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Checks the `Host` of a request (and the authority of its target, if it has one) and its `Origin`.
pub(crate) fn check(
    listen: SocketAddr,
    host: Option<&str>,
    authority: Option<&str>,
    origin: Option<&str>,
) -> Result<(), String> {
    let Some(host) = authority.or(host) else {
        return Err("the Host header is missing".to_owned());
    };
    if !is_ours(host, listen) {
        return Err(format!("the Host {host:?} is neither a loopback address nor the one listened on"));
    }
    match origin {
        None => Ok(()),
        Some(origin) if same(origin, host) => Ok(()),
        Some(origin) => Err(format!("pages from {origin:?} may not use this API")),
    }
}

fn is_ours(host: &str, listen: SocketAddr) -> bool {
    let ip = match HostName::read(host) {
        None => return false,
        Some(HostName::Localhost) => return true,
        Some(HostName::Address(ip)) => ip.to_canonical(),
    };
    let own = listen.ip().to_canonical();
    ip.is_loopback() || ip == own || own.is_unspecified()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The last colon of `[::1]` is inside the brackets.
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn same(origin: &str, host: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_addresses_and_pages_are_let_in_and_others_are_not() {
        let allowed = |listen: &str, host, origin| check(listen.parse().unwrap(), host, None, origin).is_ok();
        let local = "127.0.0.1:8080";
        for host in ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]"] {
            assert!(allowed(local, Some(host), None), "{host}");
        }
        for host in [
            "evil.example:8080",
            "10.0.0.5:8080",
            "127.0.0.1.evil.example",
            "",
            "localhost.evil.example",
            "localhost:evil.example",
        ] {
            assert!(!allowed(local, Some(host), None), "{host}");
        }
        assert!(!allowed(local, None, None));
        assert!(allowed("10.0.0.5:8080", Some("10.0.0.5:8080"), None));
        assert!(!allowed("10.0.0.5:8080", Some("10.0.0.6:8080"), None));
        assert!(allowed("0.0.0.0:8080", Some("10.0.0.6:8080"), None));
        assert!(!allowed("0.0.0.0:8080", Some("evil.example:8080"), None));

        let page = |origin| allowed(local, Some("localhost:8080"), Some(origin));
        assert!(page("http://localhost:8080") && page("https://LOCALHOST:8080"));
        for origin in
            ["http://localhost:3000", "http://localhost", "http://evil.example", "null", "file://", ""]
        {
            assert!(!page(origin), "{origin}");
        }
    }

    #[test]
    fn the_target_of_a_request_counts_more_than_its_host() {
        let listen = "127.0.0.1:8080".parse().unwrap();
        assert!(check(listen, Some("localhost"), Some("evil.example"), None).is_err());
        assert!(check(listen, None, Some("localhost:8080"), None).is_ok());
    }
}
