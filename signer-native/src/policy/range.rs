//! Ranges of addresses.

use super::address;
use std::net::IpAddr;

/// Addresses with a common prefix (RFC 4632 §3.1); one address is a range as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AddressRange {
    base: IpAddr,
    prefix: u32,
}

impl AddressRange {
    /// Reads `192.0.2.0/24` or `2001:db8::/32`. The bits behind the prefix must be zero: an
    /// address with a length beside it is a mistake, most likely.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = text.split_once('/')?;
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (base, mut prefix) = (base.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
        if prefix > width(base) {
            return None;
        }
        let canonical = base.to_canonical();
        if width(canonical) != width(base) {
            // All of the IPv4-mapped addresses, or fewer.
            prefix = u32::checked_sub(prefix, 96)?;
        }
        let range = Self {
            base: canonical,
            prefix,
        };
        (range.masked(canonical) == bits(canonical)).then_some(range)
    }

    /// One address alone.
    pub(super) fn of(address: IpAddr) -> Self {
        let base = address.to_canonical();
        Self {
            base,
            prefix: width(base),
        }
    }

    /// Whether the address is within, in one of its forms.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        address::forms(address).any(|form| self.has(form))
            // A rule for 0.0.0.0 is one for what it leads to.
            || self.is_single() && address::forms(self.base).any(|own| own == address.to_canonical())
    }

    /// Whether addresses of the loopback interface are within.
    pub(super) fn has_loopback(&self) -> bool {
        address::is_loopback(self.base)
            || ["127.0.0.1", "::1"].iter().any(|text| {
                let address = text.parse::<IpAddr>();
                address.is_ok_and(|address| self.has(address))
            })
    }

    /// Whether all of its addresses are link-local.
    pub(super) fn is_link_local(&self) -> bool {
        let least = match self.base {
            IpAddr::V4(_) => 16,
            IpAddr::V6(_) => 10,
        };
        address::is_link_local(self.base) && (self.is_single() || self.prefix >= least)
    }

    fn is_single(&self) -> bool {
        self.prefix == width(self.base)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && self.masked(address) == self.masked(self.base)
    }

    /// The bits of the prefix.
    fn masked(&self, address: IpAddr) -> u128 {
        let behind = width(self.base).saturating_sub(self.prefix);
        let mask = u128::MAX.checked_shl(behind).unwrap_or_default();
        bits(address) & mask
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        let range = AddressRange::parse(range).unwrap();
        range.contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_holds_what_shares_its_prefix() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "192.0.2.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("192.0.2.7/32", "192.0.2.7"));
        assert!(!contains("192.0.2.7/32", "192.0.2.6"));
    }

    #[test]
    fn an_address_is_found_in_each_of_its_forms() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contains("10.0.0.0/8", "64:ff9b::10.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(contains("64:ff9b::/96", "64:ff9b::10.1.2.3"));
        assert!(contains("127.0.0.0/8", "0.0.0.0"));
        assert!(contains("127.0.0.1/32", "::"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0/8",
            "2001:db8::/129",
            "::ffff:0.0.0.0/64",
            "[2001:db8::]/32",
            "a.test/8",
            "/8",
            "10.0.0.0/8/8",
            "10.0.0.0/255.0.0.0",
        ] {
            assert!(AddressRange::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn it_is_known_whether_loopback_is_within() {
        let has = |text: &str| AddressRange::parse(text).unwrap().has_loopback();
        assert!(has("127.0.0.0/8"));
        assert!(has("127.0.0.2/32"));
        assert!(has("0.0.0.0/0"));
        assert!(has("::1/128"));
        assert!(has("::/0"));
        assert!(has("0.0.0.0/32"));
        assert!(!has("10.0.0.0/8"));
        assert!(!has("2001:db8::/32"));
    }

    #[test]
    fn only_a_range_of_link_local_addresses_is_one() {
        let is = |text: &str| AddressRange::parse(text).unwrap().is_link_local();
        assert!(is("169.254.0.0/16"));
        assert!(is("169.254.169.254/32"));
        assert!(is("fe80::/10"));
        assert!(is("fd00:ec2::254/128"));
        assert!(!is("169.254.0.0/15"));
        assert!(!is("0.0.0.0/0"));
        assert!(!is("fe80::/9"));
    }
}
