//! Addresses: in which forms one can be written, and which places they lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The loopback interface, for what connects to the unspecified address.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// An address, and the IPv4 address that a gateway or this machine makes of it.
///
/// A rule for `10.0.0.1` must hold for `64:ff9b::10.0.0.1` too, which a NAT64 gateway (RFC 6052)
/// translates; connecting to the unspecified address leads to the loopback interface.
pub(super) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let embedded = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
    };
    let given = [Some(address), embedded];
    let unspecified = given.iter().flatten().any(IpAddr::is_unspecified);
    let loopback = LOOPBACK.map(|address| unspecified.then_some(address));
    given.into_iter().chain(loopback).flatten()
}

/// Whether it is one of the loopback interface, in any form.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    forms(address).any(|form| form.is_loopback())
}

/// Whether it is link-local, where clouds serve credentials to each process of a machine, in any
/// form. Some clouds serve them, or what leads to them, at other addresses as well.
pub fn is_link_local(address: IpAddr) -> bool {
    // Alibaba Cloud, Oracle Cloud, Azure (WireServer); AWS and Google Cloud in IPv6.
    const METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    const METADATA_V6: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    forms(address).any(|form| match form {
        IpAddr::V4(form) => form.is_link_local() || METADATA.contains(&form),
        IpAddr::V6(form) => form.is_unicast_link_local() || METADATA_V6.contains(&form),
    })
}

/// The IPv4 address within NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056) and the IPv4-compatible
/// addresses of old (RFC 4291 §2.5.5.1).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(of_segments(g, h)),
        (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, _, _, _) => Some(of_segments(g, h)),
        (0x2002, ..) => Some(of_segments(b, c)),
        _ => None,
    }
}

fn of_segments(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let forms = forms(text.parse().unwrap());
        forms.map(|form| form.to_string()).collect()
    }

    #[test]
    fn an_ipv4_address_is_found_within_ipv6() {
        assert_eq!(all("10.0.0.1"), ["10.0.0.1"]);
        assert_eq!(all("::ffff:10.0.0.1"), ["10.0.0.1"]);
        for text in [
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::a00:1",
            "::10.0.0.1",
            "2002:a00:1::5",
        ] {
            assert_eq!(all(text).last().unwrap(), "10.0.0.1", "{text}");
            assert_eq!(all(text).len(), 2, "{text}");
        }
        assert_eq!(all("2001:db8::1"), ["2001:db8::1"]);
        assert_eq!(all("::1"), ["::1"]);
    }

    #[test]
    fn the_unspecified_address_leads_to_loopback() {
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::"] {
            assert!(is_loopback(text.parse().unwrap()), "{text}");
            assert!(all(text).contains(&"127.0.0.1".into()), "{text}");
            assert!(all(text).contains(&"::1".into()), "{text}");
        }
        for text in ["127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(is_loopback(text.parse().unwrap()), "{text}");
        }
        assert!(!is_loopback("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn link_local_addresses_are_known_in_each_form() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::ffff:168.63.129.16",
            "64:ff9b::100.100.100.200",
        ] {
            assert!(is_link_local(text.parse().unwrap()), "{text}");
        }
        for text in [
            "100.100.100.201",
            "169.253.0.1",
            "fec0::1",
            "fd00:ec2::253",
            "127.0.0.1",
        ] {
            assert!(!is_link_local(text.parse().unwrap()), "{text}");
        }
    }
}
