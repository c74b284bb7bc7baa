//! `parent_proxy`: the proxy that everything goes through.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use jwt_core::authority::HostAndPort;
use std::fmt;

/// Another forward proxy, between this one and the servers.
pub struct ParentProxy {
    uri: Uri,
    credentials: Option<HeaderValue>,
}

/// Why a text names no parent proxy. It is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a URL such as http://proxy.example:3128 or http://user:password@proxy.example:3128")]
pub struct ParentProxyError;

impl ParentProxy {
    /// Reads `http://[user:password@]host[:port]`; what is special in the user or password is
    /// percent-encoded, as in any URL.
    pub fn parse(text: &str) -> Result<Self, ParentProxyError> {
        let uri: Uri = text.parse().map_err(|_| ParentProxyError)?;
        let authority = uri.authority().ok_or(ParentProxyError)?;
        let plain_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme() != Some(&Scheme::HTTP) || authority.host().is_empty() || !plain_path {
            return Err(ParentProxyError);
        }
        let (userinfo, host) = match authority.as_str().rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority.as_str()),
        };
        let credentials = userinfo.map(basic).transpose()?;
        let port = HostAndPort::parse(host).ok_or(ParentProxyError)?.port();
        if port == Some(0) {
            return Err(ParentProxyError);
        }
        let uri = Uri::builder().scheme("http").authority(host);
        Ok(Self {
            uri: uri
                .path_and_query("/")
                .build()
                .map_err(|_| ParentProxyError)?,
            credentials,
        })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The `Proxy-Authorization` it wants.
    pub(in crate::proxy) fn credentials(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()
    }
}

impl fmt::Debug for ParentProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ParentProxy")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

/// RFC 7617 §2.
fn basic(userinfo: &str) -> Result<HeaderValue, ParentProxyError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut plain = percent_decoded(user)?;
    plain.push(b':');
    plain.extend(percent_decoded(password)?);
    let value = format!("Basic {}", STANDARD.encode(plain));
    let mut value = HeaderValue::try_from(value).map_err(|_| ParentProxyError)?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986 §2.1.
fn percent_decoded(text: &str) -> Result<Vec<u8>, ParentProxyError> {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(ParentProxyError)?;
        // `from_str_radix` takes a sign as well.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(ParentProxyError);
        }
        decoded.push(u8::from_str_radix(digits, 16).map_err(|_| ParentProxyError)?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let parent = ParentProxy::parse("http://proxy.test:3128").unwrap();
        assert_eq!(parent.uri(), "http://proxy.test:3128/");
        assert!(parent.credentials().is_none());
        let parent = ParentProxy::parse("http://Aladdin:open%20sesame@[::1]/").unwrap();
        assert_eq!(parent.uri(), "http://[::1]/");
        let credentials = parent.credentials().unwrap();
        assert_eq!(credentials, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "proxy.test:3128",
            "https://proxy.test",
            "socks5://proxy.test",
            "http://",
            "http://proxy.test/path",
            "http://proxy.test/?query",
            "http://a:%zz@proxy.test",
            "http://a:%4@proxy.test",
            "http://a:%+4@proxy.test",
            "http://proxy.test:+3128",
            "http://proxy.test:0",
            "http://[0:0]:3128",
        ] {
            assert!(ParentProxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let parent = ParentProxy::parse("http://user:secret@proxy.test").unwrap();
        assert!(!format!("{parent:?}").contains("secret"), "{parent:?}");
    }
}
