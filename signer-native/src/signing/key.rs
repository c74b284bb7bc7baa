//! The private key: read from PEM once, then kept ready to sign.

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use jwt_keys::pem::{self, PemError};
use std::fmt;

/// A private key and the one algorithm it signs with.
pub struct SigningKey(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Reads the first private key of a PEM file: PKCS#1 (RFC 8017 §A.1.2, `RSA PRIVATE KEY`), SEC1
    /// (RFC 5915, `EC PRIVATE KEY`) or PKCS#8 (RFC 5958, `PRIVATE KEY`), not encrypted.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let key = pem::private_key(pem)?;
        let pair = match key.label() {
            "RSA PRIVATE KEY" => Pair::Rsa(RsaKeyPair::from_der(key.der())?),
            "PRIVATE KEY" => from_pkcs8(key.der())?,
            _ => p256(key.der())?,
        };
        Ok(Self(pair))
    }

    /// `alg` (RFC 7518 §3.1) of the signatures this key makes.
    pub fn algorithm(&self) -> &'static str {
        match &self.0 {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            // RFC 8037 §3.1.
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The JWS signature (RFC 7515 §5.1) of a signing input.
    pub(crate) fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match &self.0 {
            Pair::Rsa(key) => sign_rsa(key, signing_input),
            // RFC 7518 §3.4: "The JWS Signature value […] the concatenation of R and S".
            Pair::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), signing_input)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(key) => Ok(key.sign(signing_input).as_ref().to_vec()),
        }
    }
}

fn sign_rsa(key: &RsaKeyPair, signing_input: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut signature = vec![0; key.public_modulus_len()];
    // RFC 7518 §3.3: RS256 is RSASSA-PKCS1-v1_5 with SHA-256. It is deterministic: the generator is
    // asked for by the signature of the function, not by the algorithm.
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signing_input,
        &mut signature,
    )?;
    Ok(signature)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// Why a file gave no signing key. The text never holds any of the file but a PEM label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or none with a private key that is not encrypted.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A key, but for another algorithm.
    #[error("is an {0} key; jwtproxy signs with RSA, P-256 and Ed25519 keys")]
    WrongType(&'static str),
    /// RFC 7518 §3.3: "A key of size 2048 bits or larger MUST be used".
    #[error("the RSA key is too small: RS256 needs 2048 bits or more")]
    TooSmall,
    /// The block holds no sound key.
    #[error("is no valid private key ({0})")]
    Invalid(&'static str),
}

impl From<KeyRejected> for KeyError {
    fn from(rejected: KeyRejected) -> Self {
        match rejected.description_() {
            "TooSmall" => Self::TooSmall,
            reason => Self::Invalid(reason),
        }
    }
}

fn from_pkcs8(der: &[u8]) -> Result<Pair, KeyError> {
    match key_type(der) {
        Some("EC") => p256(der),
        Some("Ed25519") => Ok(Pair::Ed25519(Ed25519KeyPair::from_pkcs8(der)?)),
        Some(other) => Err(KeyError::WrongType(other)),
        None => Ok(Pair::Rsa(RsaKeyPair::from_pkcs8(der)?)),
    }
}

/// SEC1 or PKCS#8.
fn p256(der: &[u8]) -> Result<Pair, KeyError> {
    let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
    // The one mistake to expect is another curve, and the library does not say so.
    key.map(Pair::P256)
        .map_err(|_| KeyError::WrongType("EC key on another curve or damaged EC"))
}

/// Names a key that is not RSA by its object identifier: in PKCS#8 (RFC 5958 §2) it stands within
/// the first bytes, behind two sequence headers and the version. Whether it is a sound key of that
/// type is for the library to say.
fn key_type(der: &[u8]) -> Option<&'static str> {
    let head = der.get(..24)?;
    KEY_TYPES
        .iter()
        .find(|(identifier, _)| contains(head, identifier))
        .map(|(_, name)| *name)
}

const KEY_TYPES: [(&[u8], &str); 4] = [
    // 1.2.840.10045.2.1, id-ecPublicKey (RFC 5480 §2.1.1)
    (b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", "EC"),
    // 1.3.101.112, id-Ed25519 (RFC 8410 §3)
    (b"\x06\x03\x2b\x65\x70", "Ed25519"),
    // 1.3.101.113, id-Ed448 (RFC 8410 §3)
    (b"\x06\x03\x2b\x65\x71", "Ed448"),
    // 1.2.840.113549.1.1.10, id-RSASSA-PSS (RFC 4055 §3.1): such a key may not sign RS256
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
];

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    };

    const PKCS1: &[u8] = include_bytes!("../../tests/keys/pkcs1.pem");
    const PKCS8: &[u8] = include_bytes!("../../tests/keys/pkcs8.pem");
    const EC_SEC1: &[u8] = include_bytes!("../../tests/keys/ec-sec1.pem");
    const EC_PKCS8: &[u8] = include_bytes!("../../tests/keys/ec-pkcs8.pem");
    const ED25519: &[u8] = include_bytes!("../../tests/keys/ed25519.pem");
    const PUBLIC: &[u8] = include_bytes!("../../tests/keys/pkcs1-public.der");

    fn error_of(pem: &[u8]) -> KeyError {
        SigningKey::from_pem(pem).unwrap_err()
    }

    #[test]
    fn both_encodings_of_a_key_sign_for_its_public_half() {
        for pem in [PKCS1, PKCS8] {
            let signature = SigningKey::from_pem(pem).unwrap().sign(b"text").unwrap();
            let public_key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, PUBLIC);
            assert!(public_key.verify(b"text", &signature).is_ok());
            assert!(public_key.verify(b"test", &signature).is_err());
        }
    }

    #[test]
    fn a_key_behind_another_block_and_with_crlf_line_ends_is_found() {
        let mut pem = include_bytes!("../../tests/keys/public.pem").to_vec();
        pem.extend(PKCS8);
        let crlf = String::from_utf8(pem).unwrap().replace('\n', "\r\n");
        assert!(SigningKey::from_pem(crlf.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_private_key_is_named_so() {
        for (text, words) in [
            (&b""[..], "found nothing"),
            (b"not a key", "found no PEM"),
            (b"\x30\x82\x04\xbe\xff", "found DER"),
            (
                include_bytes!("../../tests/keys/public.pem"),
                "found a block PUBLIC KEY, expected PEM with an unencrypted PRIVATE KEY",
            ),
        ] {
            let error = error_of(text).to_string();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn encrypted_keys_are_refused_in_both_encodings() {
        let pkcs1 = include_bytes!("../../tests/keys/encrypted-pkcs1.pem");
        let pkcs8 = include_bytes!("../../tests/keys/encrypted-pkcs8.pem");
        assert_eq!(error_of(pkcs1), KeyError::Pem(PemError::Encrypted));
        assert_eq!(error_of(pkcs8), KeyError::Pem(PemError::Encrypted));
    }

    #[test]
    fn ec_and_ed25519_keys_sign_with_their_own_algorithms() {
        for (pem, algorithm, verification) in [
            (
                EC_SEC1,
                "ES256",
                &ECDSA_P256_SHA256_FIXED as &dyn VerificationAlgorithm,
            ),
            (EC_PKCS8, "ES256", &ECDSA_P256_SHA256_FIXED),
            (ED25519, "EdDSA", &aws_lc_rs::signature::ED25519),
        ] {
            let key = SigningKey::from_pem(pem).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let signature = key.sign(b"text").unwrap();
            assert_eq!(signature.len(), 64);
            let public_key = match &key.0 {
                Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Rsa(_) => unreachable!(),
            };
            assert!(
                verification
                    .verify_sig(&public_key, b"text", &signature)
                    .is_ok()
            );
        }
    }

    #[test]
    fn keys_for_other_algorithms_are_named() {
        let rsa_pss = include_bytes!("../../tests/keys/rsa-pss.pem");
        assert_eq!(error_of(rsa_pss), KeyError::WrongType("RSA-PSS"));
        let p384 = include_bytes!("../../tests/keys/p384.pem");
        assert!(matches!(error_of(p384), KeyError::WrongType(_)));
    }

    #[test]
    fn a_small_key_is_refused() {
        let pem = include_bytes!("../../tests/keys/rsa-1024.pem");
        assert_eq!(error_of(pem), KeyError::TooSmall);
    }

    #[test]
    fn a_damaged_key_is_refused_without_being_quoted() {
        let text = std::str::from_utf8(PKCS1).unwrap();
        let secret = text.lines().nth(5).unwrap();
        let no_end = text.replace("-----END RSA PRIVATE KEY-----", "");
        let no_base64 = text.replace(secret, &secret.replace(char::is_alphanumeric, "*"));
        let line_lost = text.replace(&format!("{secret}\n"), "");
        for pem in [no_end, no_base64] {
            let error = error_of(pem.as_bytes());
            assert!(matches!(error, KeyError::Pem(_)), "{error}");
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
        let error = error_of(line_lost.as_bytes());
        assert!(
            matches!(error, KeyError::Pem(PemError::Damaged(_))),
            "{error}"
        );
    }

    #[test]
    fn a_key_on_one_line_signs() {
        for pem in [PKCS1, PKCS8, EC_SEC1, EC_PKCS8, ED25519] {
            let one_line = std::str::from_utf8(pem).unwrap().replace('\n', "");
            assert!(SigningKey::from_pem(one_line.as_bytes()).is_ok());
        }
    }

    #[test]
    fn debug_shows_the_algorithm_only() {
        let key = SigningKey::from_pem(PKCS1).unwrap();
        assert_eq!(
            format!("{key:?}"),
            "SigningKey { algorithm: \"RS256\", .. }"
        );
    }
}
