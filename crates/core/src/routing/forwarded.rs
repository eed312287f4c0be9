//! Whose address a request comes from, when it comes through proxies: `X-Forwarded-For`, believed from trusted peers only.

use super::context::Headers;
use crate::error::FieldError;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Peers whose word on a client's address is believed. By default nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Reads addresses and networks (`10.0.0.0/8`, `::1`), naming each at fault: `trusted_proxies[1]`.
    pub fn parse(field: &str, texts: &[String]) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut networks = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match parse_network(text) {
                Ok(network) => networks.push(network),
                Err(message) => errors.push(FieldError::new(format!("{field}[{index}]"), message)),
            }
        }
        if errors.is_empty() { Ok(Self(networks)) } else { Err(errors) }
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the word of this peer is believed.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// The address of the client behind `peer`.
    ///
    /// Each proxy appends the address that it was called from, so the list is read from its end (several headers are one
    /// list) and the first address that is not trusted is the client: what stands left of it may be made up. An entry that
    /// is no address ends the reading, too; then the client is the last trusted proxy.
    pub fn client_ip(&self, peer: IpAddr, headers: &dyn Headers) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        let lists: Vec<&[u8]> = (0..)
            .map_while(|index| headers.header(index))
            .filter(|(name, _)| name.eq_ignore_ascii_case("x-forwarded-for"))
            .map(|(_, value)| value)
            .collect();
        for value in lists.into_iter().rev() {
            let Ok(list) = std::str::from_utf8(value) else { return client };
            for entry in list.rsplit(',') {
                let Some(address) = parse_entry(entry) else { return client };
                client = address;
                if !self.contains(client) {
                    return client;
                }
            }
        }
        client
    }
}

/// `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:567`, with spaces and quotes around it.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim().trim_matches('"');
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// One address or network. A network of IPv4 addresses in IPv6 clothes is taken as IPv4, as clients are.
pub(super) fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    match network {
        Some(IpNet::V6(v6)) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => ipnet::Ipv4Net::new(v4, v6.prefix_len() - 96)
                .map(IpNet::V4)
                .map_err(|error| error.to_string()),
            None => Ok(IpNet::V6(v6)),
        },
        Some(network) => Ok(network),
        None => Err(format!(
            "{text:?} is not an address or a network; write 192.168.1.0/24, 10.0.0.7 or 2001:db8::/32"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, headers: &[(&str, &str)], expected: &str) {
        let trusted =
            TrustedProxies::parse("t", &["10.0.0.0/8".into(), "::1".into(), "2001:db8::/32".into()]).unwrap();
        let found = trusted.client_ip(peer.parse().unwrap(), &headers.to_vec());
        assert_eq!(found.to_string(), expected, "{peer} {headers:?}");
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        check("9.9.9.9", &[("X-Forwarded-For", "1.1.1.1")], "9.9.9.9");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
        check("::ffff:10.0.0.1", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
        check("::1", &[("x-forwarded-for", "2001:4860::8")], "2001:4860::8");
    }

    #[test]
    fn the_rightmost_untrusted_address_counts() {
        check("10.0.0.1", &[("X-Forwarded-For", "6.6.6.6, 1.1.1.1,10.0.0.2 , 10.0.0.3")], "1.1.1.1");
        check("10.0.0.1", &[("X-Forwarded-For", "10.0.0.4, 10.0.0.5")], "10.0.0.4");
        let two = [("X-Forwarded-For", "6.6.6.6"), ("Host", "a"), ("X-Forwarded-For", "1.1.1.1, 10.0.0.2")];
        check("10.0.0.1", &two, "1.1.1.1");
        check("10.0.0.1", &[("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "10.0.0.9")], "1.1.1.1");
    }

    #[test]
    fn ports_brackets_and_rubbish() {
        for (list, expected) in [
            ("1.1.1.1:8080", "1.1.1.1"),
            ("[2001:4860::8]:443", "2001:4860::8"),
            ("[2001:4860::8]", "2001:4860::8"),
            ("\"[2001:4860::8]:443\"", "2001:4860::8"),
            ("::ffff:1.1.1.1", "1.1.1.1"),
            ("2001:db8::7", "2001:db8::7"),
            ("1.1.1.1, unknown", "10.0.0.1"),
            ("1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("", "10.0.0.1"),
            (",,", "10.0.0.1"),
            ("1.1.1.1, 300.1.1.1", "10.0.0.1"),
            ("<script>", "10.0.0.1"),
        ] {
            check("10.0.0.1", &[("X-Forwarded-For", list)], expected);
        }
        let bytes = vec![("X-Forwarded-For", [0xff_u8])];
        let trusted = TrustedProxies::parse("t", &["0.0.0.0/0".into()]).unwrap();
        assert_eq!(trusted.client_ip([1, 2, 3, 4].into(), &bytes).to_string(), "1.2.3.4");
        assert!(trusted.contains("::ffff:1.2.3.4".parse().unwrap()) && !trusted.is_empty());
        assert!(TrustedProxies::default().is_empty());
    }

    #[test]
    fn networks_at_fault_are_named() {
        let texts = ["10.0.0.0/8".into(), "10.0.0.0/33".into(), "x".into()];
        let errors = TrustedProxies::parse("trusted_proxies", &texts);
        let fields: Vec<_> = errors.unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["trusted_proxies[1]", "trusted_proxies[2]"]);
        assert_eq!(parse_network("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
    }
}
