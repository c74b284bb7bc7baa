//! The JSON of a public key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use crate::algorithm::Algorithm;
use crate::error::KeyError;
use crate::material::Material;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A JWK that is public and may verify.
pub(crate) struct Jwk {
    members: Map<String, Value>,
}

impl Jwk {
    /// From its JSON.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let value = serde_json::from_slice(json).map_err(|e| KeyError::Json(e.to_string()))?;
        let Value::Object(members) = value else {
            return Err(KeyError::Json("expected an object".into()));
        };
        let jwk = Self { members };
        if jwk.is_private() {
            return Err(KeyError::Private);
        }
        jwk.permits_verifying()?;
        Ok(jwk)
    }

    /// `kid` (RFC 7517 §4.5).
    pub(crate) fn key_id(&self) -> Result<Option<&str>, KeyError> {
        self.text("kid")
    }

    pub(crate) fn material(&self) -> Result<Material, KeyError> {
        match (self.required("kty")?, self.text("crv")?) {
            ("RSA", _) => Material::rsa(&self.number("n")?, &self.number("e")?),
            ("EC", Some("P-256")) => Material::p256(&self.point(32)?),
            ("EC", Some("P-384")) => Material::p384(&self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::ed25519(&self.number("x")?),
            (kty, crv) => Err(KeyError::NotForVerifying(format!(
                "\"kty\" {kty:?} with \"crv\" {:?} is not accepted: expected RSA, EC with P-256 \
                 or P-384, or OKP with Ed25519",
                crv.unwrap_or_default()
            ))),
        }
    }

    /// RFC 7518 §6.2.1: each coordinate as long as the curve's field. The point is written as in
    /// SEC 1 §2.3.3, uncompressed.
    fn point(&self, length: usize) -> Result<Vec<u8>, KeyError> {
        let mut point = vec![4];
        for coordinate in [self.number("x")?, self.number("y")?] {
            if coordinate.len() != length {
                return Err(KeyError::Numbers);
            }
            point.extend(coordinate);
        }
        Ok(point)
    }

    /// RFC 7517 §4.4.
    pub(crate) fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
        let Some(name) = self.text("alg")? else {
            return Ok(None);
        };
        match Algorithm::from_name(name) {
            Some(algorithm) => Ok(Some(algorithm)),
            None => Err(KeyError::NotForVerifying(format!(
                "\"alg\" {name:?} is not accepted"
            ))),
        }
    }

    /// Whether it has a member of a private (RFC 7518 §6.2.2, §6.3.2) or a symmetric key (§6.4.1).
    fn is_private(&self) -> bool {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        PRIVATE
            .iter()
            .any(|member| self.members.contains_key(*member))
    }

    /// RFC 7517 §4.2 and §4.3.
    fn permits_verifying(&self) -> Result<(), KeyError> {
        let refuse = |member: &str, value: &str, expected: &str| {
            Err(KeyError::NotForVerifying(format!(
                "\"{member}\" is {value:?}: expected {expected}"
            )))
        };
        match self.text("use")? {
            None | Some("sig") => {}
            Some(other) => return refuse("use", other, "\"sig\""),
        }
        let operations = match self.member("key_ops") {
            None => return Ok(()),
            Some(Value::Array(operations)) => operations,
            Some(_) => return Err(wrong("key_ops", "a list")),
        };
        if operations.iter().any(|operation| operation == "verify") {
            return Ok(());
        }
        let named: Vec<_> = operations.iter().filter_map(Value::as_str).collect();
        refuse("key_ops", &named.join(","), "\"verify\" among them")
    }

    /// `null` counts as absent.
    fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, KeyError> {
        match self.member(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    fn required(&self, name: &str) -> Result<&str, KeyError> {
        let text = self.text(name)?;
        text.ok_or_else(|| KeyError::Json(format!("\"{name}\" is missing")))
    }

    /// The bytes that a member has in base64url.
    fn number(&self, name: &str) -> Result<Vec<u8>, KeyError> {
        URL_SAFE_NO_PAD
            .decode(self.required(name)?)
            .map_err(|_| KeyError::Json("a number is not base64url".into()))
    }
}

fn wrong(name: &str, expected: &str) -> KeyError {
    KeyError::Json(format!("\"{name}\" is not {expected}"))
}
