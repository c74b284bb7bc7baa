//! Where a request goes: the target of a proxy request, and the audience it gives the token.

use super::error::Error;
use super::framing::encoded_utf8;
use crate::policy::Host;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};
use jwt_core::audience;
use jwt_core::authority::HostAndPort;

/// What the requests of a connection are for.
#[derive(Debug)]
pub(super) enum Scope {
    /// Any server: each request names its own.
    Proxy,
    /// The one server that a CONNECT named.
    Tunnel(Tunnel),
}

/// The inside of a CONNECT.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// `http` or `https`.
    pub(super) scheme: Scheme,
    /// The server.
    pub(super) origin: Origin,
    /// The name in the client's TLS handshake, where it is not the one of the CONNECT. The client
    /// has got the certificate of the CONNECT's host, and each of its requests is refused.
    pub(super) named_otherwise: Option<String>,
}

/// A server: the target of a CONNECT.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// `host:port`.
    pub(super) authority: Authority,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// The origin server of a request and the resource there.
#[derive(Debug)]
pub(super) struct Target {
    /// Absolute, without user information.
    pub(super) uri: Uri,
    /// `host[:port]` as the client wrote it.
    pub(super) authority: Authority,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The `aud` of the token.
    pub(super) audience: String,
}

impl Origin {
    /// The target of a CONNECT.
    ///
    /// RFC 9110 §9.3.6: "There is no default port; a client MUST send the port number even if the
    /// CONNECT request is based on a URI reference that contains an authority component with an
    /// elided port […]. A server MUST reject a CONNECT request that targets an empty or invalid
    /// port number".
    pub(super) fn of_connect<B>(request: &Request<B>) -> Result<Self, Error> {
        let uri = request.uri();
        // RFC 9112 §3.2.3: authority-form, "consisting of only the host and port". What is absolute
        // is another target to those who read the path.
        let authority = uri.authority().filter(|_| uri.scheme().is_none());
        let authority = authority.ok_or(Error::Authority)?;
        if authority.as_str().contains('@') {
            return Err(Error::Authority);
        }
        let named = HostAndPort::parse(authority.as_str()).ok_or(Error::Authority)?;
        let port = named.port().filter(|port| *port > 0);
        Ok(Self {
            authority: authority.clone(),
            host: Host::parse(authority.host()).ok_or(Error::Authority)?,
            port: port.ok_or(Error::Authority)?,
        })
    }
}

impl Target {
    /// The target of a request that came in `scope`.
    pub(super) fn of<B>(request: &Request<B>, scope: &Scope) -> Result<Self, Error> {
        match scope {
            Scope::Proxy => Self::of_proxy_request(request),
            Scope::Tunnel(tunnel) => Self::inside(request, tunnel),
        }
    }

    /// The target of a request in absolute-form.
    ///
    /// RFC 9112 §3.2.2: "When making a request to a proxy, other than a CONNECT or server-wide
    /// OPTIONS request (as detailed below), a client MUST send the target URI in "absolute-form" as
    /// the request-target." Whatever else comes is not meant for a proxy: to guess where it should
    /// go would be to sign for a stranger.
    fn of_proxy_request<B>(request: &Request<B>) -> Result<Self, Error> {
        let uri = request.uri();
        let scheme = uri.scheme().ok_or(Error::NotProxyRequest)?;
        check_host(request.version(), request.headers())?;
        let authority = uri.authority().ok_or(Error::Authority)?;
        Self::new(uri, scheme, without_userinfo(authority)?)
    }

    /// The target of a request to the server at the other end of a tunnel, as the client sees it.
    ///
    /// RFC 9110 §7.4: an origin server is to refuse, with 421, what is meant for another. Here it
    /// is refused for the server's sake and the token's: the connection goes to the host of the
    /// CONNECT, so no other host's name may stand in the request.
    fn inside<B>(request: &Request<B>, tunnel: &Tunnel) -> Result<Self, Error> {
        let uri = request.uri();
        if request.method() == Method::CONNECT {
            return Err(Error::NestedConnect);
        }
        let origin = &tunnel.origin.authority;
        if let Some(name) = &tunnel.named_otherwise {
            return Err(Error::Misdirected(name.clone(), origin.clone()));
        }
        let misdirected = |found: &str| Error::Misdirected(found.to_owned(), origin.clone());
        if let Some(scheme) = uri.scheme().filter(|scheme| **scheme != tunnel.scheme) {
            return Err(misdirected(scheme.as_str()));
        }
        let expected = audience::of_request(tunnel.scheme.as_str(), origin.as_str());
        let named: Vec<Authority> = named_authorities(request)?;
        for authority in &named {
            if audience::of_request(tunnel.scheme.as_str(), authority.as_str()) != expected {
                return Err(misdirected(authority.as_str()));
            }
        }
        // HTTP/1.0 may name none.
        let authority = named.into_iter().next();
        Self::new(
            uri,
            &tunnel.scheme,
            authority.unwrap_or_else(|| origin.clone()),
        )
    }

    fn new(uri: &Uri, scheme: &Scheme, authority: Authority) -> Result<Self, Error> {
        let default_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            other => return Err(Error::Scheme(other.to_owned())),
        };
        let named = HostAndPort::parse(authority.as_str()).ok_or(Error::Authority)?;
        let audience = audience::of_request(scheme.as_str(), authority.as_str());
        let mut parts = uri.clone().into_parts();
        if let Some(path) = parts.path_and_query.as_ref()
            && let Some(encoded) = encoded_utf8(path.as_str())
        {
            parts.path_and_query = Some(encoded.parse().map_err(|_| Error::Authority)?);
        }
        parts.scheme = Some(scheme.clone());
        parts.authority = Some(authority.clone());
        // OPTIONS * (RFC 9110 §9.3.7) arrives with a path, but without a slash.
        if !uri.path().starts_with('/') && uri.path() != "*" {
            return Err(Error::NotProxyRequest);
        }
        Ok(Self {
            uri: Uri::from_parts(parts).map_err(|_| Error::Authority)?,
            host: Host::parse(authority.host()).ok_or(Error::Authority)?,
            port: named.port().unwrap_or(default_port),
            audience: audience.ok_or(Error::Authority)?,
            authority,
        })
    }
}

/// All that a request inside a tunnel says it is for: `:authority` or the authority of an
/// absolute-form, and `Host`. Without user information.
fn named_authorities<B>(request: &Request<B>) -> Result<Vec<Authority>, Error> {
    let in_uri = request.uri().authority().cloned();
    if in_uri.is_none() || request.version() <= Version::HTTP_11 {
        check_host(request.version(), request.headers())?;
    }
    let in_header = request.headers().get_all(HOST).iter().map(|value| {
        let text = value.to_str().map_err(|_| Error::Host)?;
        text.parse().map_err(|_| Error::Host)
    });
    let named = in_uri.into_iter().map(Ok).chain(in_header);
    named
        .map(|authority| without_userinfo(&authority?))
        .collect()
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
/// request message that lacks a Host header field and to any request message that contains more
/// than one Host header field line".
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Error> {
    match headers.get_all(HOST).iter().count() {
        0 if version == Version::HTTP_11 => Err(Error::Host),
        0 | 1 => Ok(()),
        _ => Err(Error::Host),
    }
}

/// RFC 9110 §4.2.4: "A sender MUST NOT generate the userinfo subcomponent (and its "@" delimiter)
/// when an "http" or "https" URI reference is generated within a message as a target URI or field
/// value."
fn without_userinfo(authority: &Authority) -> Result<Authority, Error> {
    match authority.as_str().rsplit_once('@') {
        Some((_, host_and_port)) => host_and_port.parse().map_err(|_| Error::Authority),
        None => Ok(authority.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(method: &str, uri: &str) -> Request<()> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, "other.test")
            .body(())
            .unwrap()
    }

    fn target(uri: &str) -> Target {
        Target::of(&request("GET", uri), &Scope::Proxy).unwrap()
    }

    #[test]
    fn an_absolute_form_names_origin_and_audience() {
        let target = target("http://API.example.com:80/a%2Fb?c=d");
        assert_eq!(target.uri, "http://API.example.com:80/a%2Fb?c=d");
        assert_eq!(target.authority, "API.example.com:80");
        assert_eq!(target.audience, "http://api.example.com");
        assert_eq!(
            (target.host.to_string().as_str(), target.port),
            ("api.example.com", 80)
        );
    }

    #[test]
    fn https_and_ipv6_have_their_ports() {
        assert_eq!(target("https://a.test/").port, 443);
        assert_eq!(target("https://a.test/").audience, "https://a.test");
        let target = target("http://[2001:DB8::1]/");
        assert_eq!(target.audience, "http://[2001:db8::1]");
        assert_eq!(
            (target.host.to_string().as_str(), target.port),
            ("2001:db8::1", 80)
        );
    }

    #[test]
    fn user_information_is_left_behind() {
        let target = target("http://user:p%40ss@example.com:8080/path");
        assert_eq!(target.uri, "http://example.com:8080/path");
        assert_eq!(target.authority, "example.com:8080");
        assert_eq!(target.audience, "http://example.com:8080");
    }

    #[test]
    fn what_is_no_absolute_http_target_is_refused() {
        let of =
            |method: &str, uri: &str| Target::of(&request(method, uri), &Scope::Proxy).unwrap_err();
        assert!(matches!(of("GET", "/path"), Error::NotProxyRequest));
        assert!(matches!(
            of("GET", "example.com:80"),
            Error::NotProxyRequest
        ));
        assert!(matches!(of("OPTIONS", "*"), Error::NotProxyRequest));
        assert!(matches!(of("GET", "ftp://example.com/"), Error::Scheme(_)));
        assert!(matches!(of("GET", "http://:80/"), Error::Authority));
        for port in ["99999", "+8080", "-1", "0x50", "%38", "8080a", "80:80"] {
            let uri = format!("http://a.test:{port}/");
            let refused =
                uri.parse::<Uri>().is_err() || matches!(of("GET", &uri), Error::Authority);
            assert!(refused, "{uri}");
        }
    }

    #[test]
    fn http_1_1_needs_one_host() {
        let mut request = request("GET", "http://example.com/");
        request
            .headers_mut()
            .append(HOST, HeaderValue::from_static("third.test"));
        let of = |request: &Request<()>| Target::of(request, &Scope::Proxy);
        assert!(matches!(of(&request), Err(Error::Host)));
        request.headers_mut().remove(HOST);
        assert!(matches!(of(&request), Err(Error::Host)));
        *request.version_mut() = Version::HTTP_10;
        assert!(of(&request).is_ok());
    }

    #[test]
    fn a_connect_names_host_and_port() {
        let of = |uri| Origin::of_connect(&request("CONNECT", uri));
        let origin = of("[::1]:8443").unwrap();
        assert_eq!(
            (origin.host.to_string().as_str(), origin.port),
            ("::1", 8443)
        );
        for wrong in [
            "a.test",
            "a.test:0",
            "a.test:",
            "a.test:+443",
            "u:p@a.test:443",
            "/path",
            "a!:1",
            "http://a.test:443",
            "https://a.test:443/path",
        ] {
            assert!(matches!(of(wrong), Err(Error::Authority)), "{wrong}");
        }
    }

    fn inside(connect: &str, uri: &str, host: &str) -> Result<Target, Error> {
        let tunnel = Scope::Tunnel(Tunnel {
            scheme: Scheme::HTTPS,
            origin: Origin::of_connect(&request("CONNECT", connect)).unwrap(),
            named_otherwise: None,
        });
        let mut request = request("GET", uri);
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_str(host).unwrap());
        Target::of(&request, &tunnel)
    }

    #[test]
    fn a_request_inside_a_tunnel_is_for_its_host() {
        let target = inside("api.test:443", "/path?query", "API.test").unwrap();
        assert_eq!(target.uri, "https://API.test/path?query");
        assert_eq!(target.audience, "https://api.test");
        let target = inside("api.test:8443", "/", "api.test:8443").unwrap();
        assert_eq!(target.audience, "https://api.test:8443");
        assert!(inside("api.test:443", "https://api.test:443/", "api.test").is_ok());
        assert!(inside("[::1]:443", "/", "[::1]").is_ok());
    }

    #[test]
    fn user_information_inside_a_tunnel_goes_no_further() {
        for (uri, host) in [
            ("https://user:pw@api.test/", "api.test"),
            ("https://api.test/", "user:pw@api.test"),
            ("/", "user:pw@api.test"),
        ] {
            let target = inside("api.test:443", uri, host).unwrap();
            assert_eq!(target.uri, "https://api.test/", "{uri} {host}");
            assert_eq!(target.authority, "api.test", "{uri} {host}");
        }
        let error = inside("api.test:443", "/", "user:pw@evil.test").unwrap_err();
        assert!(!error.to_string().contains("pw"), "{error}");
    }

    #[test]
    fn another_host_inside_a_tunnel_is_misdirected() {
        for (connect, uri, host) in [
            ("api.test:443", "/", "evil.test"),
            ("api.test:443", "/", "api.test:8443"),
            ("api.test:8443", "/", "api.test"),
            ("api.test:443", "https://evil.test/", "api.test"),
            ("api.test:443", "https://api.test/", "evil.test"),
            ("api.test:443", "http://api.test/", "api.test"),
            ("192.0.2.1:443", "/", "api.test"),
        ] {
            let error = inside(connect, uri, host).unwrap_err();
            assert!(
                matches!(error, Error::Misdirected(..)),
                "{uri} {host}: {error}"
            );
        }
    }
}
