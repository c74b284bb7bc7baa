//! HTTPS: a certificate and its key from PEM files.

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use transport::files::{FileError, read_trusted};

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
    Content(PathBuf, pem::Error),
    /// They do not belong together.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl TlsIdentity {
    /// From a file with the certificate chain and one with its private key.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::Content(path, error)
        };
        let pem = read_trusted(certificates)?.content;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(failed(certificates))?;
        let pem = read_trusted(key)?.content;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(failed(key))?;
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

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}
