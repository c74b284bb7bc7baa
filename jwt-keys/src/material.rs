//! The numbers of a public key, each kind checked by the library that computes with it.

use crate::algorithm::Algorithm;
use crate::error::KeyError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use rsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::ops::RangeInclusive;

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
pub(crate) type Member = (&'static str, String);

impl Material {
    /// The big-endian bytes of modulus and exponent.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        // Bounded here only against absurd computation; the size is judged below.
        const BITS: RangeInclusive<usize> = 1..=16_384;
        let [n, e] = [n, e].map(BoxedUint::from_be_slice_vartime);
        let key =
            rsa::PublicKey::new_with_size_limits(n, e, BITS).map_err(|_| KeyError::Numbers)?;
        match key.n().bit_width_vartime() {
            2048..=4096 => Ok(Self::Rsa(key)),
            bits => Err(KeyError::Size(bits as usize)),
        }
    }

    /// A point as SEC 1 §2.3.3 writes it.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, KeyError> {
        p256::PublicKey::from_sec1_bytes(point)
            .map(Self::P256)
            .map_err(|_| KeyError::Numbers)
    }

    /// The same on P-384.
    pub(crate) fn p384(point: &[u8]) -> Result<Self, KeyError> {
        p384::PublicKey::from_sec1_bytes(point)
            .map(Self::P384)
            .map_err(|_| KeyError::Numbers)
    }

    /// RFC 8032 §5.1.5.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::Numbers)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Numbers)?;
        // With a key of small order, signatures exist that fit every message.
        if key.is_weak() {
            Err(KeyError::Numbers)
        } else {
            Ok(Self::Ed25519(key))
        }
    }

    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::Rsa,
            Self::P256(_) => KeyType::P256,
            Self::P384(_) => KeyType::P384,
            Self::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// The members of a JWK that make the key, in lexicographic order (RFC 7638 §3.2).
    pub(crate) fn members(&self) -> Vec<Member> {
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

    /// Whether `signature` is that of `message`; the algorithm is one for this kind of key.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => rsa_verifies(key, algorithm, message, signature),
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature).is_ok_and(|own| {
                p256::ecdsa::VerifyingKey::from(key)
                    .verify_prehash(&Sha256::digest(message), &own)
                    .is_ok()
            }),
            Self::P384(key) => p384::ecdsa::Signature::from_slice(signature).is_ok_and(|own| {
                p384::ecdsa::VerifyingKey::from(key)
                    .verify_prehash(&Sha384::digest(message), &own)
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
