//! Where a publication comes from, as far as one party can be held apart from another.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The address that a key was published from: an IPv4 address or an IPv6 /64.
///
/// An IPv6 customer usually has a whole /64 (RFC 6177 §2), so it counts as one source. An IPv4
/// address is the same source however the socket writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Arc<str>);

/// What a key is said to come from whose source was not recorded.
const UNKNOWN: &str = "unknown";

impl Source {
    /// All sources that were not recorded count as one.
    pub fn unknown() -> Self {
        Self(UNKNOWN.into())
    }

    /// Its text: `192.0.2.1`, `2001:db8::/64` or `unknown`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The networks it lies in, the widest first, itself last: strangers with many addresses have
    /// them in few networks.
    pub(super) fn groups(&self) -> Vec<Arc<str>> {
        let wider = match parse(&self.0) {
            Some(IpAddr::V4(address)) => [16, 24].map(|bits| network_v4(address, bits)),
            Some(IpAddr::V6(address)) => [32, 48].map(|bits| network_v6(address, bits)),
            None => return vec![Arc::clone(&self.0)],
        };
        let wider = wider.into_iter().map(Arc::from);
        wider.chain([Arc::clone(&self.0)]).collect()
    }

    /// Whether it is this source, or lies in this network: `192.0.0.0/16`, `2001:db8::/32`.
    pub fn lies_in(&self, network: &str) -> bool {
        let network = network
            .parse::<IpAddr>()
            .map_or_else(|_| network.to_owned(), |ip| Self::from(ip).to_string());
        self.groups().iter().any(|group| **group == *network)
    }
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_string().into(),
            IpAddr::V6(address) => network_v6(address, 64).into(),
        })
    }
}

impl From<String> for Source {
    /// As it was written by [`Source::as_str`].
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(source: &str) -> Option<IpAddr> {
    let address = source
        .split_once('/')
        .map_or(source, |(address, _)| address);
    IpAddr::from_str(address).ok()
}

fn network_v4(address: Ipv4Addr, bits: u32) -> String {
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or_default();
    format!("{}/{bits}", Ipv4Addr::from(u32::from(address) & mask))
}

fn network_v6(address: Ipv6Addr, bits: u32) -> String {
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or_default();
    format!("{}/{bits}", Ipv6Addr::from(u128::from(address) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn spellings_and_a_slash_64_are_one_source() {
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn a_source_lies_in_its_networks() {
        let v4 = source("192.0.2.1");
        for network in ["192.0.2.1", "192.0.2.0/24", "192.0.0.0/16"] {
            assert!(v4.lies_in(network), "{network}");
        }
        assert!(!v4.lies_in("192.0.2.2") && !v4.lies_in("192.0.3.0/24"));
        let v6 = source("2001:db8:1:2:3::4");
        for network in [
            "2001:db8:1:2::9",
            "2001:db8:1:2::/64",
            "2001:db8:1::/48",
            "2001:db8::/32",
        ] {
            assert!(v6.lies_in(network), "{network}");
        }
        assert!(Source::unknown().lies_in("unknown"));
        assert_eq!(Source::from(v6.to_string()).groups(), v6.groups());
    }
}
