//! What routing knows of a client: its address and its request head, borrowed.
//!
//! Each source has a namespace of its own ([`super::Field`]), so that a client cannot forge one by another: `?client_ip=`
//! is `query.client_ip` and changes nothing about `client_ip`.

use super::target::Target;
use std::net::{IpAddr, SocketAddr};

/// The headers of a request, wherever they lie. Names and values as the client sent them.
pub trait Headers {
    /// The `index`-th header; none: there are no more.
    fn header(&self, index: usize) -> Option<(&str, &[u8])>;

    /// The first header of that name, in any case, if it is text.
    fn first(&self, name: &str) -> Option<&str> {
        (0..)
            .map_while(|index| self.header(index))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok().map(str::trim))
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn header(&self, index: usize) -> Option<(&str, &[u8])> {
        self.get(index).map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn header(&self, index: usize) -> Option<(&str, &[u8])> {
        self.as_slice().header(index)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const COUNT: usize> Headers for [(N, V); COUNT] {
    fn header(&self, index: usize) -> Option<(&str, &[u8])> {
        self.as_slice().header(index)
    }
}

/// One client's request.
#[derive(Clone)]
pub struct Context<'a> {
    /// Its real address: the socket's, or what trusted proxies say ([`super::TrustedProxies`]); the caller knows which.
    pub client_ip: IpAddr,
    /// The port of the socket.
    pub client_port: u16,
    /// Where it wants to go.
    pub target: Target<'a>,
    /// All its headers.
    pub headers: &'a dyn Headers,
}

impl<'a> Context<'a> {
    /// A request for `target` (`/path?query`) from `client`. An IPv4 address that came in IPv6 clothes is taken as IPv4.
    pub fn new(client: SocketAddr, target: &'a str, headers: &'a dyn Headers) -> Self {
        Self {
            client_ip: client.ip().to_canonical(),
            client_port: client.port(),
            target: Target::parse(target),
            headers,
        }
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers carry credentials.
        f.debug_struct("Context")
            .field("client_ip", &self.client_ip)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_in_any_case_and_the_first_counts() {
        let headers = vec![("X-Tier", " vip "), ("x-tier", "free"), ("Bad", "x")];
        assert_eq!(headers.first("x-TIER"), Some("vip"));
        assert_eq!(headers.first("none"), None);
        let bytes = [("A", [0xff_u8])];
        assert_eq!(bytes.first("a"), None);
        let context = Context::new("[::ffff:10.0.0.1]:9".parse().unwrap(), "/?a=b", &headers);
        assert_eq!(context.client_ip.to_string(), "10.0.0.1");
        assert!(!format!("{context:?}").contains("vip"), "headers stay out of logs");
    }
}
