//! Why bytes are no key.

use crate::pem::PemError;
use thiserror::Error;

/// Why bytes are no [`PublicKey`](crate::PublicKey).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not the JSON of a JWK (RFC 7517 §4).
    #[error("not a JWK: {0}")]
    Json(String),
    /// Holds private members: whoever can read it can sign.
    #[error("a private key: only public keys belong here")]
    Private,
    /// `kty`, `crv`, `alg`, `use` or `key_ops` rule it out.
    #[error("{0}")]
    NotForVerifying(String),
    /// RFC 7518 §3.3: RSA keys have 2048 bits or more. Above 4096 a check takes too long.
    #[error("an RSA key of {0} bits: expected 2048 to 4096")]
    Size(usize),
    /// The numbers make no key.
    #[error("not a valid public key")]
    Numbers,
    /// A certificate that is damaged.
    #[error("not a valid certificate")]
    Certificate,
    /// No PEM, or not of a kind that has a public key.
    #[error(transparent)]
    Pem(#[from] PemError),
}
