//! The writing half of the protocol: who may publish, rotate and revoke which key.
//!
//! A request carries a token that is verified as every other token is, by the steps of
//! [`jwt_core::verify`]: for this registry, within its time, signed, and used only once. The
//! nonce and the change it permits are one transaction.

mod authentication;
mod management;
mod room;

pub use management::{PurgeFilter, approve, import, purge};
pub use room::Bounds;

use crate::jwk::PublicJwk;
use crate::store::{Change, Key, KeyState, Name, Origin, Registry, Source, State, StorageError};
use authentication::{check, check_signature, claim, not_entitled, signing_key};
use jwt_core::audience::Audience;
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::policy::Policy;
use jwt_core::registry_token::{Accepted, RegistryCall};
use jwt_core::time::Timestamp;
use room::Grace;
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
    /// How long a new key awaits approval.
    pub pending_life: Duration,
    /// How many keys there may be.
    pub bounds: Bounds,
    /// Which tokens authorize requests.
    pub accepted: Accepted,
}

/// The flag that permits [`Accepted::BoundOrLegacy`].
pub const ACCEPT_LEGACY_TOKENS: &str = "--accept-legacy-tokens";

impl Rules {
    /// New keys await approval; tokens live five minutes at most and may be a minute ahead.
    pub fn new(audience: impl Into<String>) -> Self {
        Self {
            policy: Policy::new(Audience::new(audience)),
            approval: Approval::default(),
            grace: Duration::ZERO,
            pending_life: PENDING_LIFE,
            bounds: Bounds::default(),
            accepted: Accepted::default(),
        }
    }
}

/// Over a long weekend. A signer that runs publishes its key again.
const PENDING_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A key somebody wants to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    name: KeyName,
    jwk: PublicJwk,
    key: PublicKey,
    expires: Option<Timestamp>,
    rotation: Option<u32>,
    source: Source,
    call: RegistryCall,
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
    /// There is no such key.
    #[error("the key is unknown")]
    Unknown,
    /// The key is not what the request takes it for.
    #[error("{0}")]
    Conflict(String),
    /// There is no room for one more key.
    #[error("the registry has no room for more keys at the moment")]
    Full,
    /// The registry's own fault.
    #[error("the registry cannot keep keys at the moment")]
    Storage(#[from] StorageError),
    /// Likewise.
    #[error("the registry cannot process requests at the moment")]
    Failed,
}

impl Publication {
    /// Reads a key that is to be published under this name.
    pub fn new(
        name: KeyName,
        body: &[u8],
        expires: Option<Timestamp>,
        rotation: Option<u32>,
        now: Timestamp,
    ) -> Result<Self, Denied> {
        let malformed = |problem: String| Denied::Malformed(format!("the key: {problem}"));
        let key = PublicKey::from_jwk(body).map_err(|error| malformed(error.to_string()))?;
        if !key.may_be(name.key_id()) {
            return Err(malformed("its \"kid\" is not the one in the path".into()));
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Denied::Malformed("the expiration is in the past".into()));
        }
        // Whatever else the JWK carries is not kept: anybody can send it, and it takes memory.
        let jwk = PublicJwk::from_json(key.to_jwk(name.key_id()));
        let expiration = expires.map(Timestamp::seconds);
        Ok(Self {
            call: RegistryCall::publish(&name, expiration, rotation, body),
            jwk: jwk.map_err(|error| malformed(error.to_string()))?,
            name,
            key,
            expires,
            rotation,
            source: Source::unknown(),
        })
    }

    /// Sent from here.
    pub fn from_source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    /// The name it is to have.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Where it was sent from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the key itself is known by: its name is whatever the publisher wants.
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
    }

    fn key(&self, state: KeyState, origin: Option<Origin>) -> Key {
        Key {
            jwk: self.jwk.clone(),
            state,
            expires: self.expires,
            rotation: self.rotation,
            origin,
        }
    }

    /// As it is kept: the time to the second, after which nothing is said earlier than it was.
    fn origin(&self, state: &State, rules: &Rules, now: Timestamp) -> Origin {
        let until = (now + rules.pending_life).seconds_rounded_up();
        Origin {
            source: self.source.clone(),
            published: Timestamp::from_seconds(now.seconds()).unwrap_or(now),
            pending_until: Timestamp::from_seconds(until).unwrap_or(now),
            serial: state.index().next_serial(),
        }
    }

    fn stored_name(&self) -> Name {
        Name::new(self.name.issuer(), self.name.key_id())
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
    let token = check(token, &publication.call, &publication.name, rules, now)?;
    let signer = token.key_wanted().key_id().to_owned();
    if signer == publication.name.key_id() {
        let agreed = check_signature(token, publication.key.clone(), rules)?;
        let known = registry.get(publication.name.issuer(), publication.name.key_id());
        // What is still remembered of a key is what its owner hears.
        if known.is_none_or(|key| key.state == KeyState::Pending) {
            registry.sweep(now)?;
        }
        return registry.update(|state, nonces| {
            claim(agreed, nonces, now)?;
            publish_new(state, rules, publication, now)
        });
    }
    let key = signing_key(registry, &token, |key| key.may_sign(now))?;
    let thumbprint = key.thumbprint();
    let agreed = check_signature(token, key, rules)?;
    registry.sweep(now)?;
    registry.update(|state, nonces| {
        claim(agreed, nonces, now)?;
        let signer = Name::new(publication.name.issuer(), &signer);
        rotate(state, rules, publication, &signer, &thumbprint, now)
    })
}

/// Revokes a key, which has to sign that itself.
pub fn revoke(
    registry: &Registry,
    rules: &Rules,
    name: &KeyName,
    body: &[u8],
    token: &str,
    now: Timestamp,
) -> Result<(), Denied> {
    let call = RegistryCall::revoke(name, body);
    let token = check(token, &call, name, rules, now)?;
    if token.key_wanted() != name {
        return Err(Denied::Forbidden(
            "only the key itself may sign its revocation".into(),
        ));
    }
    let key = signing_key(registry, &token, |_| true)?;
    let thumbprint = key.thumbprint();
    let agreed = check_signature(token, key, rules)?;
    registry.update(|state, nonces| {
        claim(agreed, nonces, now)?;
        let name = Name::new(name.issuer(), name.key_id());
        // The signature was checked before the lock was taken: there may be another key by now.
        state
            .get(&name)
            .filter(|key| key.jwk.thumbprint() == thumbprint)
            .ok_or_else(not_entitled)?;
        Ok((state.revoke(&name), ()))
    })
}

type Decision = Result<(Vec<Change>, Published), Denied>;

fn publish_new(
    state: &State,
    rules: &Rules,
    publication: &Publication,
    now: Timestamp,
) -> Decision {
    let name = publication.stored_name();
    if let Some(existing) = state.get(&name) {
        return published_before(existing, publication, now).map(|state| (Vec::new(), state));
    }
    refuse_revoked(state, publication)?;
    refuse_foreign_thumbprint(publication)?;
    let origin = publication.origin(state, rules, now);
    let service = publication.name.issuer();
    match rules.approval {
        Approval::Automatic => {
            rules.bounds.admit_approved(state.index(), service)?;
            let key = publication.key(KeyState::Approved, Some(origin));
            Ok((vec![Change::Put(name, key)], Published::Approved))
        }
        Approval::Manual => {
            if state.index().is_pending(&publication.thumbprint()) {
                let problem = "this key awaits approval already, under another name";
                return Err(Denied::Forbidden(problem.into()));
            }
            let index = state.index();
            let displaced = rules.bounds.displaced(index, service, &publication.source);
            for name in &displaced {
                tracing::debug!(key = %name, "a pending key gives way to another");
            }
            let mut changes: Vec<Change> = displaced.into_iter().map(Change::Remove).collect();
            let key = publication.key(KeyState::Pending, Some(origin));
            changes.push(Change::Put(name, key));
            Ok((changes, Published::AwaitsApproval))
        }
    }
}

/// A key that was revoked or replaced does not come back, and no other key takes its name.
fn refuse_revoked(state: &State, publication: &Publication) -> Result<(), Denied> {
    let tombstones = state.tombstones();
    if tombstones.has_key(&publication.thumbprint()) {
        let problem = "this key was revoked or replaced: it does not come back";
        return Err(Denied::Forbidden(problem.into()));
    }
    if tombstones.has_name(&publication.stored_name()) {
        let problem = "a key of this id was revoked or replaced: the id is not used again";
        return Err(Denied::Forbidden(problem.into()));
    }
    Ok(())
}

/// The base64url of 32 bytes: the form of an RFC 7638 thumbprint with SHA-256.
const THUMBPRINT_LENGTH: usize = 43;

/// Signers name their keys by their thumbprints. Such a name is free for its own key only, so that
/// a stranger who knows it cannot take it first.
fn refuse_foreign_thumbprint(publication: &Publication) -> Result<(), Denied> {
    let kid = publication.name.key_id();
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_thumbprint = kid.len() == THUMBPRINT_LENGTH && kid.bytes().all(is_base64url);
    if is_thumbprint && kid != publication.thumbprint() {
        let problem = "the id is the thumbprint of another key";
        return Err(Denied::Forbidden(problem.into()));
    }
    Ok(())
}

/// A client whose answer was lost asks again, and gets the same answer. It cannot change its key
/// that way, or make it live longer.
fn published_before(
    existing: &Key,
    publication: &Publication,
    now: Timestamp,
) -> Result<Published, Denied> {
    let refused = |problem: &str| Err(Denied::Forbidden(problem.into()));
    if existing.jwk.thumbprint() != publication.jwk.thumbprint() {
        return refused("another key of the service has this id");
    }
    match existing.state {
        _ if existing.is_over(now) => refused("the key has expired"),
        KeyState::Pending => Ok(Published::AwaitsApproval),
        KeyState::Approved => Ok(Published::Approved),
        KeyState::Retired => refused("the key was replaced: it does not come back"),
    }
}

/// The key `signer`, whose thumbprint this is, hands over to the next.
fn rotate(
    state: &State,
    rules: &Rules,
    publication: &Publication,
    signer: &Name,
    thumbprint: &str,
    now: Timestamp,
) -> Decision {
    let name = publication.stored_name();
    // The signature was checked before the lock was taken: the key may be gone by now.
    let signing_key = state
        .get(signer)
        .filter(|key| key.may_sign(now) && key.jwk.thumbprint() == thumbprint)
        .ok_or_else(not_entitled)?;
    if publication.thumbprint() == thumbprint {
        let problem = "the new key is the one that it would replace";
        return Err(Denied::Forbidden(problem.into()));
    }
    match state.get(&name) {
        // An approved key of the service has the word: what a stranger published gives way.
        Some(existing) if existing.state == KeyState::Pending => {}
        Some(existing) => drop(published_before(existing, publication, now)?),
        None => {}
    }
    refuse_revoked(state, publication)?;
    let mut changes = state.bury(signer, signing_key);
    changes.extend(retire(state, rules, signer, signing_key, now));
    let origin = publication.origin(state, rules, now);
    let key = publication.key(KeyState::Approved, Some(origin));
    changes.push(Change::Put(name, key));
    Ok((changes, Published::Approved))
}

/// Ends a key, at once or after a time of grace.
fn retire(state: &State, rules: &Rules, name: &Name, key: &Key, now: Timestamp) -> Vec<Change> {
    let end = Timestamp::from_seconds((now + rules.grace).seconds_rounded_up());
    let grace = match rules.grace.is_zero() {
        true => Grace::NoRoom,
        false => rules.bounds.room_for_retired(state, name.service()),
    };
    let retired = Key {
        state: KeyState::Retired,
        expires: key.expires.min(end).or(end),
        ..key.clone()
    };
    match grace {
        Grace::Room => vec![Change::Put(name.clone(), retired)],
        Grace::Instead(other) => vec![
            Change::Remove(other.clone()),
            Change::Put(name.clone(), retired),
        ],
        Grace::NoRoom => vec![Change::Remove(name.clone())],
    }
}

#[cfg(test)]
mod tests;
