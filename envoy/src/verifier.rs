//! A verifier as Envoy is to run it.

pub use crate::address::{BoundAddress, ListenAddress, SocketAddress, SocketPathError, UnixSocket};
pub use crate::certificate::CertificateFiles;
pub use crate::url::{HttpUrl, Upstream, UrlError};
use jwt_core::config::filter::{Cache, PresharedKey};
use jwt_core::config::verifier::Rules;
use std::time::Duration;

/// One reverse proxy.
#[derive(Clone, Debug)]
pub struct VerifierProxy {
    /// Where it listens.
    pub listen: ListenAddress,
    /// TLS is terminated with these.
    pub certificate: Option<CertificateFiles>,
    /// How long requests in flight may take after the process was told to end.
    pub shutdown_timeout: Duration,
    /// Where verified requests go.
    pub upstream: Upstream,
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
    /// JWK Sets.
    Jwks {
        /// Each issuer with the URL of its set.
        issuers: Vec<(String, HttpUrl)>,
        /// How long their answers are used.
        cache: Cache,
    },
}

impl KeyServer {
    /// The URLs that the filter calls; each gets a cluster, in this order.
    pub(crate) fn urls(&self) -> Vec<&HttpUrl> {
        match self {
            Self::Preshared(_) => Vec::new(),
            Self::Keyregistry { url, .. } => vec![url],
            Self::Jwks { issuers, .. } => issuers.iter().map(|(_, url)| url).collect(),
        }
    }
}
