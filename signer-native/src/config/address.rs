//! `listen_addr`: where a proxy listens.

use envoy::verifier::{ListenAddress, SocketAddress, UnixSocket};
use jwt_core::authority::parse_port;
use jwt_core::config::reader::{self, Expected, Section};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};

/// The keys `listen_addr` and `socket_permission`.
pub(super) fn listen(section: &mut Section<'_>, default_port: u16) -> Option<ListenAddress> {
    let default = ListenAddress::Tcp(on_all_addresses(default_port));
    listen_as(section, default, any_address)
}

/// The same where the address may be written as a URL, whose scheme is the second value.
pub(super) fn listen_or_url(
    section: &mut Section<'_>,
    default_port: u16,
) -> Option<(ListenAddress, Option<Scheme>)> {
    let default = ListenAddress::Tcp(on_all_addresses(default_port));
    listen_as(section, (default, None), |value, mode| {
        match value.as_str().and_then(scheme) {
            Some((scheme, rest)) => Ok((url_address(scheme, rest)?, Some(scheme))),
            None => Ok((any_address(value, mode)?, None)),
        }
    })
}

fn listen_as<T>(
    section: &mut Section<'_>,
    default: T,
    read: impl FnOnce(&Value, u32) -> Result<T, Expected>,
) -> Option<T> {
    let mode = section
        .field("socket_permission")
        .or(0o755, socket_permission);
    let field = section.field("listen_addr");
    // A wrong mode is named already; the address may be wrong as well.
    let address = field.or(default, |value| read(value, mode.unwrap_or(0o755)));
    mode.and(address)
}

/// What a URL says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// RFC 3986 §3.1: schemes are case-insensitive.
fn scheme(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some((Scheme::Http, rest)),
        "https" => Some((Scheme::Https, rest)),
        _ => None,
    }
}

/// The address in what follows the scheme: host and port, or the scheme's own port.
fn url_address(scheme: Scheme, rest: &str) -> Result<ListenAddress, Expected> {
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err("the URL of a host and a port alone, such as http://localhost:8081".into());
    }
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let port = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let port = if has_port { "" } else { port };
    listen_address(&Value::String(format!("{authority}{port}"))).map(ListenAddress::Tcp)
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
    fn a_url_is_an_address_where_it_may_be_one() {
        let read = |text: &str| {
            let tree = json!({"listen_addr": text});
            reader::read("", &tree, |section| listen_or_url(section, 8081))
        };
        for (text, address, scheme) in [
            ("http://127.0.0.1:8081", "127.0.0.1:8081", Scheme::Http),
            ("http://127.0.0.1:8081/", "127.0.0.1:8081", Scheme::Http),
            ("HTTPS://127.0.0.1:8443", "127.0.0.1:8443", Scheme::Https),
            ("http://127.0.0.1", "127.0.0.1:80", Scheme::Http),
            ("https://[::1]", "[::1]:443", Scheme::Https),
            ("https://[::1]:0", "[::1]:0", Scheme::Https),
        ] {
            let (listen, found) = read(text).unwrap();
            assert_eq!(
                (listen.to_string().as_str(), found),
                (address, Some(scheme))
            );
        }
        assert!(read("http://:8081").is_ok());
        assert_eq!(read("127.0.0.1:1").unwrap().1, None);
        for text in [
            "http://",
            "http:///",
            "http://127.0.0.1:8081/path",
            "http://127.0.0.1:8081?query",
            "http://127.0.0.1:8081#fragment",
            "http://user@127.0.0.1:8081",
            "http://127.0.0.1:http",
            "ftp://127.0.0.1:8081",
            "ws://127.0.0.1:8081",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        // The signer is a proxy for both schemes.
        let tree = json!({"listen_addr": "http://127.0.0.1:8080"});
        assert!(reader::read("", &tree, |section| listen(section, 8080)).is_err());
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
