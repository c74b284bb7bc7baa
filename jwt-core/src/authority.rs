//! `host[:port]`: the authority of a URL without user information (RFC 3986 §3.2), in the one form
//! in which authorities are compared. Every port that anything here reads is read here.

use std::net::Ipv6Addr;

/// A host, in lower case, and the port where one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAndPort {
    host: String,
    port: Option<u16>,
}

impl HostAndPort {
    /// `None` when the text is no `host[:port]`. An empty port is none (RFC 3986 §3.2.3).
    ///
    /// An IPv6 address is written as in RFC 5952: its other spellings mean the same server. An IPv4
    /// address within IPv6 stays what it is, an address of its own.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inside, port) = rest.split_once(']')?;
                let address: Ipv6Addr = inside.parse().ok()?;
                (format!("[{address}]"), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (is_name(host).then(|| host.to_ascii_lowercase())?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) => Some(parse_port(digits)?),
        };
        Some(Self { host, port })
    }

    /// As URLs write it: an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host without the brackets of an IPv6 address, as resolvers want it.
    pub fn bare_host(&self) -> &str {
        let inside = self.host.strip_prefix('[');
        inside
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// A port as RFC 3986 §3.2.3 writes it: `*DIGIT`, here at least one. No sign, no space; what takes
/// more than 16 bits is none.
pub fn parse_port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// The characters of a name (RFC 3986 §3.2.2, `reg-name`), without escapes: two parsers need not
/// agree on what those stand for.
fn is_name(text: &str) -> bool {
    let is_name_character = |c: u8| c.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&c);
    !text.is_empty() && text.bytes().all(is_name_character)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn parts(text: &str) -> Option<(String, Option<u16>)> {
        HostAndPort::parse(text).map(|it| (it.host, it.port))
    }

    #[test]
    fn a_host_is_in_one_form() {
        for (text, host, port) in [
            ("API.example", "api.example", None),
            ("a:", "a", None),
            ("a:0080", "a", Some(80)),
            ("[::1]:9090", "[::1]", Some(9090)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("[::0]", "[::]", None),
            ("[2001:DB8::0:1]", "[2001:db8::1]", None),
            ("[::FFFF:7f00:1]", "[::ffff:127.0.0.1]", None),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
        ] {
            assert_eq!(parts(text), Some((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority_is_none() {
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "u@a",
            "a%62",
            "ä",
            "[0:0]",
            "[]",
            "[::1",
            "::1",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "[::1]x",
            "[::1]80",
            "[[::1]]",
            "a:80:90",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_is_digits() {
        for text in [
            "+8080", "-1", "0x50", " 80", "80 ", "8_0", "65536", "٨٠", "",
        ] {
            assert_eq!(parse_port(text), None, "{text}");
            assert_eq!(
                text.is_empty(),
                HostAndPort::parse(&format!("a:{text}")).is_some(),
                "{text}"
            );
        }
    }
}
