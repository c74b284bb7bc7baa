//! Who sent a request, as far as the registry can know.

use crate::store::Source;
use axum::http::HeaderMap;
use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The source of a request that came over so many proxies of ours, each of which appends the
/// address that it was asked from to `X-Forwarded-For`.
///
/// What stands to the left of the entries of these proxies is the client's own word. Where an
/// entry is missing or no address, the request counts as the nearest known proxy's.
pub(super) fn source(peer: Peer, headers: &HeaderMap, trusted_hops: usize) -> Source {
    let values = headers.get_all("x-forwarded-for").iter();
    let entries: Vec<&str> = values
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .collect();
    let forwarded = entries.iter().rev().map(|entry| parse(entry.trim()));
    let known = forwarded.take(trusted_hops).map_while(|address| address);
    known.last().unwrap_or(peer.0.ip()).into()
}

/// Some proxies write the port too.
fn parse(entry: &str) -> Option<IpAddr> {
    let address = entry.parse().ok();
    address.or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(headers: &[&'static str], trusted_hops: usize) -> String {
        let peer = Peer("192.0.2.1:7".parse().unwrap());
        let mut map = HeaderMap::new();
        for value in headers {
            map.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        source(peer, &map, trusted_hops).to_string()
    }

    #[test]
    fn a_client_cannot_choose_its_source() {
        assert_eq!(of(&["203.0.113.5"], 0), "192.0.2.1");
        assert_eq!(of(&["1.1.1.1, 203.0.113.5"], 1), "203.0.113.5");
        assert_eq!(of(&["1.1.1.1", "203.0.113.5"], 1), "203.0.113.5");
        assert_eq!(of(&["1.1.1.1, 2.2.2.2, 203.0.113.5"], 2), "2.2.2.2");
    }

    #[test]
    fn an_entry_that_is_missing_or_no_address_leaves_the_nearest_proxy() {
        assert_eq!(of(&[], 1), "192.0.2.1");
        assert_eq!(of(&["unknown"], 1), "192.0.2.1");
        assert_eq!(of(&["1.1.1.1, unknown, 203.0.113.5"], 3), "203.0.113.5");
        assert_eq!(of(&["[2001:db8::1]:80"], 1), "2001:db8::/64");
    }
}
