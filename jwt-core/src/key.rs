//! Public keys and their names.

use crate::algorithm::Algorithm;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// Which key signed a token: the issuer (`iss`) and its key id (`kid`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    issuer: String,
    key_id: String,
}

/// No issuer and no key id is longer in bytes; names are kept in caches that strangers can fill.
const MAX_NAME_LENGTH: usize = 1024;

impl KeyName {
    /// Both parts are non-empty and at most 1024 bytes long.
    pub fn new(issuer: String, key_id: String) -> Result<Self, Refusal> {
        for (name, value) in [("iss", &issuer), ("kid", &key_id)] {
            if value.is_empty() {
                return Err(Refusal::Missing(name));
            }
            if value.len() > MAX_NAME_LENGTH {
                return Err(Refusal::WrongType {
                    name,
                    expected: "at most 1024 bytes long",
                });
            }
        }
        Ok(Self { issuer, key_id })
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `kid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

impl fmt::Display for KeyName {
    /// As it may stand in a log line: control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.key_id, self.issuer)
    }
}

/// A key that may verify signatures: of a kind and size we trust, for signing if it says a use.
#[derive(Clone)]
pub struct PublicKey {
    rsa: RsaPublicKey,
    /// What the JWK says it is for (RFC 7517 §4.4); `None` leaves it to the token.
    algorithm: Option<Algorithm>,
    key_id: Option<String>,
    spki: Vec<u8>,
    decoding_key: DecodingKey,
}

/// Why bytes are no [`PublicKey`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not the JSON of a JWK (RFC 7517 §4).
    #[error("not a JWK: {0}")]
    Json(String),
    /// Holds private members: whoever can read it can sign.
    #[error("a private key: only public keys belong here")]
    Private,
    /// `kty`, `alg`, `use` or `key_ops` rule it out.
    #[error("{0}")]
    NotForVerifying(String),
    /// RFC 7518 §3.3: RSA keys have 2048 bits or more. Above 4096 a check takes too long.
    #[error("an RSA key of {0} bits: expected 2048 to 4096")]
    Size(usize),
    /// The numbers make no key.
    #[error("not a valid RSA public key")]
    Numbers,
    /// Neither kind of PEM block that we read.
    #[error("expected a PEM block \"PUBLIC KEY\" or \"RSA PUBLIC KEY\"")]
    Pem,
}

impl PublicKey {
    /// From the JSON of a JWK (RFC 7517 §4).
    pub fn from_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let jwk: Jwk = serde_json::from_slice(json).map_err(|e| KeyError::Json(e.to_string()))?;
        if jwk.is_private() {
            return Err(KeyError::Private);
        }
        jwk.permits_verifying()?;
        let number = |text: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_deref()?).ok()?;
            Some(BigUint::from_bytes_be(&bytes))
        };
        let (Some(n), Some(e)) = (number(&jwk.n), number(&jwk.e)) else {
            return Err(KeyError::Json(
                "\"n\" and \"e\" must be base64url numbers".into(),
            ));
        };
        let algorithm = jwk.algorithm()?;
        Self::from_rsa(
            RsaPublicKey::new_with_max_size(n, e, 16_384),
            algorithm,
            jwk.kid,
        )
    }

    /// From the text of a PEM file: SubjectPublicKeyInfo (RFC 7468 §13) or PKCS#1.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let rsa = if pem.contains("-----BEGIN PUBLIC KEY-----") {
            RsaPublicKey::from_public_key_pem(pem).map_err(|_| KeyError::Numbers)?
        } else if pem.contains("-----BEGIN RSA PUBLIC KEY-----") {
            RsaPublicKey::from_pkcs1_pem(pem).map_err(|_| KeyError::Numbers)?
        } else {
            return Err(KeyError::Pem);
        };
        Self::from_rsa(Ok(rsa), None, None)
    }

    fn from_rsa(
        rsa: Result<RsaPublicKey, rsa::Error>,
        algorithm: Option<Algorithm>,
        key_id: Option<String>,
    ) -> Result<Self, KeyError> {
        let rsa = rsa.map_err(|_| KeyError::Numbers)?;
        let bits = rsa.n().bits();
        if !(2048..=4096).contains(&bits) {
            return Err(KeyError::Size(bits));
        }
        let spki = rsa
            .to_public_key_der()
            .map_err(|_| KeyError::Numbers)?
            .into_vec();
        let (n, e) = (rsa.n().to_bytes_be(), rsa.e().to_bytes_be());
        let decoding_key = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok(Self {
            rsa,
            algorithm,
            key_id,
            spki,
            decoding_key,
        })
    }

    /// Whether the key may check a signature of this algorithm.
    pub fn permits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// `kid`, where the JWK has one.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The SHA-256 thumbprint of RFC 7638, base64url.
    pub fn thumbprint(&self) -> String {
        // RFC 7638 §3.2: the required members in lexicographic order, without white space.
        let [n, e] = self.numbers();
        let required = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::digest(required))
    }

    /// As a JWK under the given `kid`.
    pub fn to_jwk(&self, key_id: &str) -> Value {
        let [n, e] = self.numbers();
        let mut jwk = json!({"kty": "RSA", "use": "sig", "kid": key_id, "n": n, "e": e});
        if let (Some(algorithm), Some(members)) = (self.algorithm, jwk.as_object_mut()) {
            members.insert("alg".into(), algorithm.name().into());
        }
        jwk
    }

    pub(crate) fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }

    fn numbers(&self) -> [String; 2] {
        [self.rsa.n(), self.rsa.e()].map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}

/// The members of a JWK that we look at (RFC 7517 §4, RFC 7518 §6.3).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Jwk {
    /// Whether it has a member of a private (RFC 7518 §6.3.2) or a symmetric key (§6.4.1).
    fn is_private(&self) -> bool {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        PRIVATE
            .iter()
            .any(|member| self.others.contains_key(*member))
    }

    /// RFC 7517 §4.1 to §4.3.
    fn permits_verifying(&self) -> Result<(), KeyError> {
        let refuse = |member: &str, value: &str, expected: &str| {
            Err(KeyError::NotForVerifying(format!(
                "\"{member}\" is {value:?}: expected {expected}"
            )))
        };
        if self.kty != "RSA" {
            return refuse("kty", &self.kty, "\"RSA\"");
        }
        match self.public_key_use.as_deref() {
            None | Some("sig") => {}
            Some(other) => return refuse("use", other, "\"sig\""),
        }
        match &self.key_ops {
            Some(ops) if !ops.iter().any(|op| op == "verify") => {
                refuse("key_ops", &ops.join(","), "\"verify\" among them")
            }
            _ => Ok(()),
        }
    }

    fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        let Some(name) = &self.alg else {
            return Ok(None);
        };
        match Algorithm::from_name(name) {
            Some(algorithm) => Ok(Some(algorithm)),
            None => Err(KeyError::NotForVerifying(format!(
                "\"alg\" {name:?} is not accepted"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The key of RFC 7638 §3.1.
    fn rfc7638() -> Value {
        json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        })
    }

    fn with(name: &str, value: Value) -> Result<PublicKey, KeyError> {
        let mut jwk = rfc7638();
        jwk[name] = value;
        PublicKey::from_jwk(jwk.to_string().as_bytes())
    }

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        let key = PublicKey::from_jwk(rfc7638().to_string().as_bytes()).unwrap();
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        assert_eq!(key.key_id(), Some("2011-04-29"));
    }

    #[test]
    fn a_key_survives_the_way_through_jwk_and_pem() {
        let key = PublicKey::from_jwk(rfc7638().to_string().as_bytes()).unwrap();
        let again = PublicKey::from_jwk(key.to_jwk("other").to_string().as_bytes()).unwrap();
        assert_eq!(again.spki(), key.spki());
        assert_eq!(again.key_id(), Some("other"));
        let rsa = RsaPublicKey::from_public_key_der(key.spki()).unwrap();
        let pem = rsa.to_public_key_pem(rsa::pkcs8::LineEnding::LF).unwrap();
        assert_eq!(PublicKey::from_pem(&pem).unwrap().spki(), key.spki());
        let pem = rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_pem(&rsa, rsa::pkcs1::LineEnding::LF);
        assert_eq!(
            PublicKey::from_pem(&pem.unwrap()).unwrap().spki(),
            key.spki()
        );
    }

    #[test]
    fn a_key_keeps_to_the_algorithm_it_names() {
        let named = PublicKey::from_jwk(rfc7638().to_string().as_bytes()).unwrap();
        assert!(named.permits(Algorithm::Rs256) && !named.permits(Algorithm::Rs512));
        let open = with("alg", Value::Null).unwrap();
        assert!(open.permits(Algorithm::Rs256) && open.permits(Algorithm::Rs512));
    }

    #[test]
    fn keys_for_other_purposes_are_refused() {
        for (name, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("kty", json!("oct")),
            ("alg", json!("HS256")),
            ("alg", json!("RSA-OAEP")),
        ] {
            let error = with(name, value.clone()).unwrap_err();
            assert!(
                matches!(error, KeyError::NotForVerifying(_)),
                "{name} {value}: {error:?}"
            );
        }
        for member in ["d", "p", "k"] {
            assert_eq!(with(member, json!("AQAB")).unwrap_err(), KeyError::Private);
        }
        assert!(with("key_ops", json!(["verify"])).is_ok());
    }

    #[test]
    fn keys_of_the_wrong_size_are_refused() {
        let modulus = |bits: usize| {
            let mut bytes = vec![0xff; bits / 8];
            bytes[0] = 0x80;
            json!(URL_SAFE_NO_PAD.encode(bytes))
        };
        assert_eq!(with("n", modulus(1024)).unwrap_err(), KeyError::Size(1024));
        assert_eq!(with("n", modulus(8192)).unwrap_err(), KeyError::Size(8192));
        assert!(with("n", modulus(4096)).is_ok());
    }

    #[test]
    fn broken_keys_are_errors() {
        for broken in [
            "",
            "[]",
            "{}",
            r#"{"kty":"RSA"}"#,
            r#"{"kty":"RSA","n":"*","e":"AQAB"}"#,
        ] {
            assert!(PublicKey::from_jwk(broken.as_bytes()).is_err(), "{broken}");
        }
        assert_eq!(with("e", json!("AA")).unwrap_err(), KeyError::Numbers);
        assert_eq!(PublicKey::from_pem("no PEM").unwrap_err(), KeyError::Pem);
        let cut = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
        assert_eq!(PublicKey::from_pem(cut).unwrap_err(), KeyError::Numbers);
    }

    #[test]
    fn names_are_bounded() {
        assert!(KeyName::new("a".repeat(1024), "b".repeat(1024)).is_ok());
        assert!(KeyName::new("a".repeat(1025), "b".into()).is_err());
        assert!(KeyName::new("a".into(), String::new()).is_err());
    }
}
