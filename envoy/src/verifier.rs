//! A verifier as Envoy is to run it.

use http::Uri;
use jwt_core::config::filter::{Cache, PresharedKey};
use jwt_core::config::verifier::Rules;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// One reverse proxy.
#[derive(Clone, Debug)]
pub struct VerifierProxy {
    /// Where it listens.
    pub listen: SocketAddress,
    /// How long requests in flight may take after the process was told to end.
    pub shutdown_timeout: Duration,
    /// Where verified requests go; the path is put before the request's.
    pub upstream: HttpUrl,
    /// What it is to do.
    pub rules: Rules,
    /// Where keys come from.
    pub key_server: KeyServer,
}

/// Where a verifier's keys come from.
#[derive(Clone, Debug)]
pub enum KeyServer {
    /// One key, given.
    Preshared(PresharedKey),
    /// A key registry.
    Keyregistry {
        /// Its base URL.
        url: HttpUrl,
        /// How long its answers are used.
        cache: Cache,
    },
}

/// An IP address and a port; port 0 is any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    /// The address, often one that stands for all.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
}

/// An `http` URL: somewhere to send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
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
    #[error("an http URL; {0} is not supported yet by this version of jwtproxy")]
    Scheme(String),
    /// A part that means nothing here.
    #[error("a URL without user, query and fragment")]
    Extra,
}

impl HttpUrl {
    /// Takes a URL apart.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError::Invalid)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Invalid);
        };
        if scheme != "http" {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        if uri.query().is_some() || text.contains('#') || authority.as_str().contains('@') {
            return Err(UrlError::Extra);
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("" | ":") => 80,
            _ => authority
                .port_u16()
                .filter(|port| *port > 0)
                .ok_or(UrlError::Invalid)?,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(UrlError::Invalid);
        }
        Ok(Self {
            authority: authority.to_string(),
            host,
            port,
            path: uri.path().to_owned(),
        })
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

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = HttpUrl::parse("http://localhost:9090/base/").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.path()),
            ("localhost", 9090, "/base/")
        );
        assert_eq!(url.authority(), "localhost:9090");
        let url = HttpUrl::parse("http://[::1]").unwrap();
        assert_eq!((url.host(), url.port(), url.path()), ("::1", 80, "/"));
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
            HttpUrl::parse("https://host"),
            Err(UrlError::Scheme("https".into()))
        );
    }
}
