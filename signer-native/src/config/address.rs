//! `listen_addr`: where a proxy listens.

use envoy::verifier::SocketAddress;
use jwt_core::config::reader::Expected;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};

/// Reads `host:port` or `:port`.
pub(super) fn listen_address(value: &Value) -> Result<SocketAddress, Expected> {
    const EXPECTED: &str = "an address such as \":8080\" or \"127.0.0.1:8080\"";
    let text = value.as_str().ok_or(EXPECTED)?;
    if text.starts_with("unix:") {
        return Err("a TCP address; unix: is not supported yet by this version of jwtproxy".into());
    }
    let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let port: u16 = port.parse().map_err(|_| EXPECTED)?;
    if host.is_empty() {
        return Ok(on_all_addresses(port));
    }
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| format!("{EXPECTED} ({error})"))?;
    let address = found.next().ok_or(EXPECTED)?;
    Ok(SocketAddress {
        ip: address.ip(),
        port,
    })
}

/// `[::]` takes IPv4 connections too, where the machine has IPv6 at all.
pub(super) fn on_all_addresses(port: u16) -> SocketAddress {
    let ip = match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    };
    SocketAddress { ip, port }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_read() {
        let read = |text: &str| listen_address(&json!(text)).unwrap();
        assert_eq!(read("127.0.0.1:8080").to_string(), "127.0.0.1:8080");
        assert_eq!(read("[::1]:0").to_string(), "[::1]:0");
        assert!(read("localhost:80").ip.is_loopback());
        assert!(read(":8080").ip.is_unspecified());
    }

    #[test]
    fn anything_else_is_a_mistake() {
        for text in [
            "",
            "8080",
            "127.0.0.1",
            "127.0.0.1:http",
            ":70000",
            "unix:/run/x",
            "a b:1",
        ] {
            assert!(listen_address(&json!(text)).is_err(), "{text}");
        }
        assert!(listen_address(&json!(8080)).is_err());
    }
}
