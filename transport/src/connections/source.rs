use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a connection comes from, as far as one party can be held apart from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Option<IpAddr>);

impl Source {
    /// A Unix socket: the clients of one are not told apart.
    pub const LOCAL: Self = Self(None);
}

impl From<IpAddr> for Source {
    /// The holder of an IPv6 address usually has the whole /64 (RFC 6177 §2), which counts as one
    /// source. An IPv4 address is the same source however the socket writes it.
    fn from(address: IpAddr) -> Self {
        Self(Some(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Ipv6Addr::from(network).into()
            }
            v4 => v4,
        }))
    }
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        address.ip().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn spellings_and_networks_are_one_source() {
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_ne!(source("192.0.2.1"), Source::LOCAL);
    }
}
