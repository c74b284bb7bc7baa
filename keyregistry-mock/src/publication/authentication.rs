//! Who is asking: the token on a request, taken through the steps of [`jwt_core::verify`].

use super::{ACCEPT_LEGACY_TOKENS, Denied, Rules};
use crate::store::{Key, Registry};
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::nonce::NonceStore;
use jwt_core::refusal::Refusal;
use jwt_core::registry_token::{self, Accepted, CallRefusal, RegistryCall};
use jwt_core::signature::PureRust;
use jwt_core::time::Timestamp;
use jwt_core::token::Token;
use jwt_core::verify::{AgreedToken, CurrentToken};
use std::rc::Rc;

/// What can be known of a token without its key. It authorizes this call, and speaks for the
/// service in the path.
pub(super) fn check(
    token: &str,
    call: &RegistryCall,
    name: &KeyName,
    rules: &Rules,
    now: Timestamp,
) -> Result<CurrentToken, Denied> {
    let current = registry_token::check(token, call, rules.accepted, &rules.policy, now)
        .map_err(|refusal| deny(&refusal, token, rules, now))?;
    if current.key_wanted().issuer() == name.issuer() {
        return Ok(current);
    }
    Err(Denied::Forbidden(
        "the token's \"iss\" is not the service in the path".into(),
    ))
}

fn deny(refusal: &CallRefusal, token: &str, rules: &Rules, now: Timestamp) -> Denied {
    match refusal {
        CallRefusal::Token(refusal) => Denied::Malformed(explain(refusal, token, rules, now)),
        CallRefusal::NotForRegistry if rules.accepted == Accepted::Bound => {
            Denied::Forbidden(format!(
                "{refusal}; update the signer, or start the registry with {ACCEPT_LEGACY_TOKENS}"
            ))
        }
        _ => Denied::Forbidden(refusal.to_string()),
    }
}

pub(super) fn check_signature(
    token: CurrentToken,
    key: PublicKey,
    rules: &Rules,
) -> Result<AgreedToken, Denied> {
    token
        .check_signature(Rc::new(key), &PureRust, &rules.policy)
        .map_err(|refusal| Denied::Forbidden(refusal.to_string()))
}

/// The stored key that is said to have signed.
pub(super) fn signing_key(
    registry: &Registry,
    token: &CurrentToken,
    may_sign: impl FnOnce(&Key) -> bool,
) -> Result<PublicKey, Denied> {
    let name = token.key_wanted();
    let key = registry
        .get(name.issuer(), name.key_id())
        .filter(|key| may_sign(key))
        .ok_or_else(not_entitled)?;
    let jwk = key.jwk.to_json().to_string();
    PublicKey::from_jwk(jwk.as_bytes()).map_err(|_| not_entitled())
}

pub(super) fn not_entitled() -> Denied {
    Denied::Forbidden("the key that signed is no approved and unexpired key of the service".into())
}

/// Uses the token up. Where the change fails after all, the nonce is not used either.
pub(super) fn claim(
    agreed: AgreedToken,
    nonces: &mut dyn NonceStore,
    now: Timestamp,
) -> Result<(), Denied> {
    let claim = nonces.claim(&agreed.nonce(), now);
    let verified = agreed.conclude(claim);
    verified
        .map(drop)
        .map_err(|refusal| Denied::Malformed(refusal.to_string()))
}

/// The refusal, and where two clocks may disagree, by how much.
fn explain(refusal: &Refusal, token: &str, rules: &Rules, now: Timestamp) -> String {
    let Ok(token) = Token::parse(token) else {
        return refusal.to_string();
    };
    let claims = token.claims();
    let apart = |later: Timestamp, earlier: Timestamp| later.since(earlier).as_secs();
    match refusal {
        Refusal::Audience => {
            let audience = rules.policy.audience.as_str();
            format!("{refusal}: this registry is {audience:?}")
        }
        Refusal::Expired => format!(
            "{refusal}, {} s ago by the registry's clock",
            apart(now, claims.expires)
        ),
        Refusal::NotYetValid => format!(
            "{refusal}: its \"nbf\" is {} s ahead of the registry's clock",
            apart(claims.not_before, now)
        ),
        Refusal::IssuedInFuture => format!(
            "{refusal}: its \"iat\" is {} s ahead of the registry's clock",
            apart(claims.issued, now)
        ),
        Refusal::LifetimeTooLong => format!(
            "{refusal}: {} s, expected at most {} s",
            apart(claims.expires, claims.issued),
            rules.policy.max_ttl.as_secs()
        ),
        _ => refusal.to_string(),
    }
}
