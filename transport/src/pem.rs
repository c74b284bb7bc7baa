//! Certificates and private keys for TLS, from PEM.

pub use jwt_keys::pem::PemError;

use jwt_keys::pem::{self, Block};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

/// All certificates of a file, in their order; at least one.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let blocks = pem::certificates(text)?;
    let ders = blocks.into_iter().map(Block::into_der);
    Ok(ders.map(CertificateDer::from).collect())
}

/// The first private key of a file.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let key = pem::private_key(text)?;
    Ok(match key.label() {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(key.into_der()).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(key.into_der()).into(),
        _ => PrivatePkcs8KeyDer::from(key.into_der()).into(),
    })
}
