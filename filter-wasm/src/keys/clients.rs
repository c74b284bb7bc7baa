//! Where requests come from, as far as key fetches are shared by it.

#[cfg(test)]
use std::net::Ipv4Addr;
use std::net::{IpAddr, SocketAddr};

/// Tells who sends the request that is being decided.
pub trait Clients {
    /// The address of the client, as Envoy writes it: with the port, or the path of a socket. It
    /// is asked for only where it matters, since the host takes its time.
    fn address(&self) -> Option<Vec<u8>>;
}

/// Clients without an address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Clients for Anonymous {
    fn address(&self) -> Option<Vec<u8>> {
        None
    }
}

/// A source of requests: an IPv4 address or a /64 of IPv6, which one client may have as a whole.
/// All others, behind a unix socket for example, are one.
pub(super) fn source(clients: &dyn Clients) -> String {
    let address = clients.address().unwrap_or_default();
    let address: Option<SocketAddr> = str::from_utf8(&address)
        .ok()
        .and_then(|address| address.parse().ok());
    match address.map(|address| address.ip().to_canonical()) {
        None => String::new(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

/// Clients at one IPv4 address, for tests.
#[cfg(test)]
impl Clients for Ipv4Addr {
    fn address(&self) -> Option<Vec<u8>> {
        Some(format!("{self}:1234").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(&'static str);

    impl Clients for At {
        fn address(&self) -> Option<Vec<u8>> {
            Some(self.0.into())
        }
    }

    #[test]
    fn ports_and_the_lower_half_of_ipv6_do_not_count() {
        for (one, other, same) in [
            ("10.0.0.1:1", "10.0.0.1:2", true),
            ("10.0.0.1:1", "10.0.0.2:1", false),
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:2", true),
            ("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false),
            ("[::ffff:10.0.0.1]:1", "10.0.0.1:2", true),
            ("/run/socket", "", true),
            ("/run/socket", "10.0.0.1:1", false),
        ] {
            assert_eq!(
                source(&At(one)) == source(&At(other)),
                same,
                "{one} {other}"
            );
        }
    }
}
