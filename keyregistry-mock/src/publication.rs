//! The writing half of the protocol: who may publish, rotate and revoke which key.
//!
//! A request carries a token that is verified as every other token is, by the steps of
//! [`jwt_core::verify`]: for this registry, within its time, signed, and used only once. The
//! nonce and the change it permits are one transaction.

mod authentication;

use crate::jwk::PublicJwk;
use crate::store::{Change, Key, KeyState, Lookup, Registry, Services, StorageError, find};
use authentication::{check, check_signature, claim, not_entitled, signing_key};
use jwt_core::audience::Audience;
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::policy::Policy;
use jwt_core::time::Timestamp;
use std::time::Duration;

/// Whether new keys need somebody to vouch for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// A new key awaits approval by hand.
    #[default]
    Manual,
    /// A new key is good at once: whoever reaches the registry can speak for any service.
    Automatic,
}

/// What a registry demands of those who publish.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of the tokens on requests.
    pub policy: Policy,
    /// Of new keys.
    pub approval: Approval,
    /// How long a key is served on after a rotation has replaced it; by default not at all.
    pub grace: Duration,
}

impl Rules {
    /// New keys await approval; tokens live five minutes at most and may be a minute ahead.
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            policy: Policy {
                audience: Audience::new(audience),
                max_skew: Duration::from_secs(60),
                max_ttl: Duration::from_secs(300),
                not_issued_before: None,
                claims_verifiers: Vec::new(),
            },
            approval: Approval::default(),
            grace: Duration::ZERO,
        }
    }
}

/// A key somebody wants to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    name: KeyName,
    jwk: PublicJwk,
    key: PublicKey,
    expires: Option<Timestamp>,
    rotation: Option<u32>,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The key is served from now on.
    Approved,
    /// Somebody has to approve it first.
    AwaitsApproval,
}

/// Why a request changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The request, or its token, is not as it has to be: asking again changes nothing.
    #[error("{0}")]
    Malformed(String),
    /// The key that signed may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no room for more keys that await approval.
    #[error("too many keys await approval")]
    Full,
    /// The registry's own fault.
    #[error("the registry cannot keep keys at the moment")]
    Storage(#[from] StorageError),
    /// Likewise.
    #[error("the registry cannot process requests at the moment")]
    Failed,
}

/// How long an expired key is remembered as such, before it is unknown.
const REMEMBER_EXPIRED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Strangers can publish keys that await approval: so many are kept at most.
const MAX_PENDING: usize = 10_000;

impl Publication {
    /// Reads a key that is to be published under this name.
    pub fn new(
        name: KeyName,
        jwk: &[u8],
        expires: Option<Timestamp>,
        rotation: Option<u32>,
        now: Timestamp,
    ) -> Result<Self, Denied> {
        let malformed = |problem: String| Denied::Malformed(format!("the key: {problem}"));
        let key = PublicKey::from_jwk(jwk).map_err(|error| malformed(error.to_string()))?;
        if key.key_id().is_some_and(|kid| kid != name.key_id()) {
            return Err(malformed("its \"kid\" is not the one in the path".into()));
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Denied::Malformed("the expiration is in the past".into()));
        }
        // Whatever else the JWK carries is not kept: anybody can send it, and it takes memory.
        let jwk = PublicJwk::from_json(key.to_jwk(name.key_id()));
        Ok(Self {
            jwk: jwk.map_err(|error| malformed(error.to_string()))?,
            name,
            key,
            expires,
            rotation,
        })
    }

    /// The name it is to have.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    fn approved(&self) -> Key {
        self.key_in(KeyState::Approved)
    }

    fn key_in(&self, state: KeyState) -> Key {
        Key {
            jwk: self.jwk.clone(),
            state,
            expires: self.expires,
            rotation: self.rotation,
        }
    }

    fn put(&self, key: Key) -> Change {
        Change::Put {
            service: self.name.issuer().to_owned(),
            kid: self.name.key_id().to_owned(),
            key,
        }
    }
}

/// Publishes a key: a new one, signed by itself, or the next one, signed by one that is approved.
pub fn publish(
    registry: &Registry,
    rules: &Rules,
    publication: &Publication,
    token: &str,
    now: Timestamp,
) -> Result<Published, Denied> {
    let token = check(token, &publication.name, rules, now)?;
    let signer = token.key_wanted().key_id().to_owned();
    if signer == publication.name.key_id() {
        let agreed = check_signature(token, publication.key.clone(), rules)?;
        return registry.update(|services, nonces| {
            claim(agreed, nonces, now)?;
            publish_new(services, rules, publication, now)
        });
    }
    let key = signing_key(registry, &token, |key| key.may_sign(now))?;
    let agreed = check_signature(token, key, rules)?;
    registry.update(|services, nonces| {
        claim(agreed, nonces, now)?;
        rotate(services, rules, publication, &signer, now)
    })
}

/// Revokes a key, which has to sign that itself.
pub fn revoke(
    registry: &Registry,
    rules: &Rules,
    name: &KeyName,
    token: &str,
    now: Timestamp,
) -> Result<(), Denied> {
    let token = check(token, name, rules, now)?;
    if token.key_wanted() != name {
        return Err(Denied::Forbidden(
            "only the key itself may sign its revocation".into(),
        ));
    }
    let key = signing_key(registry, &token, |_| true)?;
    let agreed = check_signature(token, key, rules)?;
    registry.update(|_, nonces| {
        claim(agreed, nonces, now)?;
        Ok((vec![remove(name.issuer(), name.key_id())], ()))
    })
}

/// Takes a key that somebody vouches for who may: approved, whoever holds its private half.
pub fn import(registry: &Registry, publication: &Publication) -> Result<(), Denied> {
    let name = &publication.name;
    registry.update(
        |services, _| match find(services, name.issuer(), name.key_id()) {
            Some(other) if other.jwk.thumbprint() != publication.jwk.thumbprint() => Err(
                Denied::Forbidden("another key of the service has this id".into()),
            ),
            _ => Ok((vec![publication.put(publication.approved())], ())),
        },
    )
}

type Decision = Result<(Vec<Change>, Published), Denied>;

fn publish_new(
    services: &Services,
    rules: &Rules,
    publication: &Publication,
    now: Timestamp,
) -> Decision {
    let name = &publication.name;
    if let Some(existing) = find(services, name.issuer(), name.key_id()) {
        return published_before(existing, publication, now).map(|state| (Vec::new(), state));
    }
    match rules.approval {
        Approval::Manual if pending(services) >= MAX_PENDING => Err(Denied::Full),
        Approval::Manual => {
            let put = publication.put(publication.key_in(KeyState::Pending));
            Ok((vec![put], Published::AwaitsApproval))
        }
        Approval::Automatic => {
            let mut changes = forget_expired(services, name.issuer(), now);
            changes.push(publication.put(publication.approved()));
            Ok((changes, Published::Approved))
        }
    }
}

/// Each rotation leaves a key behind: those of long ago go.
fn forget_expired(services: &Services, service: &str, now: Timestamp) -> Vec<Change> {
    let keys = services.get(service).into_iter().flatten();
    keys.filter(|(_, key)| key.is_expired(now - REMEMBER_EXPIRED))
        .map(|(kid, _)| remove(service, kid))
        .collect()
}

/// A client whose answer was lost asks again, and gets the same answer. It cannot change its key
/// that way, or make it live longer.
fn published_before(
    existing: &Key,
    publication: &Publication,
    now: Timestamp,
) -> Result<Published, Denied> {
    if existing.jwk.thumbprint() != publication.jwk.thumbprint() {
        let problem = "another key of the service has this id";
        return Err(Denied::Forbidden(problem.into()));
    }
    match existing.lookup(now) {
        Lookup::Pending => Ok(Published::AwaitsApproval),
        Lookup::Approved { .. } => Ok(Published::Approved),
        Lookup::Expired | Lookup::Unknown => Err(Denied::Forbidden("the key has expired".into())),
    }
}

/// The key `signer` hands over to the next.
fn rotate(
    services: &Services,
    rules: &Rules,
    publication: &Publication,
    signer: &str,
    now: Timestamp,
) -> Decision {
    let name = &publication.name;
    // The signature was checked before the lock was taken: the key may be gone by now.
    let signing_key = find(services, name.issuer(), signer)
        .filter(|key| key.may_sign(now))
        .ok_or_else(not_entitled)?;
    if let Some(existing) = find(services, name.issuer(), name.key_id()) {
        published_before(existing, publication, now)?;
    }
    let retire = if rules.grace.is_zero() {
        remove(name.issuer(), signer)
    } else {
        let end = now + rules.grace;
        let end = Timestamp::from_seconds(end.seconds_rounded_up());
        Change::Put {
            service: name.issuer().to_owned(),
            kid: signer.to_owned(),
            key: Key {
                state: KeyState::Retired,
                expires: signing_key.expires.min(end).or(end),
                ..signing_key.clone()
            },
        }
    };
    let mut changes = forget_expired(services, name.issuer(), now);
    changes.extend([retire, publication.put(publication.approved())]);
    Ok((changes, Published::Approved))
}

fn remove(service: &str, kid: &str) -> Change {
    Change::Remove {
        service: service.to_owned(),
        kid: kid.to_owned(),
    }
}

fn pending(services: &Services) -> usize {
    let keys = services.values().flat_map(|keys| keys.values());
    keys.filter(|key| key.state == KeyState::Pending).count()
}
