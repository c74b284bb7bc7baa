//! A public key that may verify signatures.

use crate::algorithm::Algorithm;
use crate::error::KeyError;
use crate::jwk::Jwk;
use crate::material::Material;
use crate::pem;
use crate::spki;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A key that may verify signatures: of a kind and size we trust, for signing if it says a use.
#[derive(Clone)]
pub struct PublicKey {
    material: Material,
    /// What the JWK says it is for (RFC 7517 §4.4); `None` leaves it to the token.
    algorithm: Option<Algorithm>,
    key_id: Option<String>,
    spki: Vec<u8>,
    /// Keys of the same name.
    alternatives: Vec<PublicKey>,
}

impl PublicKey {
    /// From the JSON of a JWK (RFC 7517 §4).
    pub fn from_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let jwk = Jwk::parse(json)?;
        let (material, algorithm) = (jwk.material()?, jwk.algorithm()?);
        match algorithm {
            Some(algorithm) if algorithm.key_type() != material.key_type() => Err(
                KeyError::NotForVerifying(format!("\"alg\" {algorithm} is for other keys")),
            ),
            _ => Self::new(material, algorithm, jwk.key_id()?.map(str::to_owned)),
        }
    }

    /// From the text of a PEM file: SubjectPublicKeyInfo (RFC 7468 §13), PKCS#1, or a certificate,
    /// whose key counts and nothing else of it.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::new(spki::read_pem(pem.as_ref())?, None, None)
    }

    fn new(
        material: Material,
        algorithm: Option<Algorithm>,
        key_id: Option<String>,
    ) -> Result<Self, KeyError> {
        let spki = spki::encode(&material)?;
        Ok(Self {
            material,
            algorithm,
            key_id,
            spki,
            alternatives: Vec::new(),
        })
    }

    /// Adds another key of its name. RFC 7517 §4.5: "different keys might use the same
    /// "kid" value […] if they have different "kty" (key type) values but are considered to be
    /// equivalent alternatives by the application using them".
    pub fn add_alternative(&mut self, other: PublicKey) {
        self.alternatives.push(other);
    }

    /// The key for signatures of this algorithm: itself or an alternative; of several, the last.
    pub fn for_algorithm(&self, algorithm: Algorithm) -> Option<&PublicKey> {
        let permits = |key: &&PublicKey| key.permits(algorithm);
        self.alternatives
            .iter()
            .rev()
            .find(permits)
            .or_else(|| Some(self).filter(permits))
    }

    /// Whether the key may check a signature of this algorithm: it is of the matching type, and
    /// of the algorithm that it names, if it names one.
    pub fn permits(&self, algorithm: Algorithm) -> bool {
        algorithm.key_type() == self.material.key_type()
            && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// `kid`, where the JWK has one.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether it may be used as the key of this id. RFC 7517 §4.5: `kid` is optional, so a key that
    /// does not name itself is the one that was asked for; with another `kid` it is another key.
    pub fn may_be(&self, key_id: &str) -> bool {
        self.key_id().is_none_or(|own| own == key_id)
    }

    /// SubjectPublicKeyInfo in DER (RFC 5280 §4.1).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// As PEM: one block `PUBLIC KEY`.
    pub fn to_pem(&self) -> String {
        pem::Block::public_key(self.spki.clone()).to_pem()
    }

    /// The SHA-256 thumbprint of RFC 7638, base64url.
    pub fn thumbprint(&self) -> String {
        // RFC 7638 §3.2: the required members in lexicographic order, without white space. None
        // of the values has a character that JSON would escape.
        let members = self.material.members();
        let members: Vec<_> = members
            .iter()
            .map(|(k, v)| format!("\"{k}\":\"{v}\""))
            .collect();
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{{{}}}", members.join(","))))
    }

    /// It and its alternatives, each as a JWK under the given `kid`.
    pub fn to_jwks(&self, key_id: &str) -> Vec<Value> {
        let all = std::iter::once(self).chain(&self.alternatives);
        all.map(|key| key.to_jwk(key_id)).collect()
    }

    /// As a JWK under the given `kid`, without its alternatives.
    pub fn to_jwk(&self, key_id: &str) -> Value {
        let mut jwk = Map::new();
        for (name, value) in self.material.members() {
            jwk.insert(name.into(), value.into());
        }
        jwk.insert("kid".into(), key_id.into());
        jwk.insert("use".into(), "sig".into());
        if let Some(algorithm) = self.algorithm {
            jwk.insert("alg".into(), algorithm.name().into());
        }
        Value::Object(jwk)
    }

    /// Whether `signature` is that of `message` (RFC 7515 §5.2) under an algorithm that the key
    /// permits.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.permits(algorithm) && self.material.verifies(algorithm, message, signature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::PublicKey as RsaPublicKey;
    use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
    use serde_json::json;
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
    fn a_key_is_used_under_its_own_id_or_any_if_it_has_none() {
        let named = PublicKey::from_jwk(rfc7638().to_string().as_bytes()).unwrap();
        assert!(named.may_be("2011-04-29") && !named.may_be("2011-04-30") && !named.may_be(""));
        let unnamed = with("kid", Value::Null).unwrap();
        assert!(unnamed.may_be("2011-04-29") && unnamed.may_be("any"));
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
            PublicKey::from_pem(pem.unwrap()).unwrap().spki(),
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
            ("kty", json!("EC")),
            ("alg", json!("ES256")),
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
        let error = PublicKey::from_pem("no PEM").unwrap_err();
        assert!(matches!(error, KeyError::Pem(_)), "{error}");
        let cut = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
        assert_eq!(PublicKey::from_pem(cut).unwrap_err(), KeyError::Numbers);
    }

    /// An EC key and an Ed25519 key (RFC 7515 §A.3, RFC 8037 §A.2).
    fn p256() -> Value {
        json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
        })
    }

    fn ed25519() -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        })
    }

    fn read(jwk: &Value) -> Result<PublicKey, KeyError> {
        PublicKey::from_jwk(jwk.to_string().as_bytes())
    }

    #[test]
    fn each_kind_of_key_permits_its_own_algorithms() {
        for (jwk, permitted) in [
            (with_without_alg(), "RS256 RS384 RS512 PS256 PS384 PS512"),
            (p256(), "ES256"),
            (ed25519(), "EdDSA"),
        ] {
            let key = read(&jwk).unwrap();
            let found: Vec<_> = Algorithm::ALL
                .into_iter()
                .filter(|a| key.permits(*a))
                .collect();
            let names: Vec<_> = found.into_iter().map(Algorithm::name).collect();
            assert_eq!(names.join(" "), permitted);
            let again = read(&key.to_jwk("k")).unwrap();
            assert_eq!(again.spki(), key.spki());
        }
    }

    fn with_without_alg() -> Value {
        let mut jwk = rfc7638();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }

    #[test]
    fn one_name_may_stand_for_keys_of_several_types() {
        let [rsa, ec, ed] = [rfc7638(), p256(), ed25519()].map(|jwk| read(&jwk).unwrap());
        let mut key = rsa.clone();
        key.add_alternative(ec.clone());
        key.add_alternative(ed.clone());
        for (algorithm, expected) in [
            (Algorithm::Rs256, Some(&rsa)),
            (Algorithm::Es256, Some(&ec)),
            (Algorithm::EdDsa, Some(&ed)),
            (Algorithm::Rs512, None),
            (Algorithm::Es384, None),
        ] {
            let found = key.for_algorithm(algorithm);
            assert_eq!(found.map(PublicKey::spki), expected.map(PublicKey::spki));
        }
        let jwks = key.to_jwks("k");
        assert_eq!(jwks, [rsa, ec, ed].map(|key| key.to_jwk("k")));
        // Of two for one algorithm the last counts.
        let mut key = read(&rfc7638()).unwrap();
        key.add_alternative(read(&with_without_alg()).unwrap());
        assert!(
            key.for_algorithm(Algorithm::Rs256)
                .unwrap()
                .permits(Algorithm::Rs512)
        );
    }

    #[test]
    fn a_key_of_each_type_is_read_from_pem_and_its_der_is_written_alike() {
        // Made with `openssl genpkey` and `openssl pkey -pubout`.
        for (pem, permitted) in [
            (include_str!("../testdata/p256.pub"), "ES256"),
            (include_str!("../testdata/p384.pub"), "ES384"),
            (include_str!("../testdata/ed25519.pub"), "EdDSA"),
        ] {
            let key = PublicKey::from_pem(pem).unwrap();
            let names = Algorithm::ALL.into_iter().filter(|it| key.permits(*it));
            assert_eq!(names.map(Algorithm::name).collect::<Vec<_>>(), [permitted]);
            let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(base64);
            assert_eq!(key.spki(), der.unwrap());
            assert_eq!(read(&key.to_jwk("k")).unwrap().spki(), key.spki());
        }
        for pem in [
            include_str!("../testdata/p521.pub"),
            include_str!("../testdata/secp256k1.pub"),
            include_str!("../testdata/ed448.pub"),
        ] {
            assert_eq!(PublicKey::from_pem(pem).unwrap_err(), KeyError::Numbers);
        }
    }

    #[test]
    fn an_rsa_exponent_is_odd_and_neither_small_nor_large() {
        let exponent = |e: u64| {
            let bytes = e.to_be_bytes();
            let start = bytes.iter().position(|byte| *byte > 0).unwrap_or(7);
            with("e", json!(URL_SAFE_NO_PAD.encode(&bytes[start..])))
        };
        for wrong in [0, 1, 2, 4, 65_536, 1 << 33, (1 << 33) + 1, u64::MAX] {
            assert_eq!(exponent(wrong).unwrap_err(), KeyError::Numbers, "{wrong}");
        }
        for right in [3, 17, 65_537, (1 << 33) - 1] {
            assert!(exponent(right).is_ok(), "{right}");
        }
        let modulus = |last: u8| {
            let mut bytes = [0xff; 256];
            bytes[255] = last;
            with("n", json!(URL_SAFE_NO_PAD.encode(bytes)))
        };
        assert!(modulus(0xff).is_ok());
        assert_eq!(modulus(0xfe).unwrap_err(), KeyError::Numbers);
    }

    #[test]
    fn the_thumbprint_of_an_ed25519_key_is_that_of_the_rfc() {
        let key = read(&ed25519()).unwrap();
        assert_eq!(
            key.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn points_that_are_not_on_the_curve_are_refused() {
        let mut jwk = p256();
        jwk["y"] = jwk["x"].clone();
        assert_eq!(read(&jwk).unwrap_err(), KeyError::Numbers);
        jwk["y"] = json!("AA");
        assert_eq!(read(&jwk).unwrap_err(), KeyError::Numbers);
        let mut jwk = p256();
        jwk["crv"] = json!("P-384");
        assert_eq!(read(&jwk).unwrap_err(), KeyError::Numbers);
        jwk["crv"] = json!("P-521");
        assert!(matches!(
            read(&jwk).unwrap_err(),
            KeyError::NotForVerifying(_)
        ));
        let mut jwk = ed25519();
        // The neutral element: a key of small order.
        jwk["x"] = json!(format!("AQ{}", "A".repeat(41)));
        assert_eq!(read(&jwk).unwrap_err(), KeyError::Numbers);
    }
}
