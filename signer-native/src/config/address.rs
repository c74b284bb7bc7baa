//! `listen_addr`: where a proxy listens.

use envoy::verifier::{ListenAddress, SocketAddress, UnixSocket};
use jwt_core::authority::parse_port;
use jwt_core::config::reader::{self, Expected, Section};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};

/// The keys `listen_addr` and `socket_permission`.
pub(super) fn listen(section: &mut Section<'_>, default_port: u16) -> Option<ListenAddress> {
    let mode = section
        .field("socket_permission")
        .or(0o755, socket_permission);
    let field = section.field("listen_addr");
    let default = ListenAddress::Tcp(on_all_addresses(default_port));
    // A wrong mode is named already; the address may be wrong as well.
    let address = field.or(default, |value| any_address(value, mode.unwrap_or(0o755)));
    mode.and(address)
}

/// Reads what [`listen_address`] reads, or `unix:` and a path.
fn any_address(value: &Value, mode: u32) -> Result<ListenAddress, Expected> {
    match value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        Some(path) => UnixSocket::new(&*shellexpand::tilde(path), mode)
            .map(ListenAddress::Unix)
            .map_err(|error| error.to_string()),
        None => listen_address(value).map(ListenAddress::Tcp),
    }
}

/// Permission bits. Without any, nobody could connect.
fn socket_permission(value: &Value) -> Result<u32, Expected> {
    let bits = reader::integer(1..=0o777)(value);
    bits.map_err(|_| "the permissions of a socket, such as 0755".into())
}

/// Reads `host:port` or `:port`.
pub(super) fn listen_address(value: &Value) -> Result<SocketAddress, Expected> {
    const EXPECTED: &str = "an address such as \":8080\" or \"127.0.0.1:8080\"";
    let text = value.as_str().ok_or(EXPECTED)?;
    if text.starts_with("unix:") {
        return Err("a TCP address, not that of a unix socket".into());
    }
    let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let port = parse_port(port).ok_or(EXPECTED)?;
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
    fn sockets_have_a_path_and_a_mode() {
        let read = |tree: Value| reader::read("", &tree, |section| listen(section, 8081));
        let address = read(json!({"listen_addr": "unix:/run/x", "socket_permission": 0o600}));
        let expected = UnixSocket::new("/run/x", 0o600).unwrap();
        assert_eq!(address.unwrap(), ListenAddress::Unix(expected));
        for tree in [
            json!({"listen_addr": "unix:"}),
            json!({"listen_addr": "unix:/run/x", "socket_permission": 0}),
            json!({"listen_addr": "unix:/run/x", "socket_permission": 0o1755}),
            json!({"listen_addr": "unix:/run/x", "socket_permission": "rwx"}),
        ] {
            assert!(read(tree.clone()).is_err(), "{tree}");
        }
    }

    #[test]
    fn anything_else_is_a_mistake() {
        for text in [
            "",
            "8080",
            "127.0.0.1",
            "127.0.0.1:http",
            ":70000",
            ":+8080",
            "127.0.0.1:+8080",
            "[0:0]:8080",
            "unix:/run/x",
            "a b:1",
        ] {
            assert!(listen_address(&json!(text)).is_err(), "{text}");
        }
        assert!(listen_address(&json!(8080)).is_err());
    }
}
