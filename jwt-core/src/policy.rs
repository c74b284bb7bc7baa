//! What a verifier demands of a token, beyond its signature.

use crate::algorithm::Algorithm;
use crate::audience::Audience;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::token::limits::DEFAULT_MAX_SIZE;
use crate::token::{Claims, Token};
use serde_json::{Map, Value};
use std::time::Duration;

/// The demands of one verifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The longest permitted token, in bytes of its compact serialization.
    pub max_token_size: usize,
    /// The expected `aud`.
    pub audience: Audience,
    /// The `alg` that tokens may have; a key may permit fewer.
    pub algorithms: Vec<Algorithm>,
    /// How far a signer's clock may be ahead.
    pub max_skew: Duration,
    /// The longest permitted `exp` − `iat`.
    pub max_ttl: Duration,
    /// Tokens issued before are refused, if set: the restart guard.
    pub not_issued_before: Option<Timestamp>,
    /// What the claims must satisfy besides.
    pub claims_verifiers: Vec<ClaimsVerifier>,
}

/// A demand on claims.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimsVerifier {
    /// Every named claim must be present and equal.
    Static(Map<String, Value>),
}

impl Policy {
    /// The demands that stand unless configured otherwise.
    pub fn new(audience: Audience) -> Self {
        Self {
            max_token_size: DEFAULT_MAX_SIZE,
            audience,
            algorithms: Algorithm::ALL.to_vec(),
            max_skew: Duration::from_secs(60),
            max_ttl: Duration::from_secs(300),
            not_issued_before: None,
            claims_verifiers: Vec::new(),
        }
    }

    /// How the token is signed.
    pub(crate) fn check_algorithm(&self, algorithm: Algorithm) -> Result<(), Refusal> {
        match self.algorithms.contains(&algorithm) {
            true => Ok(()),
            false => Err(Refusal::Algorithm),
        }
    }

    /// Whom the token is for and when it is valid.
    pub(crate) fn check_registered(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        if !claims
            .audiences
            .iter()
            .any(|audience| self.audience.matches(audience))
        {
            return Err(Refusal::Audience);
        }
        check_expiry(claims, now)?;
        // RFC 7519 §4.1.5: "The processing of the nbf claim requires that the current date/time
        // MUST be after or equal to the not-before date/time".
        if claims.not_before > now {
            return Err(Refusal::NotYetValid);
        }
        if claims.issued - self.max_skew > now {
            return Err(Refusal::IssuedInFuture);
        }
        if self
            .not_issued_before
            .is_some_and(|start| claims.issued < start)
        {
            return Err(Refusal::IssuedBeforeStart);
        }
        if claims.issued + self.max_ttl < claims.expires {
            return Err(Refusal::LifetimeTooLong);
        }
        Ok(())
    }

    /// What the claims verifiers say to the claims of a token with a good signature.
    pub(crate) fn check_claims(&self, token: &Token) -> Result<(), Refusal> {
        if self.claims_verifiers.is_empty() {
            return Ok(());
        }
        let claims = serde_json::from_slice(token.payload()).map_err(|_| Refusal::Claims)?;
        let agreed = self
            .claims_verifiers
            .iter()
            .all(|verifier| verifier.agrees(&claims));
        if agreed { Ok(()) } else { Err(Refusal::Claims) }
    }
}

/// RFC 7519 §4.1.4: "the current date/time MUST be before the expiration date/time".
pub(crate) fn check_expiry(claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
    if claims.expires > now {
        Ok(())
    } else {
        Err(Refusal::Expired)
    }
}

impl ClaimsVerifier {
    fn agrees(&self, claims: &Map<String, Value>) -> bool {
        match self {
            Self::Static(expected) => expected.iter().all(|(name, value)| {
                claims
                    .get(name)
                    .is_some_and(|claim| json_equal(claim, value))
            }),
        }
    }
}

/// JSON equality: numbers by value (1 is 1.0), objects in any order.
fn json_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64() == b.as_f64() && is_float(a, b)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| json_equal(a, b)))
        }
        _ => a == b,
    }
}

/// Two integers are equal as they are; as floats, large different ones would be too.
fn is_float(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    a.is_f64() || b.is_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn json_equality_is_by_value() {
        for (a, b, equal) in [
            (json!(1), json!(1.0), true),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
                false,
            ),
            (json!("1"), json!(1), false),
            (json!({"a": 1, "b": [2]}), json!({"b": [2.0], "a": 1}), true),
            (json!({"a": 1}), json!({"a": 1, "b": null}), false),
            (json!([1, 2]), json!([2, 1]), false),
            (json!(null), json!(false), false),
        ] {
            assert_eq!(json_equal(&a, &b), equal, "{a} {b}");
        }
    }
}
