//! The numbers of a public key, each kind checked by the library that computes with it.

use super::KeyError;
use crate::algorithm::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::spki::Error as SpkiError;
use rsa::pkcs8::{DecodePublicKey as _, Document, EncodePublicKey as _};
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The kinds of keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, 2048 to 4096 bits.
    Rsa,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// Ed25519 (RFC 8037).
    Ed25519,
}

/// A public key as its library has it.
#[derive(Clone)]
pub(crate) enum Material {
    Rsa(rsa::PublicKey),
    P256(p256::PublicKey),
    P384(p384::PublicKey),
    Ed25519(VerifyingKey),
}

/// The member of a JWK that names a number, and the number in base64url.
pub(super) type Member = (&'static str, String);

impl Material {
    /// RFC 7518 §6.3.1.
    pub(super) fn rsa(n: &str, e: &str) -> Result<Self, KeyError> {
        let number = |text| Ok(BoxedUint::from_be_slice_vartime(&decode(text)?));
        // Bounded here only against absurd computation; the size is judged below.
        rsa::PublicKey::new_with_size_limits(number(n)?, number(e)?, 1..=16_384)
            .map_err(|_| KeyError::Numbers)
            .and_then(Self::sized_rsa)
    }

    /// RFC 7518 §6.2.1: each coordinate as long as the curve's field.
    pub(super) fn p256(x: &str, y: &str) -> Result<Self, KeyError> {
        let point = uncompressed_point(x, y, 32)?;
        p256::PublicKey::from_sec1_bytes(&point)
            .map(Self::P256)
            .map_err(|_| KeyError::Numbers)
    }

    /// The same for P-384.
    pub(super) fn p384(x: &str, y: &str) -> Result<Self, KeyError> {
        let point = uncompressed_point(x, y, 48)?;
        p384::PublicKey::from_sec1_bytes(&point)
            .map(Self::P384)
            .map_err(|_| KeyError::Numbers)
    }

    /// RFC 8037 §2.
    pub(super) fn ed25519(x: &str) -> Result<Self, KeyError> {
        let bytes = decode(x)?.try_into().map_err(|_| KeyError::Numbers)?;
        VerifyingKey::from_bytes(&bytes)
            .map_err(|_| KeyError::Numbers)
            .and_then(Self::strong_ed25519)
    }

    /// From SubjectPublicKeyInfo (RFC 7468 §13) or PKCS#1, in PEM.
    pub(super) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("-----BEGIN RSA PUBLIC KEY-----") {
            let rsa = rsa::PublicKey::from_pkcs1_pem(pem).map_err(|_| KeyError::Numbers)?;
            return Self::sized_rsa(rsa);
        }
        if !pem.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyError::Pem);
        }
        // Each reader takes only the algorithm that is its own.
        if let Ok(rsa) = rsa::PublicKey::from_public_key_pem(pem) {
            return Self::sized_rsa(rsa);
        }
        if let Ok(key) = VerifyingKey::from_public_key_pem(pem) {
            return Self::strong_ed25519(key);
        }
        let p256 = p256::PublicKey::from_public_key_pem(pem).map(Self::P256);
        p256.or_else(|_| p384::PublicKey::from_public_key_pem(pem).map(Self::P384))
            .map_err(|_| KeyError::Numbers)
    }

    fn sized_rsa(rsa: rsa::PublicKey) -> Result<Self, KeyError> {
        match rsa.n().bit_width_vartime() {
            2048..=4096 => Ok(Self::Rsa(rsa)),
            bits => Err(KeyError::Size(bits as usize)),
        }
    }

    /// With a key of small order, signatures exist that fit every message.
    fn strong_ed25519(key: VerifyingKey) -> Result<Self, KeyError> {
        if key.is_weak() {
            Err(KeyError::Numbers)
        } else {
            Ok(Self::Ed25519(key))
        }
    }

    pub(super) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::Rsa,
            Self::P256(_) => KeyType::P256,
            Self::P384(_) => KeyType::P384,
            Self::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// The members of a JWK that make the key, in lexicographic order (RFC 7638 §3.2).
    pub(super) fn members(&self) -> Vec<Member> {
        let ec = |curve: &str, point: &[u8]| {
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            vec![
                named("crv", curve),
                named("kty", "EC"),
                number("x", x),
                number("y", y),
            ]
        };
        match self {
            Self::Rsa(key) => vec![
                number("e", &key.e_bytes()),
                named("kty", "RSA"),
                number("n", &key.n_bytes()),
            ],
            Self::P256(key) => ec("P-256", key.to_sec1_point(false).as_bytes()),
            Self::P384(key) => ec("P-384", key.to_sec1_point(false).as_bytes()),
            Self::Ed25519(key) => {
                vec![
                    named("crv", "Ed25519"),
                    named("kty", "OKP"),
                    number("x", key.as_bytes()),
                ]
            }
        }
    }

    /// SubjectPublicKeyInfo in DER.
    pub(super) fn to_spki(&self) -> Result<Vec<u8>, KeyError> {
        let document: Result<Document, SpkiError> = match self {
            Self::Rsa(key) => key.to_public_key_der(),
            Self::P256(key) => key.to_public_key_der(),
            Self::P384(key) => key.to_public_key_der(),
            Self::Ed25519(key) => key.to_public_key_der(),
        };
        document
            .map(Document::into_vec)
            .map_err(|_| KeyError::Numbers)
    }

    /// Whether `signature` is that of `message`; the algorithm is one for this kind of key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => rsa_verifies(key, algorithm, message, signature),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|own| {
                p256::ecdsa::VerifyingKey::from(key)
                    .verify(message, &own)
                    .is_ok()
            }),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature).is_ok_and(|own| {
                p384::ecdsa::VerifyingKey::from(key)
                    .verify(message, &own)
                    .is_ok()
            }),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|own| key.verify_strict(message, &own).is_ok()),
        }
    }
}

/// RFC 7518 §3.3 and §3.5.
fn rsa_verifies(
    key: &rsa::PublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    fn digest<D: Digest>(message: &[u8]) -> Vec<u8> {
        D::digest(message).to_vec()
    }
    let verified = match algorithm {
        Algorithm::Rs256 => key.verify(
            Pkcs1v15Sign::new::<Sha256>(),
            &digest::<Sha256>(message),
            signature,
        ),
        Algorithm::Rs384 => key.verify(
            Pkcs1v15Sign::new::<Sha384>(),
            &digest::<Sha384>(message),
            signature,
        ),
        Algorithm::Rs512 => key.verify(
            Pkcs1v15Sign::new::<Sha512>(),
            &digest::<Sha512>(message),
            signature,
        ),
        // The salt is as long as the digest, which is the default here.
        Algorithm::Ps256 => key.verify(Pss::<Sha256>::new(), &digest::<Sha256>(message), signature),
        Algorithm::Ps384 => key.verify(Pss::<Sha384>::new(), &digest::<Sha384>(message), signature),
        Algorithm::Ps512 => key.verify(Pss::<Sha512>::new(), &digest::<Sha512>(message), signature),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return false,
    };
    verified.is_ok()
}

fn named(name: &'static str, value: &str) -> Member {
    (name, value.to_owned())
}

fn number(name: &'static str, bytes: &[u8]) -> Member {
    (name, URL_SAFE_NO_PAD.encode(bytes))
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| KeyError::Json("a number is not base64url".into()))
}

/// SEC 1 §2.3.3, uncompressed.
fn uncompressed_point(x: &str, y: &str, length: usize) -> Result<Vec<u8>, KeyError> {
    let mut point = vec![4];
    for coordinate in [decode(x)?, decode(y)?] {
        if coordinate.len() != length {
            return Err(KeyError::Numbers);
        }
        point.extend(coordinate);
    }
    Ok(point)
}
