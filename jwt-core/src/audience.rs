//! The `aud` claim (RFC 7519 §4.1.3): whom a token is for.

use crate::authority::HostAndPort;
use http::Uri;

/// The audience a verifier answers to: a URL, compared by scheme, host and port, or any other
/// string, compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    text: String,
    origin: Option<Origin>,
    /// What a signer writes for the origin; it saves taking most tokens' URLs apart.
    usual_text: Option<String>,
}

impl Audience {
    /// Takes any text; what parses as a URL is compared as one.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let origin = Origin::parse(&text);
        Self {
            usual_text: origin.as_ref().map(Origin::to_text),
            origin,
            text,
        }
    }

    /// The text as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A text that is the same for all that match the same tokens.
    pub fn normalized(&self) -> &str {
        self.usual_text.as_ref().unwrap_or(&self.text)
    }

    /// Whether one value of a token's `aud` means this audience.
    ///
    /// Two URLs match on scheme, host (case-insensitive) and port (defaults filled in);
    /// otherwise strings match exactly (RFC 7519 §2, StringOrURI).
    pub fn matches(&self, candidate: &str) -> bool {
        self.text == candidate
            || self.usual_text.as_deref() == Some(candidate)
            || self.origin.is_some() && self.origin == Origin::parse(candidate)
    }
}

/// The `aud` of a request to `scheme://authority/…`: the scheme's default port left out, host in
/// lower case, an IPv6 address as in RFC 5952, no user information. `None` when the authority is no
/// `host[:port]`.
pub fn of_request(scheme: &str, authority: &str) -> Option<String> {
    let authority = HostAndPort::parse(without_user(authority))?;
    let origin = Origin {
        scheme: scheme.to_ascii_lowercase(),
        host: authority.host().to_owned(),
        port: authority.port(),
    };
    Some(origin.to_text())
}

/// What two URLs must share to name one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let authority = HostAndPort::parse(without_user(uri.authority()?.as_str()))?;
        let port = authority.port().or_else(|| default_port(&scheme));
        Some(Self {
            host: authority.host().to_owned(),
            port,
            scheme,
        })
    }

    /// As [`of_request`] gives it.
    fn to_text(&self) -> String {
        let Self { scheme, host, port } = self;
        match port {
            Some(port) if Some(*port) != default_port(scheme) => {
                format!("{scheme}://{host}:{port}")
            }
            _ => format!("{scheme}://{host}"),
        }
    }
}

fn without_user(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host_and_port)| host_and_port)
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn urls_match_on_scheme_host_and_port() {
        let audience = Audience::new("https://API.example.com/");
        for same in [
            "https://api.example.com",
            "https://api.example.com:443",
            "HTTPS://api.EXAMPLE.com:443/",
            "https://api.example.com/some/path?query",
        ] {
            assert!(audience.matches(same), "{same}");
        }
        for other in [
            "http://api.example.com",
            "https://api.example.com:8443",
            "https://example.com",
            "https://api.example.com.evil.org",
            "https://api.example.com@evil.org",
            "api.example.com",
            "https://",
            "",
        ] {
            assert!(!audience.matches(other), "{other}");
        }
    }

    #[test]
    fn user_information_does_not_stand_for_the_host() {
        assert!(!Audience::new("https://evil.org").matches("https://api.example.com@other.org"));
    }

    #[test]
    fn ipv6_literals_match() {
        assert!(Audience::new("http://[::1]:80").matches("http://[::1]"));
        assert!(!Audience::new("http://[::1]:81").matches("http://[::1]"));
    }

    #[test]
    fn ipv6_literals_are_compared_as_addresses() {
        for [one, other] in [
            ["[::0]", "[::]"],
            ["[0:0:0:0:0:0:0:1]", "[::1]"],
            ["[2001:DB8::1]", "[2001:0db8:0::0001]"],
            ["[::ffff:7f00:1]", "[::ffff:127.0.0.1]"],
        ] {
            let audience = Audience::new(format!("http://{one}:80/"));
            assert!(audience.matches(&format!("http://{other}")), "{other}");
            let again = Audience::new(format!("http://{other}"));
            assert_eq!(audience.normalized(), again.normalized());
        }
        // Hosts of their own, for a URL's sake: an IPv4 address within IPv6 is no IPv4 address.
        assert!(!Audience::new("http://127.0.0.1").matches("http://[::ffff:127.0.0.1]"));
    }

    #[test]
    fn a_port_has_no_sign() {
        assert!(!Audience::new("http://a:8080").matches("http://a:+8080/"));
        assert_eq!(of_request("http", "a:+8080"), None);
        // What is no URL is compared as it is.
        assert!(Audience::new("http://a:+8080").matches("http://a:+8080"));
        assert!(!Audience::new("http://[0:0]").matches("http://[0:0]:80"));
    }

    #[test]
    fn plain_strings_match_exactly() {
        assert!(Audience::new("billing").matches("billing"));
        assert!(!Audience::new("billing").matches("Billing"));
        assert!(!Audience::new("billing").matches("billing "));
    }

    #[test]
    fn what_matches_the_same_is_one_audience() {
        for same in ["https://api", "https://API:443/", "HTTPS://api/path"] {
            assert_eq!(Audience::new(same).normalized(), "https://api");
        }
        assert_eq!(Audience::new("Billing").normalized(), "Billing");
    }

    #[test]
    fn a_request_names_its_audience_without_default_port() {
        let of = |scheme, authority| of_request(scheme, authority);
        assert_eq!(of("http", "Example.com:80").unwrap(), "http://example.com");
        assert_eq!(
            of("https", "example.com:443").unwrap(),
            "https://example.com"
        );
        assert_eq!(
            of("http", "example.com:443").unwrap(),
            "http://example.com:443"
        );
        assert_eq!(of("http", "[::1]:9090").unwrap(), "http://[::1]:9090");
        assert_eq!(
            of("http", "user:pass@example.com").unwrap(),
            "http://example.com"
        );
        assert_eq!(
            of("http", "example.com:"),
            Some("http://example.com".into())
        );
        assert_eq!(
            of("http", "[2001:DB8::0:1]:80"),
            Some("http://[2001:db8::1]".into())
        );
        for wrong in ["", ":80", "example.com:99999", "a b", "[0:0]", "[1.2.3.4]"] {
            assert_eq!(of("http", wrong), None, "{wrong}");
        }
    }
}
