//! Hosts and the rules about them.

use crate::two_lines;
use signer_native::policy::{Host, HostPattern};
use std::net::IpAddr;

/// Two lines: a host as a rule names it, and one as a client writes it. A rule cannot be evaded
/// with another spelling of the same server.
pub fn hosts(data: &[u8]) {
    let Some((rule, written)) = two_lines(data) else {
        return;
    };
    let pattern = HostPattern::parse(rule);
    let Some(host) = Host::parse(written) else {
        return;
    };
    assert_eq!(Host::parse(&host.to_string()).as_ref(), Some(&host));
    if let Some(other) = Host::parse(rule) {
        let is_same = for_browsers(rule) == for_browsers(written);
        assert_eq!(host == other, is_same, "{host} {other}");
        let pattern = pattern.as_ref().expect("a host is a pattern");
        assert!(host != other || pattern.matches(&host));
    }
    let Some(pattern) = pattern else { return };
    if let Some(parent) = rule.strip_prefix("*.") {
        let parent = Host::parse(parent).expect("a name").to_string();
        let is_below = host.to_string().ends_with(&format!(".{parent}"));
        assert_eq!(pattern.matches(&host), host.address().is_none() && is_below);
    }
    if let (Some((base, length)), Some(address)) = (rule.split_once('/'), host.address()) {
        let base: IpAddr = base.parse().expect("a range begins with an address");
        let length: u32 = length.parse().expect("a range has a length");
        assert!(!is_within(address, base, length) || pattern.matches(&host));
    }
}

/// The host that browsers go to, in one form: they know that the root's dot makes no difference,
/// and the IPv4 addresses within IPv6, only when they ask for them.
fn for_browsers(host: &str) -> Option<String> {
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = inside.unwrap_or(host).parse::<IpAddr>() {
        return Some(address.to_canonical().to_string());
    }
    let url = url::Url::parse(&format!("http://{host}/"));
    let Ok(url) = url else {
        // No host for browsers: as it is.
        let host = host.strip_suffix('.').unwrap_or(host);
        return Some(host.to_ascii_lowercase());
    };
    let host = url.host_str()?;
    Some(host.strip_suffix('.').unwrap_or(host).to_owned())
}

/// As written, both of one family.
fn is_within(address: IpAddr, base: IpAddr, length: u32) -> bool {
    let bits = |address| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    };
    let ((address, address_is_v4), (base, base_is_v4)) = (bits(address), bits(base));
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    address_is_v4 == base_is_v4 && address & mask == base & mask
}
