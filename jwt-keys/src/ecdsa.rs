//! The two ways of writing an ECDSA signature.

use crate::algorithm::Algorithm;
use rsa::pkcs8::der::{Encode as _, asn1::UintRef};

/// An ECDSA signature as everybody but JWS has it: the two numbers in DER (RFC 3279 §2.2.3) instead
/// of one after the other (RFC 7518 §3.4). `None` when it is no pair of numbers of the curve's
/// length; whether they fit the key is for who checks the signature.
pub fn ecdsa_in_der(algorithm: Algorithm, signature: &[u8]) -> Option<Vec<u8>> {
    let length = match algorithm {
        Algorithm::Es256 => 32,
        Algorithm::Es384 => 48,
        _ => return None,
    };
    let (r, s) = signature.split_at_checked(length)?;
    if s.len() != length {
        return None;
    }
    vec![UintRef::new(r).ok()?, UintRef::new(s).ok()?]
        .to_der()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn numbers_become_der_integers() {
        let mut signature = [0; 64];
        // A leading one in the first number, so a zero goes before it; leading zeros in the second.
        signature[0] = 0x80;
        signature[63] = 7;
        let der = ecdsa_in_der(Algorithm::Es256, &signature).unwrap();
        assert_eq!(der[..5], [0x30, 38, 2, 33, 0]);
        assert_eq!(der[37..], [2, 1, 7]);
        let own = p256::ecdsa::Signature::from_slice(&signature).unwrap();
        assert_eq!(der, own.to_der().as_bytes());
    }

    #[test]
    fn signatures_of_another_length_have_no_der() {
        for length in [0, 32, 63, 65, 96] {
            assert_eq!(ecdsa_in_der(Algorithm::Es256, &vec![1; length]), None);
        }
        assert!(ecdsa_in_der(Algorithm::Es384, &[1; 96]).is_some());
        assert_eq!(ecdsa_in_der(Algorithm::EdDsa, &[1; 64]), None);
    }
}
