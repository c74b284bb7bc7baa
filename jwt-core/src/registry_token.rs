//! Tokens for the key registry, which differ by construction from tokens on requests.
//!
//! A signer puts tokens on the requests of its clients, who choose where these go. Such a token must
//! never be an order to the registry, and an order must not be a token on a request:
//!
//! - A registry token has a `typ` of its own (RFC 8725 §3.11). [`check`] demands it, and
//!   [`CurrentToken::check`] refuses it.
//! - It carries the call that it authorizes as one claim: [`RegistryCall`]. A man in the middle can
//!   neither use it for another call nor replace the key in the body. The path is not part of the
//!   claim, since proxies may rewrite it; the service and the key id are.

use crate::issue::Issuer;
use crate::key::KeyName;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::token::Token;
use crate::verify::CurrentToken;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// `typ` of the header (RFC 7515 §4.1.9), a media type without its `application/`.
pub const TYPE: &str = "jwtproxy-registry+jwt";

/// The claim that holds the [`RegistryCall`]. Signers never put it on requests.
pub const CLAIM: &str = "jwtproxy_registry";

/// What a token is for, as its `typ` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A call to the key registry; never a request.
    Registry,
    /// `JWT` (RFC 7519 §5.1), or no `typ` at all.
    Jwt,
    /// Another kind, which an issuer of tokens on requests may use.
    Other,
}

/// What a signer asks of the registry, as a token binds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryCall {
    method: String,
    service: String,
    kid: String,
    expiration: Option<i64>,
    rotation: Option<u32>,
    /// base64url without padding of the SHA-256 of the body.
    body_sha256: String,
}

/// Which tokens a registry takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepted {
    /// Those that bind the call.
    #[default]
    Bound,
    /// Also those of older signers (`typ: JWT` or none), which any request of one carries.
    BoundOrLegacy,
}

/// Why a token does not authorize a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallRefusal {
    /// It is no good token at all.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// It is a token on a request, or of an older signer.
    #[error("the token is not for a key registry: expected the \"typ\" {TYPE:?}")]
    NotForRegistry,
    /// It has the `typ` of a registry token and not its claim.
    #[error("the token has no readable claim {CLAIM:?}")]
    NoCall,
    /// It authorizes another call.
    #[error("the token is for another call: {0:?} differs")]
    OtherCall(&'static str),
}

impl RegistryCall {
    /// PUT of a key, with the query's `expiration` and `rotation`.
    pub fn publish(
        name: &KeyName,
        expiration: Option<i64>,
        rotation: Option<u32>,
        body: &[u8],
    ) -> Self {
        Self {
            expiration,
            rotation,
            ..Self::new("PUT", name, body)
        }
    }

    /// DELETE of a key.
    pub fn revoke(name: &KeyName, body: &[u8]) -> Self {
        Self::new("DELETE", name, body)
    }

    fn new(method: &str, name: &KeyName, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            service: name.issuer().to_owned(),
            kid: name.key_id().to_owned(),
            expiration: None,
            rotation: None,
            body_sha256: URL_SAFE_NO_PAD.encode(Sha256::digest(body)),
        }
    }

    /// The claim as a map, for a test that signs its own tokens.
    pub fn claim(&self) -> Map<String, Value> {
        // Texts and numbers always serialize.
        let call = serde_json::to_value(self).unwrap_or_default();
        Map::from_iter([(CLAIM.to_owned(), call)])
    }

    /// The first member that is not the same.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        // Taken apart, so that a member cannot be forgotten.
        let Self {
            method,
            service,
            kid,
            expiration,
            rotation,
            body_sha256,
        } = self;
        [
            ("method", *method == other.method),
            ("service", *service == other.service),
            ("kid", *kid == other.kid),
            ("expiration", *expiration == other.expiration),
            ("rotation", *rotation == other.rotation),
            ("body_sha256", *body_sha256 == other.body_sha256),
        ]
        .into_iter()
        .find_map(|(name, is_same)| (!is_same).then_some(name))
    }
}

impl Issuer {
    /// The JWS signing input of a token for the registry, as [`Issuer::signing_input`] makes that
    /// of a token on a request.
    pub fn registry_signing_input(
        &self,
        audience: &str,
        call: &RegistryCall,
        nonce: &str,
        now: Timestamp,
    ) -> String {
        self.signing_input_of_type(TYPE, audience, &call.claim(), nonce, now)
    }
}

/// Takes the text of a token that came with `call` apart and checks what can be known without its
/// key, as [`CurrentToken::check`] does for a token on a request.
pub fn check(
    compact: &str,
    call: &RegistryCall,
    accepted: Accepted,
    policy: &Policy,
    now: Timestamp,
) -> Result<CurrentToken, CallRefusal> {
    let token = Token::parse_up_to(policy.max_token_size, compact)?;
    match (token.kind(), accepted) {
        (TokenKind::Registry, _) => {
            let claimed = claimed_call(token.payload()).ok_or(CallRefusal::NoCall)?;
            if let Some(member) = claimed.difference(call) {
                return Err(CallRefusal::OtherCall(member));
            }
        }
        (TokenKind::Jwt, Accepted::BoundOrLegacy) if !has_call(token.payload()) => {}
        _ => return Err(CallRefusal::NotForRegistry),
    }
    Ok(CurrentToken::of(token, policy, now)?)
}

impl TokenKind {
    pub(crate) fn of(typ: &str) -> Self {
        if is_media_type(typ, TYPE) {
            Self::Registry
        } else if is_media_type(typ, "JWT") {
            Self::Jwt
        } else {
            Self::Other
        }
    }
}

/// RFC 7515 §4.1.9: a `typ` is a media type, whose case is of no importance (RFC 2045 §5.1), and
/// `application/` is implied where it has no slash. Parameters do not make it another type.
fn is_media_type(text: &str, expected: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let name = match essence.split_once('/') {
        Some((top, name)) if top.eq_ignore_ascii_case("application") => name,
        _ => essence,
    };
    name.eq_ignore_ascii_case(expected)
}

/// No token of an older signer has the claim.
fn has_call(payload: &[u8]) -> bool {
    let claims: Option<ClaimOf<IgnoredAny>> = serde_json::from_slice(payload).ok();
    claims.is_none_or(|claims| claims.call.is_some())
}

/// By way of a map: serde would take a list of the members' values as well. No member stands there
/// twice, which [`Token::parse`] refuses.
fn claimed_call(payload: &[u8]) -> Option<RegistryCall> {
    let claims: ClaimOf<Map<String, Value>> = serde_json::from_slice(payload).ok()?;
    serde_json::from_value(Value::Object(claims.call?)).ok()
}

/// serde refuses a claim that stands there twice.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct ClaimOf<T> {
    #[serde(rename = "jwtproxy_registry", default, deserialize_with = "present")]
    call: Option<T>,
}

/// Keeps a `null` apart from an absent member.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
