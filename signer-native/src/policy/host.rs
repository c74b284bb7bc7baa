//! Names and addresses of servers, and patterns for them.

use rustls_pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;

/// A host in the one form in which it is compared: an address, or a name in lower case without
/// the root's dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Reads a host as URLs write it, an IPv6 address in brackets; without them will do as well.
    /// `None` when it is neither a name (RFC 1123 §2.1, and with underscores) nor an address.
    pub fn parse(text: &str) -> Option<Self> {
        let inside = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = inside.unwrap_or(text).parse() {
            return Some(Self(Kind::Address(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        is_name(&name).then_some(Self(Kind::Name(name)))
    }

    /// As the certificate of the server names it.
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.0 {
            Kind::Name(name) => ServerName::try_from(name.clone()).ok(),
            Kind::Address(address) => Some((*address).into()),
        }
    }

    /// Whether it is that name of a TLS client's SNI. RFC 6066 §3: "Literal IPv4 and IPv6
    /// addresses are not permitted in "HostName"", so none is expected for an address.
    pub fn is_named(&self, sni: &str) -> bool {
        matches!(&self.0, Kind::Name(name) if name.eq_ignore_ascii_case(sni))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Name(name) => formatter.write_str(name),
            Kind::Address(address) => address.fmt(formatter),
        }
    }
}

/// Which hosts a rule is about: `*`, `*.example.com` for all below it, or one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// With the dot before it.
    Below(String),
    One(Host),
}

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self(Pattern::Any));
        }
        let Some(parent) = text.strip_prefix("*.") else {
            return Host::parse(text).map(|host| Self(Pattern::One(host)));
        };
        match Host::parse(parent)?.0 {
            Kind::Name(name) => Some(Self(Pattern::Below(format!(".{name}")))),
            Kind::Address(_) => None,
        }
    }

    /// Whether it is about that host.
    pub fn matches(&self, host: &Host) -> bool {
        match (&self.0, &host.0) {
            (Pattern::Any, _) => true,
            (Pattern::One(one), _) => one == host,
            (Pattern::Below(parent), Kind::Name(name)) => {
                name.len() > parent.len() && name.ends_with(parent.as_str())
            }
            (Pattern::Below(_), Kind::Address(_)) => false,
        }
    }
}

/// Letters, digits, hyphens and underscores in labels of up to 63; an internationalised name comes
/// in its ASCII form (RFC 5890 §2.3.2.1).
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && (label.bytes()).all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        let host = Host::parse(host).unwrap();
        HostPattern::parse(pattern).unwrap().matches(&host)
    }

    #[test]
    fn a_name_matches_whatever_its_case_and_dot() {
        assert!(matches("API.example.com", "api.EXAMPLE.com."));
        assert!(!matches("api.example.com", "example.com"));
    }

    #[test]
    fn a_wildcard_stands_for_everything_below() {
        assert!(matches("*.example.com", "a.example.com"));
        assert!(matches("*.example.com", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", "badexample.com"));
        assert!(matches("*", "example.com"));
        assert!(matches("*", "192.0.2.1"));
        assert!(!matches("*.2.1", "192.0.2.1"));
    }

    #[test]
    fn an_address_matches_in_all_its_spellings() {
        assert!(matches("::1", "[0:0:0:0:0:0:0:1]"));
        assert!(matches("[2001:DB8::1]", "2001:db8::1"));
        assert!(!matches("127.0.0.1", "127.0.0.2"));
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            ".",
            "a..b",
            "*.",
            "*.*.test",
            "a*.test",
            "a b",
            "a/b",
            "a:80",
            "*.192.0.2.1",
            "bücher.test",
        ] {
            assert!(HostPattern::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_tls_client_is_compared_as_a_name_only() {
        assert!(Host::parse("a.test.").unwrap().is_named("A.test"));
        assert!(!Host::parse("a.test").unwrap().is_named("b.test"));
        assert!(!Host::parse("192.0.2.1").unwrap().is_named("192.0.2.1"));
    }
}
