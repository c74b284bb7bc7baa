//! The private key: read from PEM once, then kept ready to sign.

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::pem::{self, PemObject, SectionKind};
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
        refuse_encrypted(pem)?;
        let pair = match first_private_key(pem)? {
            (SectionKind::RsaPrivateKey, der) => Pair::Rsa(RsaKeyPair::from_der(&der)?),
            (SectionKind::PrivateKey, der) => from_pkcs8(&der)?,
            (_, der) => p256(&der)?,
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
    /// Nothing in the file begins like PEM.
    #[error("no PEM block found; {EXPECTED}")]
    NoPem,
    /// There is PEM, but none of it is a private key.
    #[error("found a PEM block {0:?}, which is no private key this version reads; {EXPECTED}")]
    NoPrivateKey(String),
    /// The key needs a passphrase.
    #[error("encrypted keys are not supported; `openssl pkey -in FILE` writes a decrypted copy")]
    Encrypted,
    /// The PEM around the key is damaged.
    #[error("the PEM block is malformed: {0}")]
    MalformedPem(&'static str),
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

const EXPECTED: &str = "expected \"-----BEGIN RSA PRIVATE KEY-----\" (PKCS#1), \"-----BEGIN EC \
                        PRIVATE KEY-----\" (SEC1) or \"-----BEGIN PRIVATE KEY-----\" (PKCS#8)";

/// An encrypted PKCS#8 key has a label of its own (RFC 7468 §11); an encrypted PKCS#1 key has the
/// usual label and RFC 1421 headers inside.
fn refuse_encrypted(pem: &[u8]) -> Result<(), KeyError> {
    let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| contains(pem, mark.as_bytes()));
    if encrypted {
        return Err(KeyError::Encrypted);
    }
    Ok(())
}

fn first_private_key(pem: &[u8]) -> Result<(SectionKind, Vec<u8>), KeyError> {
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|error| malformed(&error))?;
        if matches!(
            kind,
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey
        ) {
            return Ok((kind, der));
        }
    }
    Err(first_label(pem).map_or(KeyError::NoPem, KeyError::NoPrivateKey))
}

/// In words of our own: the parser's quote the line, and a key whose line breaks were lost is
/// one line.
fn malformed(error: &pem::Error) -> KeyError {
    KeyError::MalformedPem(match error {
        pem::Error::MissingSectionEnd { .. } => "its END line is missing",
        pem::Error::IllegalSectionStart { .. } => {
            "its BEGIN line does not end in five dashes and a line break"
        }
        pem::Error::Base64Decode(_) => "it is not base64",
        _ => "it cannot be read",
    })
}

/// The text between `-----BEGIN ` and `-----`, if it looks like a label (RFC 7468 §2).
fn first_label(pem: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(pem);
    let (_, after_begin) = text.split_once("-----BEGIN ")?;
    let (label, _) = after_begin.split_once("-----")?;
    let is_label = label.len() <= 40 && label.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    is_label.then(|| label.to_owned())
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
    fn what_is_no_pem_is_named_so() {
        for text in [&b""[..], b"not a key", b"\x30\x82\x04\xbe\xff"] {
            assert_eq!(error_of(text), KeyError::NoPem);
        }
    }

    #[test]
    fn a_public_key_is_no_private_key() {
        assert_eq!(
            error_of(include_bytes!("../../tests/keys/public.pem")),
            KeyError::NoPrivateKey("PUBLIC KEY".into())
        );
    }

    #[test]
    fn encrypted_keys_are_refused_in_both_encodings() {
        let pkcs1 = include_bytes!("../../tests/keys/encrypted-pkcs1.pem");
        let pkcs8 = include_bytes!("../../tests/keys/encrypted-pkcs8.pem");
        assert_eq!(error_of(pkcs1), KeyError::Encrypted);
        assert_eq!(error_of(pkcs8), KeyError::Encrypted);
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
        let one_line = text.replace('\n', "");
        let no_end = text.replace("-----END RSA PRIVATE KEY-----", "");
        let no_base64 = text.replace(secret, &secret.replace(char::is_alphanumeric, "*"));
        let line_lost = text.replace(&format!("{secret}\n"), "");
        for pem in [one_line, no_end, no_base64] {
            let error = error_of(pem.as_bytes());
            assert!(matches!(error, KeyError::MalformedPem(_)), "{error}");
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
        let error = error_of(line_lost.as_bytes());
        assert!(matches!(error, KeyError::Invalid(_)), "{error}");
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
