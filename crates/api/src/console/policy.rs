//! What a browser lets a page of the console do: run our scripts, talk to this API and to the front door, and nothing else. Pure.

use crate::origin::HostName;
use std::net::{IpAddr, SocketAddr};

/// More listeners of the front door than this are not named: a header has an end.
const MAX_LISTENERS: usize = 16;

/// What a page needs no device for.
pub(super) const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), usb=()";

/// The content security policy of a page, for the host by which its reader calls us. The page may open WebSockets to the
/// front door's `proxies`, to try out agents.
///
/// Charts write style attributes into their tooltips, which is why these are allowed; `<style>` elements and inline scripts are
/// not. (Browsers without `style-src-attr` forbid both.)
///
/// A policy cannot name an IPv6 address: browsers leave such an entry out. Who calls us by one, and so has to call the front door
/// by one, may open any WebSocket.
pub(super) fn content_security(host: Option<&HostName>, proxies: &[SocketAddr]) -> String {
    let mut connect = vec!["'self'".to_owned()];
    for proxy in proxies.iter().take(MAX_LISTENERS) {
        let by_host = match host {
            Some(HostName::Address(IpAddr::V6(_))) => proxy.is_ipv6().then(|| "ws:".to_owned()),
            Some(host) => Some(format!("ws://{host}:{}", proxy.port())),
            None => None,
        };
        let has_name = proxy.is_ipv4() && !proxy.ip().is_unspecified();
        let by_address = has_name.then(|| format!("ws://{proxy}"));
        for origin in by_host.into_iter().chain(by_address) {
            if !connect.contains(&origin) {
                connect.push(origin);
            }
        }
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src {}; manifest-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
        connect.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of one directive.
    fn sources<'a>(policy: &'a str, directive: &str) -> Vec<&'a str> {
        let found = policy.split("; ").find_map(|entry| entry.strip_prefix(directive)?.strip_prefix(' '));
        found.unwrap_or_default().split(' ').collect()
    }

    #[test]
    fn a_page_may_talk_to_the_front_door_by_each_of_its_names() {
        let check = |host: &str, proxies: &[&str], expected: &[&str]| {
            let proxies: Vec<SocketAddr> = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
            let policy = content_security(HostName::read(host).as_ref(), &proxies);
            let found = sources(&policy, "connect-src");
            assert_eq!(found[0], "'self'");
            assert_eq!(&found[1..], expected, "{host}");
        };
        check("localhost:8080", &[], &[]);
        check("127.0.0.1:8080", &["127.0.0.1:9090"], &["ws://127.0.0.1:9090"]);
        check("LOCALHOST:8080", &["127.0.0.1:9090"], &["ws://localhost:9090", "ws://127.0.0.1:9090"]);
        check("10.0.0.5", &["0.0.0.0:9090", "[::]:9091"], &["ws://10.0.0.5:9090", "ws://10.0.0.5:9091"]);
        check("localhost:8080", &["[::1]:9090"], &["ws://localhost:9090"]);
        check("[::1]:8080", &["[::]:9090", "[::1]:9091"], &["ws:"]);
        check("[::1]:8080", &["127.0.0.1:9090"], &["ws://127.0.0.1:9090"]);
        check("a.example; script-src *", &["127.0.0.1:9090", "0.0.0.0:1"], &["ws://127.0.0.1:9090"]);
        let many: Vec<String> = (1..100).map(|port| format!("127.0.0.1:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let first: Vec<String> = many.iter().take(MAX_LISTENERS).map(|one| format!("ws://{one}")).collect();
        check("127.0.0.1", &many, &first.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn scripts_and_style_elements_come_from_files_of_ours_only() {
        let policy = content_security(HostName::read("localhost").as_ref(), &[]);
        assert_eq!(sources(&policy, "default-src"), ["'none'"]);
        for directive in ["script-src", "style-src", "font-src", "manifest-src", "form-action"] {
            assert_eq!(sources(&policy, directive), ["'self'"], "{directive}");
        }
        assert_eq!(sources(&policy, "style-src-attr"), ["'unsafe-inline'"]);
        assert_eq!(policy.matches("unsafe").count(), 1, "{policy}");
        assert_eq!(sources(&policy, "img-src"), ["'self'", "data:"]);
        assert_eq!(sources(&policy, "base-uri"), ["'none'"]);
        assert_eq!(sources(&policy, "frame-ancestors"), ["'none'"]);
    }
}
