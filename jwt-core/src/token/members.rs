//! The members of a token's header and claims that we look at, read in one pass.

use super::Claims;
use super::value::Value;
use crate::algorithm::Algorithm;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// `jwk`, `jku`, `x5u` and `x5c` are not among them: a key that comes with the token proves
/// nothing (RFC 8725 §3.10).
#[derive(Deserialize)]
struct RawHeader<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    alg: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    kid: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    crit: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    b64: Option<Value<'a>>,
}

#[derive(Deserialize)]
struct RawClaims<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    iss: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    aud: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    exp: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    nbf: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    iat: Option<Value<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    jti: Option<Value<'a>>,
}

/// Keeps a `null` apart from an absent member.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value<'de>>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// `alg` and `kid`.
pub(super) fn header(json: &[u8]) -> Result<(Algorithm, String), Refusal> {
    let header: RawHeader<'_> =
        object(json).ok_or(Refusal::Malformed("the header is not a JSON object"))?;
    // RFC 7515 §4.1.11: a critical extension that is not understood makes the JWS invalid. We
    // understand none. RFC 7797 §6: `b64` has to be critical, so on its own it is a mistake.
    if header.crit.is_some() || header.b64.is_some_and(|b64| b64 != Value::True) {
        return Err(Refusal::Critical);
    }
    let algorithm = Algorithm::from_name(&text(header.alg, "alg")?).ok_or(Refusal::Algorithm)?;
    Ok((algorithm, text(header.kid, "kid")?.into_owned()))
}

/// `iss`, and the other claims.
pub(super) fn claims(json: &[u8]) -> Result<(String, Claims), Refusal> {
    let raw: RawClaims<'_> =
        object(json).ok_or(Refusal::Malformed("the claims are not a JSON object"))?;
    let claims = Claims {
        audiences: audiences(raw.aud)?,
        expires: numeric_date(raw.exp, "exp")?,
        not_before: numeric_date(raw.nbf, "nbf")?,
        issued: numeric_date(raw.iat, "iat")?,
        token_id: text(raw.jti, "jti")?.into_owned(),
    };
    Ok((text(raw.iss, "iss")?.into_owned(), claims))
}

/// A JSON object and nothing else: serde would take an array of the members' values too.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start()
        .starts_with(b"{")
        .then(|| serde_json::from_slice(json).ok())?
}

fn text<'a>(value: Option<Value<'a>>, name: &'static str) -> Result<Cow<'a, str>, Refusal> {
    match value.ok_or(Refusal::Missing(name))? {
        Value::Text(text) if text.is_empty() => Err(Refusal::Missing(name)),
        Value::Text(text) => Ok(text),
        _ => Err(wrong_type(name, "a string")),
    }
}

/// RFC 7519 §4.1.3: an array of strings, or one string.
fn audiences(value: Option<Value<'_>>) -> Result<Vec<String>, Refusal> {
    match value.ok_or(Refusal::Missing("aud"))? {
        Value::Text(audience) => Ok(vec![audience.into_owned()]),
        Value::Texts(audiences) => Ok(audiences),
        _ => Err(wrong_type("aud", "a string or a list of strings")),
    }
}

/// RFC 7519 §2, NumericDate: seconds since the epoch, fractions permitted.
fn numeric_date(value: Option<Value<'_>>, name: &'static str) -> Result<Timestamp, Refusal> {
    let date = match value.ok_or(Refusal::Missing(name))? {
        Value::Integer(seconds) => Timestamp::from_seconds(seconds),
        Value::Float(seconds) => Timestamp::from_fractional_seconds(seconds),
        _ => None,
    };
    date.ok_or_else(|| wrong_type(name, "a date in seconds since 1970"))
}

fn wrong_type(name: &'static str, expected: &'static str) -> Refusal {
    Refusal::WrongType { name, expected }
}
