//! Where requests are sent: to an upstream, to a key server.

use http::Uri;
use jwt_core::authority::HostAndPort;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where verified requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// To a server; the path is put before the request's.
    Http(HttpUrl),
    /// To a server behind a unix socket.
    Unix(PathBuf),
}

/// An `http` or `https` URL: somewhere to send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    secure: bool,
    authority: String,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no [`HttpUrl`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("a URL such as http://localhost:9090/")]
    Invalid,
    /// Another scheme.
    #[error("an http or https URL, not {0}")]
    Scheme(String),
    /// A part that means nothing here.
    #[error("a URL without user, query and fragment")]
    Extra,
}

impl HttpUrl {
    /// Takes the base of further URLs apart: it has no query.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (url, uri) = Self::split(text)?;
        match uri.query() {
            Some(_) => Err(UrlError::Extra),
            None => Ok(url),
        }
    }

    /// Takes the URL of one resource apart, whose query belongs to its path.
    pub fn parse_resource(text: &str) -> Result<Self, UrlError> {
        let (url, uri) = Self::split(text)?;
        let path = uri.path_and_query().map(ToString::to_string);
        Ok(Self {
            path: path.unwrap_or(url.path),
            ..url
        })
    }

    fn split(text: &str) -> Result<(Self, Uri), UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Invalid)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Invalid);
        };
        let secure = match scheme {
            "http" => false,
            "https" => true,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        if text.contains('#') || authority.as_str().contains('@') {
            return Err(UrlError::Extra);
        }
        let host_and_port = HostAndPort::parse(authority.as_str()).ok_or(UrlError::Invalid)?;
        let port = match host_and_port.port() {
            Some(0) => return Err(UrlError::Invalid),
            Some(port) => port,
            None if secure => 443,
            None => 80,
        };
        let url = Self {
            secure,
            authority: authority.to_string(),
            host: host_and_port.bare_host().to_owned(),
            port,
            path: uri.path().to_owned(),
        };
        Ok((url, uri))
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// `host[:port]` as written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, at least `/`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Upstream {
    /// Takes a URL, or `unix:` and the path of a socket, apart. A WebSocket begins as HTTP
    /// (RFC 6455 §3), so `ws` and `wss` mean `http` and `https`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        match text.strip_prefix("unix:") {
            None => HttpUrl::parse(&with_http_scheme(text)).map(Self::Http),
            Some("") => Err(UrlError::Invalid),
            Some(path) => {
                let path = std::path::absolute(Path::new(path));
                path.map(Self::Unix).map_err(|_| UrlError::Invalid)
            }
        }
    }

    /// What stands before the path of every request.
    pub fn path(&self) -> &str {
        match self {
            Self::Http(url) => url.path(),
            Self::Unix(_) => "/",
        }
    }
}

/// RFC 3986 §3.1: schemes are case-insensitive.
fn with_http_scheme(text: &str) -> Cow<'_, str> {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" => "http",
        "wss" => "https",
        _ => return text.into(),
    };
    format!("{scheme}:{rest}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = HttpUrl::parse("http://localhost:9090/base/").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.path(), url.is_secure()),
            ("localhost", 9090, "/base/", false)
        );
        assert_eq!(url.authority(), "localhost:9090");
        let url = HttpUrl::parse("http://[::1]").unwrap();
        assert_eq!((url.host(), url.port(), url.path()), ("::1", 80, "/"));
        let url = HttpUrl::parse("http://[0:0::1]:").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 80));
        let url = HttpUrl::parse("https://api.example").unwrap();
        assert_eq!((url.port(), url.is_secure()), (443, true));
    }

    #[test]
    fn the_query_of_a_resource_belongs_to_it() {
        let url = HttpUrl::parse_resource("https://idp.example/keys?tenant=1").unwrap();
        assert_eq!(url.path(), "/keys?tenant=1");
        let url = HttpUrl::parse_resource("https://idp.example").unwrap();
        assert_eq!(url.path(), "/");
    }

    #[test]
    fn an_upstream_may_be_a_socket() {
        let upstream = Upstream::parse("unix:/run/api.sock").unwrap();
        assert_eq!(upstream, Upstream::Unix("/run/api.sock".into()));
        assert_eq!(Upstream::parse("unix:"), Err(UrlError::Invalid));
        assert!(matches!(
            Upstream::parse("http://localhost/"),
            Ok(Upstream::Http(_))
        ));
    }

    #[test]
    fn an_upstream_may_be_named_as_one_of_websockets() {
        for (text, same) in [
            ("ws://host/path", "http://host/path"),
            ("wss://host", "https://host"),
            ("WSS://host:9", "https://host:9"),
        ] {
            assert_eq!(Upstream::parse(text), Upstream::parse(same), "{text}");
            assert!(Upstream::parse(text).is_ok(), "{text}");
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
        assert!(Upstream::parse("wsx://host").is_err());
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for text in [
            "",
            "localhost:9090",
            "/path",
            "http://",
            "http://host:0/",
            "http://h:99999",
            "http://h:+80",
            "http://[0:0]",
            "http://[[::1]]/",
            "http://[127.0.0.1]/",
            "http://[fe80::1%25eth0]/",
        ] {
            assert_eq!(HttpUrl::parse(text), Err(UrlError::Invalid), "{text}");
        }
        for text in [
            "http://u:p@host/",
            "http://host/?query",
            "http://host/#fragment",
        ] {
            assert_eq!(HttpUrl::parse(text), Err(UrlError::Extra), "{text}");
        }
        assert_eq!(
            HttpUrl::parse("ftp://host"),
            Err(UrlError::Scheme("ftp".into()))
        );
    }
}
