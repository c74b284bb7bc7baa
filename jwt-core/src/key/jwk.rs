//! The JSON of a public key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use super::KeyError;
use super::material::Material;
use crate::algorithm::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The members that we look at.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Jwk {
    /// A JWK that is public and may verify.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let value: Value =
            serde_json::from_slice(json).map_err(|e| KeyError::Json(e.to_string()))?;
        // serde would take an array of the members' values for a struct as well.
        if !value.is_object() {
            return Err(KeyError::Json("expected an object".into()));
        }
        let jwk: Self = serde_json::from_value(value).map_err(|e| KeyError::Json(e.to_string()))?;
        if jwk.is_private() {
            return Err(KeyError::Private);
        }
        jwk.permits_verifying()?;
        Ok(jwk)
    }

    pub(super) fn into_key_id(self) -> Option<String> {
        self.kid
    }

    pub(super) fn material(&self) -> Result<Material, KeyError> {
        let required = |value: &Option<String>, name: &str| {
            value
                .clone()
                .ok_or_else(|| KeyError::Json(format!("\"{name}\" is missing")))
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Material::rsa(&required(&self.n, "n")?, &required(&self.e, "e")?),
            ("EC", Some("P-256")) => {
                Material::p256(&required(&self.x, "x")?, &required(&self.y, "y")?)
            }
            ("EC", Some("P-384")) => {
                Material::p384(&required(&self.x, "x")?, &required(&self.y, "y")?)
            }
            ("OKP", Some("Ed25519")) => Material::ed25519(&required(&self.x, "x")?),
            (kty, crv) => Err(KeyError::NotForVerifying(format!(
                "\"kty\" {kty:?} with \"crv\" {:?} is not accepted: expected RSA, EC with P-256 \
                 or P-384, or OKP with Ed25519",
                crv.unwrap_or_default()
            ))),
        }
    }

    /// RFC 7517 §4.4.
    pub(super) fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
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

    /// Whether it has a member of a private (RFC 7518 §6.2.2, §6.3.2) or a symmetric key (§6.4.1).
    fn is_private(&self) -> bool {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        PRIVATE
            .iter()
            .any(|member| self.others.contains_key(*member))
    }

    /// RFC 7517 §4.2 and §4.3.
    fn permits_verifying(&self) -> Result<(), KeyError> {
        let refuse = |member: &str, value: &str, expected: &str| {
            Err(KeyError::NotForVerifying(format!(
                "\"{member}\" is {value:?}: expected {expected}"
            )))
        };
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
}
