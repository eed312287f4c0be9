//! Which web pages may connect: a browser tells in `Origin` where the page came from that opens a WebSocket.
//!
//! Without this check any page that a user visits could talk to the agents on that user's machine.

use std::net::Ipv4Addr;

/// Whether a page of this origin may connect. `allowed` are further origins, or `*`.
pub fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    let listed = |entry: &String| {
        entry == "*" || entry.trim_end_matches('/').eq_ignore_ascii_case(origin.trim_end_matches('/'))
    };
    is_loopback(origin) || allowed.iter().any(listed)
}

fn is_loopback(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return false;
    }
    let host = match authority.rsplit_once(':') {
        // The colons inside the brackets of an IPv6 address are not followed by a port.
        Some((host, port)) if !port.ends_with(']') => {
            if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return false;
            }
            host
        }
        _ => authority,
    };
    host.eq_ignore_ascii_case("localhost")
        || host.len() > 10 && host.is_char_boundary(host.len() - 10) && {
            let (label, end) = host.split_at(host.len() - 10);
            end.eq_ignore_ascii_case(".localhost")
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
        || host == "[::1]"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_and_listed_ones_may_connect() {
        let none: &[String] = &[];
        for origin in [
            "http://localhost",
            "https://LOCALHOST:8443",
            "http://app.localhost:3000",
            "http://127.0.0.1:5173",
            "http://127.1.2.3",
            "http://[::1]",
            "https://[::1]:8080",
        ] {
            assert!(is_allowed(origin, none), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://",
            "http://example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "http://example.org/.localhost",
            "http://evil@localhost",
            "http://localhost:80@example.org",
            "http://localhost:",
            "http://128.0.0.1",
            "http://[::2]",
            "file://localhost",
            "ftp://127.0.0.1",
        ] {
            assert!(!is_allowed(origin, none), "{origin}");
        }
        let listed = ["https://app.example.org".to_owned()];
        assert!(is_allowed("https://APP.example.org", &listed));
        assert!(!is_allowed("http://app.example.org", &listed));
        assert!(!is_allowed("https://app.example.org.evil", &listed));
        assert!(is_allowed("null", &["*".to_owned()]));
    }
}
