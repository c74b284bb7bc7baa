//! Checking signatures. The work itself is never ours: it belongs to the host or to a library.

use crate::algorithm::Algorithm;
use crate::key::PublicKey;
use der::asn1::UintRef;
use der::{Encode as _, Header, Tag};

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
        key.permits(algorithm) && key.material().verifies(algorithm, message, signature)
    }
}

/// An ECDSA signature as everybody but JWS has it: the two numbers in DER (RFC 3279 §2.2.3) instead
/// of one after the other (RFC 7518 §3.4). `None` when it is not as long as two numbers are; whether
/// these are of the curve is for whoever checks the signature.
pub fn ecdsa_in_der(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    let length = match algorithm {
        Algorithm::Es256 => 2 * 32,
        Algorithm::Es384 => 2 * 48,
        _ => return None,
    };
    if signature.len() != length {
        return None;
    }
    let (r, s) = signature.split_at_checked(length / 2)?;
    let (r, s) = (UintRef::new(r).ok()?, UintRef::new(s).ok()?);
    let mut der = Vec::new();
    let numbers = (r.encoded_len().ok()? + s.encoded_len().ok()?).ok()?;
    Header::new(Tag::Sequence, numbers)
        .ok()?
        .encode_to_vec(&mut der)
        .ok()?;
    r.encode_to_vec(&mut der).ok()?;
    s.encode_to_vec(&mut der).ok()?;
    Some(der)
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
    fn ecdsa_numbers_in_der_are_as_short_as_can_be() {
        let mut signature = [0; 64];
        (signature[31], signature[32]) = (0x7f, 0x80);
        let der = ecdsa_in_der(Algorithm::Es256, &signature).unwrap();
        // RFC 3279 §2.2.3: a SEQUENCE of two INTEGERs; one whose first bit is set has a zero before.
        let mut expected = vec![0x30, 38, 2, 1, 0x7f, 2, 33, 0, 0x80];
        expected.extend([0; 31]);
        assert_eq!(der, expected);
        for (algorithm, length) in [
            (Algorithm::Es256, 63),
            (Algorithm::Es256, 96),
            (Algorithm::Es384, 64),
            (Algorithm::Rs256, 64),
        ] {
            assert_eq!(ecdsa_in_der(algorithm, &vec![1; length]), None);
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
