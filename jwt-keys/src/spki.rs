//! SubjectPublicKeyInfo (RFC 5280 §4.1), the form in which all but JWS hand public keys around.

use crate::error::KeyError;
use crate::material::Material;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use rsa::pkcs1::RsaPublicKeyRef;
use rsa::pkcs8::der::asn1::{AnyRef, BitStringRef, UintRef};
use rsa::pkcs8::der::{self, Decode as _, Encode as _, Reader as _, SliceReader, Tag, Tagged as _};
use rsa::pkcs8::spki::AlgorithmIdentifierRef;
use rsa::pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::traits::PublicKeyParts as _;

/// RFC 8017 §A.1; its parameters are NULL.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RFC 5480 §2.1.1; its parameters are the curve.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// RFC 8410 §3; it has no parameters.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// From SubjectPublicKeyInfo (RFC 7468 §13), PKCS#1 or a certificate, in PEM.
pub(crate) fn read_pem(text: &[u8]) -> Result<Material, KeyError> {
    let block = crate::pem::public_key(text)?;
    let der = block.der();
    match block.label() {
        "CERTIFICATE" => read(key_of_certificate(der).map_err(|_| KeyError::Certificate)?),
        // Some programs mix the two labels up; the content is what it is.
        _ if RsaPublicKeyRef::from_der(der).is_ok() => read_pkcs1(der),
        _ => read(der),
    }
}

/// The field subjectPublicKeyInfo (RFC 5280 §4.1). Signature, names and dates are not looked at:
/// what is trusted is the key.
fn key_of_certificate(der: &[u8]) -> der::Result<&[u8]> {
    let mut certificate = SliceReader::new(contents(der)?)?;
    let mut fields = SliceReader::new(contents(certificate.tlv_bytes()?)?)?;
    // Version 1 has no field for its version.
    if Tag::peek(&fields)?.is_context_specific() {
        fields.tlv_bytes()?;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        fields.tlv_bytes()?;
    }
    fields.tlv_bytes()
}

/// What is in the SEQUENCE that these bytes are.
fn contents(der: &[u8]) -> der::Result<&[u8]> {
    let any = AnyRef::from_der(der)?;
    any.tag().assert_eq(Tag::Sequence)?;
    Ok(any.value())
}

fn read(der: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| KeyError::Numbers)?;
    let key = info
        .subject_public_key
        .as_bytes()
        .ok_or(KeyError::Numbers)?;
    let AlgorithmIdentifierRef { oid, parameters } = info.algorithm;
    let curve = || parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match oid {
        RSA if parameters == Some(AnyRef::NULL) => read_pkcs1(key),
        EC if curve() == Some(P256) => Material::p256(key),
        EC if curve() == Some(P384) => Material::p384(key),
        ED25519 if parameters.is_none() => Material::ed25519(key),
        _ => Err(KeyError::Numbers),
    }
}

fn read_pkcs1(der: &[u8]) -> Result<Material, KeyError> {
    let key = RsaPublicKeyRef::from_der(der).map_err(|_| KeyError::Numbers)?;
    Material::rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

/// In DER.
pub(crate) fn encode(material: &Material) -> Result<Vec<u8>, KeyError> {
    let encoded = match material {
        Material::Rsa(key) => write_pkcs1(&key.n_bytes(), &key.e_bytes())
            .and_then(|key| write(RSA, Some(AnyRef::NULL), &key)),
        Material::P256(key) => write(
            EC,
            Some((&P256).into()),
            key.to_sec1_point(false).as_bytes(),
        ),
        Material::P384(key) => write(
            EC,
            Some((&P384).into()),
            key.to_sec1_point(false).as_bytes(),
        ),
        Material::Ed25519(key) => write(ED25519, None, key.as_bytes()),
    };
    encoded.map_err(|_| KeyError::Numbers)
}

fn write_pkcs1(n: &[u8], e: &[u8]) -> der::Result<Vec<u8>> {
    let key = RsaPublicKeyRef {
        modulus: UintRef::new(n)?,
        public_exponent: UintRef::new(e)?,
    };
    key.to_der()
}

fn write(
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'_>>,
    key: &[u8],
) -> der::Result<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef { oid, parameters },
        subject_public_key: BitStringRef::from_bytes(key)?,
    };
    info.to_der()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pem::PemError;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn der(pem: &str) -> Vec<u8> {
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(base64).unwrap()
    }

    /// The key bits of a PEM file under another algorithm.
    fn relabelled(pem: &str, oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>) -> bool {
        let der = der(pem);
        let info = SubjectPublicKeyInfoRef::try_from(&*der).unwrap();
        let key = info.subject_public_key.as_bytes().unwrap();
        read(&write(oid, parameters, key).unwrap()).is_ok()
    }

    #[test]
    fn a_key_is_read_with_the_parameters_of_its_algorithm_alone() {
        let ed25519 = include_str!("../testdata/ed25519.pub");
        let (p256, p384) = (
            include_str!("../testdata/p256.pub"),
            include_str!("../testdata/p384.pub"),
        );
        let rsa = {
            let mut modulus = [0xff; 256];
            modulus[0] = 0xc0;
            write_pkcs1(&modulus, &[1, 0, 1]).unwrap()
        };
        let read_rsa = |parameters| read(&write(RSA, parameters, &rsa).unwrap()).is_ok();
        assert!(read_rsa(Some(AnyRef::NULL)));
        // RFC 3279 §2.3.1: "The parameters field MUST have ASN.1 type NULL".
        assert!(!read_rsa(None) && !read_rsa(Some((&P256).into())));
        let (p256_id, p384_id) = (AnyRef::from(&P256), AnyRef::from(&P384));
        for (pem, oid, right) in [(p256, EC, p256_id), (p384, EC, p384_id)] {
            for parameters in [None, Some(AnyRef::NULL), Some(p256_id), Some(p384_id)] {
                let expected = parameters == Some(right);
                assert_eq!(relabelled(pem, oid, parameters), expected, "{parameters:?}");
            }
        }
        // A curve that is not ours, with a point that would be on one that is.
        let secp256k1 = ObjectIdentifier::new_unwrap("1.3.132.0.10");
        for pem in [p256, p384] {
            assert!(!relabelled(pem, EC, Some((&secp256k1).into())));
        }
        // RFC 8410 §3: "For all of the OIDs, the parameters MUST be absent".
        assert!(relabelled(ed25519, ED25519, None));
        assert!(!relabelled(ed25519, ED25519, Some(AnyRef::NULL)));
        assert!(!relabelled(ed25519, EC, None) && !relabelled(p256, ED25519, None));
    }

    #[test]
    fn a_damaged_key_is_told_apart_from_another_file() {
        let damaged = |label| format!("-----BEGIN {label}-----\nAAAA*\n-----END {label}-----\n");
        let problem = |text: &str| read_pem(text.as_bytes()).err().unwrap();
        for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"] {
            let expected = PemError::NotBase64(label.to_owned());
            assert_eq!(problem(&damaged(label)), KeyError::Pem(expected));
        }
        for other in ["", &damaged("PRIVATE KEY")] {
            let error = problem(other);
            assert!(
                matches!(
                    error,
                    KeyError::Pem(PemError::NoBlock(..) | PemError::OtherBlock { .. })
                ),
                "{error}"
            );
        }
    }
}
