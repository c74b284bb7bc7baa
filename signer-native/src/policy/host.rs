//! Names and addresses of servers, and patterns for them.

use super::address;
use super::range::AddressRange;
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
    ///
    /// An IPv4 address within IPv6 is that IPv4 address: connections to either end at one server.
    /// Its other spellings are refused.
    pub fn parse(text: &str) -> Option<Self> {
        let inside = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = inside.unwrap_or(text).parse::<IpAddr>() {
            return Some(Self(Kind::Address(address.to_canonical())));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        (is_name(&name) && !ends_in_number(&name)).then_some(Self(Kind::Name(name)))
    }

    /// The address, if it is no name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0 {
            Kind::Name(_) => None,
            Kind::Address(address) => Some(address),
        }
    }

    /// Whether it is this machine by definition: an address of the loopback interface or the
    /// unspecified one, or a name that RFC 6761 §6.3 reserves for them.
    pub fn is_loopback(&self) -> bool {
        match &self.0 {
            Kind::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Kind::Address(address) => address::is_loopback(*address),
        }
    }

    /// Whether both lead to one machine, as far as can be said without looking up names.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        if self.is_loopback() && other.is_loopback() {
            return true;
        }
        match (&self.0, &other.0) {
            (Kind::Address(one), Kind::Address(other)) => have_a_form_in_common(*one, *other),
            _ => self == other,
        }
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

/// Whether two addresses lead to one machine.
pub fn have_a_form_in_common(one: IpAddr, other: IpAddr) -> bool {
    address::forms(one).any(|form| address::forms(other).any(|other| form == other))
}

/// Which hosts a rule is about: `*`, `*.example.com` for all below it, a name, an address or a
/// range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(Pattern);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    /// With the dot before it.
    Below(String),
    Name(String),
    Addresses(AddressRange),
}

impl HostPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self(Pattern::Any));
        }
        if text.contains('/') {
            return AddressRange::parse(text).map(|range| Self(Pattern::Addresses(range)));
        }
        let Some(parent) = text.strip_prefix("*.") else {
            return Host::parse(text).map(|host| match host.0 {
                Kind::Name(name) => Self(Pattern::Name(name)),
                Kind::Address(address) => Self(Pattern::Addresses(AddressRange::of(address))),
            });
        };
        match Host::parse(parent)?.0 {
            Kind::Name(name) => Some(Self(Pattern::Below(format!(".{name}")))),
            Kind::Address(_) => None,
        }
    }

    /// Whether it is about that host, as it is written.
    pub fn matches(&self, host: &Host) -> bool {
        match (&self.0, &host.0) {
            (Pattern::Any, _) => true,
            (Pattern::Addresses(range), Kind::Address(address)) => range.contains(*address),
            (Pattern::Name(one), Kind::Name(name)) => one == name,
            (Pattern::Below(parent), Kind::Name(name)) => {
                name.len() > parent.len() && name.ends_with(parent.as_str())
            }
            (Pattern::Below(_) | Pattern::Name(_), Kind::Address(_))
            | (Pattern::Addresses(_), Kind::Name(_)) => false,
        }
    }

    /// The addresses it is about; a name has none.
    pub(super) fn addresses(&self) -> Option<&AddressRange> {
        match &self.0 {
            Pattern::Addresses(range) => Some(range),
            Pattern::Any | Pattern::Below(_) | Pattern::Name(_) => None,
        }
    }

    /// Whether this machine, under its loopback addresses or names, is among what it is about.
    pub(super) fn has_loopback(&self) -> bool {
        match &self.0 {
            Pattern::Any => true,
            Pattern::Below(parent) => parent == ".localhost",
            Pattern::Name(name) => Host(Kind::Name(name.clone())).is_loopback(),
            Pattern::Addresses(range) => range.has_loopback(),
        }
    }

    /// Whether it is `*`, which names no host in particular.
    pub(crate) fn is_any(&self) -> bool {
        self.0 == Pattern::Any
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

/// What the system's resolver may take for an IPv4 address, such as `127.1`, `2130706433` or
/// `0x7f.1` (WHATWG URL, "ends in a number checker"). In lower case.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x");
    last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
    }

    #[test]
    fn an_address_matches_in_all_its_spellings() {
        assert!(matches("::1", "[0:0:0:0:0:0:0:1]"));
        assert!(matches("[2001:DB8::1]", "2001:db8::1"));
        assert!(matches("169.254.169.254", "[::ffff:169.254.169.254]"));
        assert!(matches("::ffff:a9fe:a9fe", "169.254.169.254"));
        assert!(!matches("127.0.0.1", "127.0.0.2"));
    }

    #[test]
    fn a_range_matches_the_addresses_within() {
        assert!(matches("10.0.0.0/8", "10.1.2.3"));
        assert!(matches("10.0.0.0/8", "[::ffff:10.1.2.3]"));
        assert!(matches("2001:db8::/32", "[2001:db8::5]"));
        assert!(!matches("10.0.0.0/8", "11.1.2.3"));
        assert!(!matches("10.0.0.0/8", "a.test"));
    }

    #[test]
    fn the_unspecified_address_is_loopback_in_rules() {
        for host in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"] {
            assert!(matches("127.0.0.1", host), "{host}");
            assert!(matches("::1", host), "{host}");
        }
        assert!(!matches("127.0.0.1", "127.0.0.2"));
    }

    #[test]
    fn all_loopback_names_and_addresses_are_one_place() {
        let registry = Host::parse("127.0.0.1").unwrap();
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.255.0.1",
            "[::1]",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "[::]",
            "::ffff:0.0.0.0",
            "64:ff9b::127.0.0.1",
        ] {
            assert!(
                Host::parse(host).unwrap().is_same_place(&registry),
                "{host}"
            );
        }
        for host in ["localhost.test", "notlocalhost", "128.0.0.1", "::2"] {
            assert!(
                !Host::parse(host).unwrap().is_same_place(&registry),
                "{host}"
            );
        }
    }

    #[test]
    fn what_a_resolver_takes_for_an_address_is_no_name() {
        for text in [
            "2852039166",
            "127.1",
            "0x7f000001",
            "0X7F.1",
            "127.0.0.0x1",
            "0x",
            "0177.0.0.1",
            "127.0.0.1.",
            "a.1",
        ] {
            assert!(Host::parse(text).is_none(), "{text}");
        }
        for name in ["1.a", "0xyz", "1password.test", "a.0b"] {
            assert!(Host::parse(name).is_some(), "{name}");
        }
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
            "*.2.1",
            "10.0.0.1/8",
            "a.test/8",
            "*/0",
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
