//! Which port an instance gets.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// Why there is no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Every port of the range is taken.
    #[error("no free port in {first}-{last} on {host}: widen port_range or free some")]
    NoneFree {
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
        /// On which address.
        host: IpAddr,
    },
}

/// The first port of the range that is not reserved and that `is_free` finds free; `preferred` (the last one it had) first.
pub fn choose(
    range: (u16, u16),
    host: IpAddr,
    preferred: Option<u16>,
    reserved: &BTreeSet<u16>,
    mut is_free: impl FnMut(u16) -> bool,
) -> Result<u16, PortError> {
    let (first, last) = range;
    preferred
        .filter(|port| (first..=last).contains(port))
        .into_iter()
        .chain(first..=last)
        .find(|port| !reserved.contains(port) && is_free(*port))
        .ok_or(PortError::NoneFree { first, last, host })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn first_free_and_the_last_one_had_is_preferred() {
        let check = |preferred, reserved: &[u16], taken: &[u16], expected| {
            let reserved = reserved.iter().copied().collect();
            let port = choose((8081, 8084), HOST, preferred, &reserved, |port| !taken.contains(&port));
            assert_eq!(port.ok(), expected, "{preferred:?} {reserved:?} {taken:?}");
        };
        check(None, &[], &[], Some(8081));
        check(None, &[8081], &[8082], Some(8083));
        check(Some(8084), &[], &[], Some(8084));
        check(Some(8084), &[8084], &[], Some(8081));
        check(Some(9999), &[], &[], Some(8081));
        check(None, &[8081, 8082], &[8083, 8084], None);
        let error = choose((1, 1), HOST, None, &BTreeSet::new(), |_| false).unwrap_err();
        assert_eq!(error.to_string(), "no free port in 1-1 on 127.0.0.1: widen port_range or free some");
    }

    proptest! {
        #[test]
        fn never_reserved_never_taken_and_none_only_if_there_is_none(
            reserved in proptest::collection::btree_set(100u16..120, 0..20),
            taken in proptest::collection::btree_set(100u16..120, 0..20),
            preferred in proptest::option::of(90u16..130),
        ) {
            let port = choose((100, 119), HOST, preferred, &reserved, |port| !taken.contains(&port));
            let free: BTreeSet<u16> = (100..120).filter(|p| !reserved.contains(p) && !taken.contains(p)).collect();
            match port {
                Ok(port) => prop_assert!(free.contains(&port)),
                Err(_) => prop_assert!(free.is_empty()),
            }
        }
    }
}
