//! Who is connected from where, as far as a limit per client address needs it.

use crate::ids::ConnectionId;
use std::net::{IpAddr, Ipv6Addr};

/// Counts open connections by the address of the client. The front door adds what it hands over, reports of runners confirm
/// it and tell the ends.
pub trait OpenClients {
    /// Open connections of clients that count as this one.
    fn count_of(&self, client: IpAddr) -> u32;

    /// A client's connection was handed over.
    fn handed_over(&self, id: ConnectionId, client: IpAddr);

    /// It was given back.
    fn given_back(&self, id: ConnectionId);
}

/// Nobody is counted.
impl OpenClients for () {
    fn count_of(&self, _client: IpAddr) -> u32 {
        0
    }
    fn handed_over(&self, _id: ConnectionId, _client: IpAddr) {}
    fn given_back(&self, _id: ConnectionId) {}
}

/// The address that a client counts by: of an IPv6 address its first 64 bits, because a client may have all of the others.
pub fn counts_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::from(u64::MAX) << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_counts_by_its_network() {
        for (client, expected) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(counts_as(client.parse().unwrap()).to_string(), expected);
        }
        assert_eq!(().count_of(Ipv6Addr::LOCALHOST.into()), 0);
    }
}
