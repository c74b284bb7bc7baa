//! The members of a token's header and claims that we look at.

use super::Claims;
use super::json::{Value, members};
use super::limits::{MAX_AUDIENCES, MAX_TEXT_LENGTH, TEXT_LENGTH};
use crate::algorithm::Algorithm;
use crate::refusal::Refusal;
use crate::registry_token::TokenKind;
use crate::time::Timestamp;
use std::borrow::Cow;

/// What a header says. `jwk`, `jku`, `x5u` and `x5c` are not looked at: a key that comes with the
/// token proves nothing (RFC 8725 §3.10).
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
    pub(super) kind: TokenKind,
}

pub(super) fn header(json: &[u8]) -> Result<Header, Refusal> {
    let [alg, kid, typ, crit, b64] =
        members(json, ["alg", "kid", "typ", "crit", "b64"]).ok_or(Refusal::Malformed(
            "the header is not one readable JSON object with unique names and at most 64 levels",
        ))?;
    // RFC 7515 §4.1.11: a critical extension that is not understood makes the JWS invalid. We
    // understand none. RFC 7797 §6: `b64` has to be critical, so on its own it is a mistake.
    if crit.is_some() || b64.is_some_and(|b64| b64 != Value::True) {
        return Err(Refusal::Critical);
    }
    let algorithm = Algorithm::from_name(&text(alg, "alg")?).ok_or(Refusal::Algorithm)?;
    Ok(Header {
        algorithm,
        key_id: text(kid, "kid")?.into_owned(),
        kind: kind(typ)?,
    })
}

/// `iss`, and the other claims.
pub(super) fn claims(json: &[u8]) -> Result<(String, Claims), Refusal> {
    let [iss, aud, exp, nbf, iat, jti] = members(json, ["iss", "aud", "exp", "nbf", "iat", "jti"])
        .ok_or(Refusal::Malformed(
            "the claims are not one readable JSON object with unique names and at most 64 levels",
        ))?;
    let claims = Claims {
        audiences: audiences(aud)?,
        expires: numeric_date(exp, "exp")?,
        not_before: numeric_date(nbf, "nbf")?,
        issued: numeric_date(iat, "iat")?,
        token_id: text(jti, "jti")?.into_owned(),
    };
    Ok((text(iss, "iss")?.into_owned(), claims))
}

/// RFC 7515 §4.1.9: `typ` may be absent.
fn kind(typ: Option<Value<'_>>) -> Result<TokenKind, Refusal> {
    match typ {
        None => Ok(TokenKind::Jwt),
        Some(Value::Text(typ)) => Ok(TokenKind::of(&typ)),
        Some(_) => Err(wrong_type("typ", "a string")),
    }
}

fn text<'a>(value: Option<Value<'a>>, name: &'static str) -> Result<Cow<'a, str>, Refusal> {
    match value.ok_or(Refusal::Missing(name))? {
        Value::Text(text) if text.is_empty() => Err(Refusal::Missing(name)),
        Value::Text(text) => bounded(text, name),
        _ => Err(wrong_type(name, "a string")),
    }
}

fn bounded<'a>(text: Cow<'a, str>, name: &'static str) -> Result<Cow<'a, str>, Refusal> {
    if text.len() > MAX_TEXT_LENGTH {
        return Err(wrong_type(name, TEXT_LENGTH));
    }
    Ok(text)
}

/// RFC 7519 §4.1.3: an array of strings, or one string.
fn audiences(value: Option<Value<'_>>) -> Result<Vec<String>, Refusal> {
    let texts = match value.ok_or(Refusal::Missing("aud"))? {
        Value::Text(audience) => vec![audience],
        Value::Texts(audiences) => audiences,
        _ => return Err(wrong_type("aud", "a string or a list of strings")),
    };
    if texts.len() > MAX_AUDIENCES {
        return Err(wrong_type("aud", "a list of at most 100 strings"));
    }
    let bounded = |text| bounded(text, "aud").map(Cow::into_owned);
    texts.into_iter().map(bounded).collect()
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
