//! HTTPS: a certificate and its key from PEM files.

use rustls::ServerConfig;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use transport::files::{FileError, read_trusted};
use transport::pem::{self, PemError};

/// What a server shows to its clients.
#[derive(Clone)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
}

/// Why two files make no identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of them cannot be read, or another user could change it.
    #[error(transparent)]
    File(#[from] FileError),
    /// One of them is not what it should be.
    #[error("{0}: {1}")]
    Content(PathBuf, PemError),
    /// They do not belong together.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl TlsIdentity {
    /// From a file with the certificate chain and one with its private key.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = read(certificates, pem::certificates)?;
        let key = read(key, pem::private_key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
        })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, PemError>) -> Result<T, TlsError> {
    let content = read_trusted(path)?.content;
    parse(&content).map_err(|error| TlsError::Content(path.to_owned(), error))
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}
