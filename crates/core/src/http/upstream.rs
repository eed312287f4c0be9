//! Where an agent is.

use crate::service::Endpoint;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A process of ours.
    Local {
        /// Its listener.
        addr: SocketAddr,
        /// Path of its WebSocket.
        path: String,
    },
    /// Somebody else's.
    External {
        /// Its URL.
        endpoint: Endpoint,
    },
}

impl Upstream {
    /// An agent of ours that listens there. Errors: the host is no address.
    pub fn local(host: &str, port: u16, path: impl Into<String>) -> Result<Self, String> {
        Ok(Self::Local { addr: reachable(listener(host, port)?), path: path.into() })
    }

    /// Host and port, for messages.
    pub fn address(&self) -> String {
        match self {
            Self::Local { addr, .. } => addr.to_string(),
            Self::External { endpoint } => endpoint.authority(),
        }
    }

    /// Path (and query) of its WebSocket.
    pub fn path(&self) -> &str {
        match self {
            Self::Local { path, .. } => path,
            Self::External { endpoint } => &endpoint.path,
        }
    }

    /// What plain requests are relative to: the folder that its WebSocket is in, so that an agent whose socket is at `/ws` has
    /// its other pages beside it. A query stays, because a token may be in it.
    pub fn folder(&self) -> String {
        let (path, query) = match self.path().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path(), None),
        };
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        query.map_or_else(|| folder.to_owned(), |query| format!("{folder}?{query}"))
    }

    /// The `Host` that it wants; none: the client's own.
    pub fn host(&self) -> Option<String> {
        let Self::External { endpoint } = self else { return None };
        let authority = endpoint.authority();
        if endpoint.port == if endpoint.tls { 443 } else { 80 } {
            return Some(authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).to_owned());
        }
        Some(authority)
    }
}

/// The address that an agent listens on. The validation of services lets nothing but addresses and `localhost` pass.
pub fn listener(host: &str, port: u16) -> Result<SocketAddr, String> {
    let ip = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => host.parse().map_err(|_| format!("host {host:?} is not an IP address or localhost"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

/// Who listens on every address is reached on the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_reached_nearby() {
        for (host, address) in [
            ("localhost", "127.0.0.1:7"),
            ("0.0.0.0", "127.0.0.1:7"),
            ("::", "[::1]:7"),
            ("192.0.2.1", "192.0.2.1:7"),
        ] {
            assert_eq!(Upstream::local(host, 7, "/").unwrap().address(), address);
        }
        assert!(Upstream::local("example.org", 7, "/").is_err());
        assert_eq!(Upstream::local("::1", 7, "/").unwrap().host(), None);
    }

    #[test]
    fn plain_requests_are_relative_to_the_folder_of_the_socket() {
        for (url, folder, host) in [
            ("ws://a", "/", "a"),
            ("ws://a:81/ws", "/", "a:81"),
            ("wss://a/one/ws?token=t", "/one/?token=t", "a"),
            ("ws://[::1]:80/one/", "/one/", "[::1]"),
            ("wss://a:80/?x=/y", "/?x=/y", "a:80"),
        ] {
            let upstream = Upstream::External { endpoint: Endpoint::parse(url).unwrap() };
            assert_eq!(
                (upstream.folder().as_str(), upstream.host().as_deref()),
                (folder, Some(host)),
                "{url}"
            );
        }
    }
}
