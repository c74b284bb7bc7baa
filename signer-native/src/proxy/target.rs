//! Where a request goes: the target of a proxy request, and the audience it gives the token.

use super::error::Error;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use jwt_core::audience;

/// The origin server of a request and the resource there.
#[derive(Debug)]
pub(super) struct Target {
    /// Absolute, without user information.
    pub(super) uri: Uri,
    /// `host[:port]` as the client wrote it.
    pub(super) authority: Authority,
    /// The `aud` of the token.
    pub(super) audience: String,
}

impl Target {
    /// The target of a request in absolute-form.
    ///
    /// RFC 9112 §3.2.2: "When making a request to a proxy, other than a CONNECT or server-wide
    /// OPTIONS request (as detailed below), a client MUST send the target URI in "absolute-form" as
    /// the request-target." Whatever else comes is not meant for a proxy: to guess where it should
    /// go would be to sign for a stranger.
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Error> {
        if request.method() == Method::CONNECT {
            return Err(Error::Connect);
        }
        let uri = request.uri();
        let scheme = uri.scheme().ok_or(Error::NotProxyRequest)?;
        if *scheme != Scheme::HTTP {
            return Err(Error::Scheme(scheme.to_string()));
        }
        check_host(request.version(), request.headers())?;
        let authority = uri.authority().ok_or(Error::Authority)?;
        Self::new(uri, scheme.as_str(), without_userinfo(authority)?)
    }

    fn new(uri: &Uri, scheme: &str, authority: Authority) -> Result<Self, Error> {
        let audience = audience::of_request(scheme, authority.as_str()).ok_or(Error::Authority)?;
        let mut parts = uri.clone().into_parts();
        parts.authority = Some(authority.clone());
        Ok(Self {
            uri: Uri::from_parts(parts).map_err(|_| Error::Authority)?,
            authority,
            audience,
        })
    }

    /// The `Host` of the forwarded request.
    ///
    /// RFC 9112 §3.2.2: "When a proxy receives a request with an absolute-form of
    /// request-target, the proxy MUST ignore the received Host header field (if any) and instead
    /// replace it with the host information of the request-target."
    pub(super) fn host(&self) -> Result<HeaderValue, Error> {
        HeaderValue::from_str(self.authority.as_str()).map_err(|_| Error::Authority)
    }
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

    fn request(method: &str, uri: &str) -> Request<()> {
        Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, "other.test")
            .body(())
            .unwrap()
    }

    fn target(uri: &str) -> Target {
        Target::of(&request("GET", uri)).unwrap()
    }

    #[test]
    fn an_absolute_form_names_origin_and_audience() {
        let target = target("http://API.example.com:80/a%2Fb?c=d");
        assert_eq!(target.uri, "http://API.example.com:80/a%2Fb?c=d");
        assert_eq!(target.host().unwrap(), "API.example.com:80");
        assert_eq!(target.audience, "http://api.example.com");
    }

    #[test]
    fn user_information_is_left_behind() {
        let target = target("http://user:p%40ss@example.com:8080/path");
        assert_eq!(target.uri, "http://example.com:8080/path");
        assert_eq!(target.host().unwrap(), "example.com:8080");
        assert_eq!(target.audience, "http://example.com:8080");
    }

    #[test]
    fn what_is_no_absolute_http_target_is_refused() {
        let of = |method, uri| Target::of(&request(method, uri)).unwrap_err();
        assert!(matches!(of("GET", "/path"), Error::NotProxyRequest));
        assert!(matches!(
            of("GET", "example.com:80"),
            Error::NotProxyRequest
        ));
        assert!(matches!(of("OPTIONS", "*"), Error::NotProxyRequest));
        assert!(matches!(of("CONNECT", "example.com:443"), Error::Connect));
        assert!(matches!(
            of("GET", "https://example.com/"),
            Error::Scheme(_)
        ));
        assert!(matches!(of("GET", "ftp://example.com/"), Error::Scheme(_)));
        assert!(matches!(of("GET", "http://:80/"), Error::Authority));
        assert!(matches!(
            of("GET", "http://a.test:99999/"),
            Error::Authority
        ));
    }

    #[test]
    fn http_1_1_needs_one_host() {
        let mut request = request("GET", "http://example.com/");
        request
            .headers_mut()
            .append(HOST, HeaderValue::from_static("third.test"));
        assert!(matches!(Target::of(&request), Err(Error::Host)));
        request.headers_mut().remove(HOST);
        assert!(matches!(Target::of(&request), Err(Error::Host)));
        *request.version_mut() = Version::HTTP_10;
        assert!(Target::of(&request).is_ok());
    }
}
