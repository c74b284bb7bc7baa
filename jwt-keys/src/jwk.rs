//! The JSON of a public key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).

use crate::algorithm::Algorithm;
use crate::error::KeyError;
use crate::material::Material;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The members that we look at.
#[derive(Deserialize)]
pub(crate) struct Jwk {
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
    pub(crate) fn parse(json: &[u8]) -> Result<Self, KeyError> {
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

    pub(crate) fn into_key_id(self) -> Option<String> {
        self.kid
    }

    pub(crate) fn material(&self) -> Result<Material, KeyError> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Material::rsa(&number(&self.n, "n")?, &number(&self.e, "e")?),
            ("EC", Some("P-256")) => Material::p256(&self.point(32)?),
            ("EC", Some("P-384")) => Material::p384(&self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::ed25519(&number(&self.x, "x")?),
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
        for coordinate in [number(&self.x, "x")?, number(&self.y, "y")?] {
            if coordinate.len() != length {
                return Err(KeyError::Numbers);
            }
            point.extend(coordinate);
        }
        Ok(point)
    }

    /// RFC 7517 §4.4.
    pub(crate) fn algorithm(&self) -> Result<Option<Algorithm>, KeyError> {
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

/// The bytes of a member that has to be there, in base64url.
fn number(member: &Option<String>, name: &str) -> Result<Vec<u8>, KeyError> {
    let Some(text) = member else {
        return Err(KeyError::Json(format!("\"{name}\" is missing")));
    };
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| KeyError::Json("a number is not base64url".into()))
}
