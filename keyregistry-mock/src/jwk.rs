//! Public keys as JSON Web Keys (RFC 7517).
//!
//! Only what keeps a registry honest is checked here: that a key is public and complete. Whether
//! it is a good key is for the verifiers to say.

use crate::error::Unexpected;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_core::key::PublicKey;
use jwt_keys::pem;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A JWK that is known to hold no private member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    members: Map<String, Value>,
}

impl PublicJwk {
    /// From the text of a JWK.
    pub fn parse(json: &str) -> Result<Self, Unexpected> {
        let value =
            serde_json::from_str(json).map_err(|error| unexpected(format!("no JSON: {error}")))?;
        Self::from_json(value)
    }

    /// From a JWK as a JSON value.
    pub fn from_json(value: Value) -> Result<Self, Unexpected> {
        let Value::Object(mut members) = value else {
            return Err(unexpected("no JSON object"));
        };
        refuse_private(&members)?;
        if !matches!(members.get("kid"), None | Some(Value::String(_))) {
            return Err(unexpected("\"kid\" is no string"));
        }
        for name in required_members(&members)? {
            check_member(&members, name)?;
        }
        shorten_numbers(&mut members)?;
        Ok(Self { members })
    }

    /// From a public key in PEM: SPKI (`PUBLIC KEY`), PKCS#1 (`RSA PUBLIC KEY`) or a certificate.
    pub fn from_pem(text: &str) -> Result<Self, Unexpected> {
        let key = key_in_pem(text).map_err(|found| Unexpected::new(found, PEM_KEY))?;
        let mut this = Self::from_json(key.to_jwk(""))?;
        // A PEM file names no key.
        this.members.remove("kid");
        Ok(this)
    }

    /// `kid` (RFC 7517 §4.5), where the key names itself.
    pub fn kid(&self) -> Option<&str> {
        self.members.get("kid").and_then(Value::as_str)
    }

    /// The same key with this `kid`.
    pub fn with_kid(mut self, kid: &str) -> Self {
        self.members.insert("kid".to_owned(), kid.into());
        self
    }

    /// The base64url SHA-256 thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> String {
        // RFC 7638 §3: only the required members, "ordered lexicographically by the Unicode code
        // points of the member names", no whitespace. `kty` is one of them.
        let mut required = BTreeMap::from([("kty", self.members.get("kty"))]);
        for name in required_members(&self.members).unwrap_or_default() {
            required.insert(name, self.members.get(*name));
        }
        // A map of strings always serializes.
        let json = serde_json::to_vec(&required).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(Sha256::digest(json))
    }

    /// The JWK as a JSON value.
    pub fn to_json(&self) -> Value {
        Value::Object(self.members.clone())
    }
}

const JWK: &str = "a public JWK, an object with \"kty\" RSA (n, e), EC (crv, x, y) or OKP (crv, x)";

const PEM_KEY: &str = "a public key as PEM \"PUBLIC KEY\", \"RSA PUBLIC KEY\" or \"CERTIFICATE\"";

/// The private members of RSA, EC and OKP keys and the secret of symmetric ones
/// (RFC 7518 §6.2.2, §6.3.2 and §6.4.1, RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn unexpected(found: impl Into<String>) -> Unexpected {
    Unexpected::new(found, JWK)
}

fn refuse_private(members: &Map<String, Value>) -> Result<(), Unexpected> {
    let is_private = |name: &&str| members.contains_key(*name);
    let private: Vec<&str> = PRIVATE_MEMBERS.into_iter().filter(is_private).collect();
    if private.is_empty() {
        return Ok(());
    }
    let names = private.join(", ");
    Err(unexpected(format!(
        "a private key (it has {names}), which a registry never holds"
    )))
}

/// What a key of its type consists of, besides `kty` (RFC 7518 §6, RFC 8037 §2).
fn required_members(members: &Map<String, Value>) -> Result<&'static [&'static str], Unexpected> {
    match members.get("kty").and_then(Value::as_str) {
        Some("RSA") => Ok(&["n", "e"]),
        Some("EC") => Ok(&["crv", "x", "y"]),
        Some("OKP") => Ok(&["crv", "x"]),
        Some(_) => Err(unexpected("a \"kty\" no verifier takes")),
        None => Err(unexpected("no string \"kty\"")),
    }
}

fn check_member(members: &Map<String, Value>, name: &str) -> Result<(), Unexpected> {
    let text = members.get(name).and_then(Value::as_str);
    match text {
        None | Some("") => Err(unexpected(format!("no string {name:?}"))),
        Some(_) if name == "crv" => Ok(()),
        Some(text) if URL_SAFE_NO_PAD.decode(text).is_ok() => Ok(()),
        Some(_) => Err(unexpected(format!("{name:?} is no unpadded base64url"))),
    }
}

/// RFC 7518 §2: a `Base64urlUInt` has "the minimum number of octets". Verifiers read longer ones as
/// the same number, so one key must not have two thumbprints here: revoked under one of them, it
/// would come back under the other.
fn shorten_numbers(members: &mut Map<String, Value>) -> Result<(), Unexpected> {
    if members.get("kty").and_then(Value::as_str) != Some("RSA") {
        return Ok(());
    }
    for name in ["n", "e"] {
        let text = members.get(name).and_then(Value::as_str);
        let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.unwrap_or_default();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let number = bytes.get(zeros..).unwrap_or_default();
        if number.is_empty() {
            return Err(unexpected(format!("{name:?} is zero")));
        }
        if zeros > 0 {
            members.insert(name.to_owned(), URL_SAFE_NO_PAD.encode(number).into());
        }
    }
    Ok(())
}

/// The key in a PEM text, or what is there instead.
fn key_in_pem(text: &str) -> Result<PublicKey, String> {
    if pem::has_private_key(text.as_bytes()) {
        return Err("a private key, which a registry never holds".to_owned());
    }
    match pem::count_public_keys(text.as_bytes()) {
        // Which of them is meant?
        Ok(count) if count > 1 => Err(format!("{count} public keys in one file")),
        _ => PublicKey::from_pem(text).map_err(|error| format!("no key for us: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 7638 §3.1.
    const RFC_7638_JWK: &str = r#"{"kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}"#;
    const RFC_7638_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        let jwk = PublicJwk::parse(RFC_7638_JWK).unwrap();
        assert_eq!(jwk.thumbprint(), RFC_7638_THUMBPRINT);
        assert_eq!(jwk.kid(), Some("2011-04-29"));
        assert_eq!(jwk.with_kid("other").kid(), Some("other"));
    }

    #[test]
    fn a_number_with_leading_zeros_is_the_same_number() {
        let jwk = PublicJwk::parse(RFC_7638_JWK).unwrap();
        let with_zeros = |name: &str, zeros: usize| {
            let mut members = jwk.members.clone();
            let bytes = URL_SAFE_NO_PAD.decode(members[name].as_str().unwrap());
            let bytes = [vec![0; zeros], bytes.unwrap()].concat();
            members.insert(name.to_owned(), URL_SAFE_NO_PAD.encode(bytes).into());
            PublicJwk::from_json(members.into()).unwrap()
        };
        for (name, zeros) in [("n", 1), ("n", 2), ("e", 1), ("e", 300)] {
            let other = with_zeros(name, zeros);
            assert_eq!(other.thumbprint(), RFC_7638_THUMBPRINT, "{name}");
            assert_eq!(other, jwk, "{name}");
        }
        let zero = r#"{"kty": "RSA", "n": "AAAA", "e": "AQAB"}"#;
        assert!(PublicJwk::parse(zero).is_err());
    }

    #[test]
    fn a_key_with_any_private_member_is_refused_and_not_repeated() {
        for name in PRIVATE_MEMBERS {
            let jwk = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", name: "c2VjcmV0"});
            let error = PublicJwk::from_json(jwk).unwrap_err().to_string();
            assert!(error.contains(&format!("(it has {name})")), "{error}");
            assert!(!error.contains("c2VjcmV0"), "{error}");
        }
    }

    #[test]
    fn what_is_no_complete_public_key_is_refused() {
        let cases = [
            ("[]", "no JSON object"),
            ("{", "no JSON: "),
            ("{}", "no string \"kty\""),
            (r#"{"kty": "oct"}"#, "a \"kty\" no verifier takes"),
            (r#"{"kty": "RSA", "n": "AQAB"}"#, "no string \"e\""),
            (r#"{"kty": "RSA", "n": "", "e": "AQAB"}"#, "no string \"n\""),
            (r#"{"kty": "RSA", "n": "AQ==", "e": "AQAB"}"#, "\"n\" is no"),
            (
                r#"{"kty": "EC", "crv": "P-256", "x": "AQ"}"#,
                "no string \"y\"",
            ),
            (r#"{"kty": "OKP", "x": "AQ"}"#, "no string \"crv\""),
            (
                r#"{"kty": "OKP", "crv": "Ed25519", "x": "AQ", "kid": 1}"#,
                "\"kid\"",
            ),
        ];
        for (json, found) in cases {
            let error = PublicJwk::parse(json).unwrap_err();
            assert!(error.found.starts_with(found), "{json}: {error}");
        }
    }

    #[test]
    fn other_pem_is_refused_for_its_reason() {
        let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let two = block("PUBLIC KEY") + &block("RSA PUBLIC KEY").replace("AAAA", "AAAB");
        let cases = [
            (block("RSA PRIVATE KEY"), "a private key"),
            (block("ENCRYPTED PRIVATE KEY"), "a private key"),
            (block("CERTIFICATE"), "no key for us: the block CERTIFICATE"),
            (block("PUBLIC KEY"), "no key for us: not a valid public key"),
            (block("RSA PUBLIC KEY"), "no key for us: not a valid public"),
            (two, "2 public keys in one file"),
            (
                "-----BEGIN PUBLIC KEY-----\n".into(),
                "no key for us: the block PUBLIC KEY is cut off",
            ),
            (
                "-----BEGIN PUBLIC KEY".into(),
                "no key for us: found no PEM",
            ),
            (
                "ssh-rsa AAAA".into(),
                "no key for us: found an OpenSSH public key",
            ),
        ];
        for (pem, found) in cases {
            let error = PublicJwk::from_pem(&pem).unwrap_err();
            assert!(error.found.starts_with(found), "{pem}: {error}");
        }
    }
}
