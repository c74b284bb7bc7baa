//! Checking signatures. The work itself is never ours: it belongs to the host or to a library.

use crate::algorithm::Algorithm;
use crate::key::PublicKey;

pub use jwt_keys::ecdsa_in_der;

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
        key.verifies(algorithm, message, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;
    use serde::Deserialize;
    use serde_json::Value;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// A token that another library (PyJWT) has signed, some of them changed afterwards.
    #[derive(Deserialize)]
    struct Vector {
        name: String,
        jwk: Value,
        token: String,
        good: bool,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("../testdata/signatures.json")).unwrap()
    }

    fn is_good(token: &str, key: &PublicKey) -> bool {
        let token = Token::parse(token).unwrap();
        key.permits(token.algorithm())
            && PureRust.verify(
                token.algorithm(),
                key,
                token.signing_input(),
                token.signature(),
            )
    }

    #[test]
    fn signatures_of_another_library_are_told_apart() {
        for Vector {
            name,
            jwk,
            token,
            good,
        } in vectors()
        {
            let key = PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
            assert_eq!(is_good(&token, &key), good, "{name}");
        }
    }

    #[test]
    fn no_key_checks_the_signature_of_another() {
        let vectors = vectors();
        for Vector {
            name, jwk, token, ..
        } in vectors.iter().filter(|vector| vector.good)
        {
            for other in vectors.iter().filter(|other| other.jwk != *jwk) {
                let key = PublicKey::from_jwk(other.jwk.to_string().as_bytes()).unwrap();
                assert!(
                    !is_good(token, &key),
                    "{name}, with the key of {}",
                    other.name
                );
            }
        }
    }
}
