//! Making tokens: what a signer puts on a request.

use crate::registry_token::CLAIM;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The claims that a signer fills itself (RFC 7519 §4.1), and the one of tokens for the registry,
/// which no request gets.
pub const RESERVED_CLAIMS: [&str; 7] = ["iss", "aud", "iat", "nbf", "exp", "jti", CLAIM];

/// How a signer fills the claims of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `alg` of the header (RFC 7515 §4.1.1), for example `RS256`.
    pub algorithm: &'static str,
    /// `kid` of the header (RFC 7515 §4.1.4).
    pub key_id: String,
    /// `iss` (RFC 7519 §4.1.1).
    pub issuer: String,
    /// How long after now a token expires.
    pub expiration_time: Duration,
    /// How far before now a token becomes valid, for verifiers whose clock is behind.
    pub max_skew: Duration,
}

impl Issuer {
    /// The JWS signing input, `base64url(header).base64url(claims)` (RFC 7515 §5.1).
    ///
    /// `audience` is the `aud`, `nonce` the `jti`, which must never be used twice. `extra` are
    /// claims beyond the six; those of [`RESERVED_CLAIMS`] must not be among them.
    pub fn signing_input(
        &self,
        audience: &str,
        extra: &Map<String, Value>,
        nonce: &str,
        now: Timestamp,
    ) -> String {
        self.signing_input_of_type("JWT", audience, extra, nonce, now)
    }

    pub(crate) fn signing_input_of_type(
        &self,
        typ: &str,
        audience: &str,
        extra: &Map<String, Value>,
        nonce: &str,
        now: Timestamp,
    ) -> String {
        let header = Header {
            alg: self.algorithm,
            kid: &self.key_id,
            typ,
        };
        let claims = Claims {
            iss: &self.issuer,
            aud: audience,
            iat: now.seconds(),
            nbf: (now - self.max_skew).seconds(),
            exp: (now + self.expiration_time).seconds(),
            jti: nonce,
            extra,
        };
        let mut input = String::with_capacity(512);
        append_segment(&mut input, &header);
        input.push('.');
        append_segment(&mut input, &claims);
        input
    }
}

/// The compact serialization (RFC 7515 §7.1) of a signing input and its signature.
pub fn compact(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signing_input);
    signing_input
}

/// A `jti` (RFC 7519 §4.1.7) of `length` base64url characters, 6 bits of `random` each.
///
/// `random` is at least `length × 6 / 8` bytes, rounded up, of a cryptographically secure generator.
pub fn nonce(random: &[u8], length: usize) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(random);
    text.truncate(length);
    text
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: &'a str,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

fn append_segment(input: &mut String, part: &impl Serialize) {
    // Strings and integers always serialize.
    let json = serde_json::to_vec(part).unwrap_or_default();
    URL_SAFE_NO_PAD.encode_string(json, input);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn segments(token: &str) -> Vec<Value> {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        token
            .split('.')
            .take(2)
            .map(|part| serde_json::from_slice(&decode(part)).unwrap())
            .collect()
    }

    #[test]
    fn a_token_carries_the_header_and_the_six_claims() {
        let issuer = Issuer {
            algorithm: "RS256",
            key_id: "key \"1\"".into(),
            issuer: "my-service".into(),
            expiration_time: Duration::from_secs(300),
            max_skew: Duration::from_secs(60),
        };
        let now = Timestamp::from_seconds(1_700_000_000).unwrap();
        let input = issuer.signing_input("https://api.example.com", &Map::new(), "n0nce", now);
        assert_eq!(
            segments(&input),
            [
                json!({"alg": "RS256", "kid": "key \"1\"", "typ": "JWT"}),
                json!({"iss": "my-service", "aud": "https://api.example.com", "jti": "n0nce",
                       "iat": 1_700_000_000, "nbf": 1_699_999_940, "exp": 1_700_000_300}),
            ]
        );
        assert_eq!(
            compact(input.clone(), &[0xff, 0xfe]),
            format!("{input}.__4")
        );
    }

    #[test]
    fn extra_claims_stand_beside_the_six() {
        let issuer = Issuer {
            algorithm: "RS256",
            key_id: "k1".into(),
            issuer: "my-service".into(),
            expiration_time: Duration::from_secs(300),
            max_skew: Duration::from_secs(60),
        };
        let extra = Map::from_iter([("tenant".into(), json!({"id": 7}))]);
        let now = Timestamp::from_seconds(1_700_000_000).unwrap();
        let input = issuer.signing_input("aud", &extra, "n0nce", now);
        let claims = &segments(&input)[1];
        assert_eq!(claims["tenant"], json!({"id": 7}));
        assert_eq!(claims.as_object().unwrap().len(), 6 + 1);
    }

    #[test]
    fn a_nonce_has_the_length_asked_for() {
        assert_eq!(nonce(&[0xff; 24], 32), "_".repeat(32));
        assert_eq!(nonce(&[0; 24], 31).len(), 31);
    }
}
