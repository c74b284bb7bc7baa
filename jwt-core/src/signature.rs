//! Checking signatures. The work itself is never ours: it belongs to the host or to a library.

use crate::algorithm::Algorithm;
use crate::key::PublicKey;
use jsonwebtoken::crypto::rust_crypto;

/// Checks a JWS signature (RFC 7515 §5.2).
pub trait SignatureVerifier {
    /// Whether `signature` is that of `message` under `key` and `algorithm`. Whatever goes wrong
    /// on the way is a `false`.
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool;
}

/// The verifier that needs nothing from outside.
#[derive(Clone, Copy, Debug)]
pub struct PureRust;

impl SignatureVerifier for PureRust {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let algorithm = match algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        };
        let factory = rust_crypto::DEFAULT_PROVIDER.verifier_factory;
        factory(&algorithm, key.decoding_key())
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}
