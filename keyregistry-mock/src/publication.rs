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
use jwt_core::token::limits::DEFAULT_MAX_SIZE;
use std::collections::BTreeMap;
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
                max_token_size: DEFAULT_MAX_SIZE,
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

/// How long an expired key is remembered as such, before it is unknown.
const REMEMBER_EXPIRED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many keys are kept at most.
struct Room {
    /// Of one service: those who speak in its name leave room for others.
    of_service: usize,
    in_all: usize,
}

/// Strangers can publish keys that await approval.
const PENDING: Room = Room {
    of_service: 1_000,
    in_all: 10_000,
};

/// And others, where a registry approves by itself.
const APPROVED: Room = Room {
    of_service: 10_000,
    in_all: 100_000,
};

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

    /// What the key itself is known by: its name is whatever the publisher wants.
    pub fn thumbprint(&self) -> String {
        self.key.thumbprint()
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
    let mut changes = forget_expired(services, now);
    let (room, state, published) = match rules.approval {
        Approval::Manual => (PENDING, KeyState::Pending, Published::AwaitsApproval),
        Approval::Automatic => (APPROVED, KeyState::Approved, Published::Approved),
    };
    room.check(services, name.issuer(), state, now)?;
    changes.push(publication.put(publication.key_in(state)));
    Ok((changes, published))
}

impl Room {
    /// Whether there is some for one more key in this state. Expired ones make room.
    fn check(
        &self,
        services: &Services,
        service: &str,
        state: KeyState,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let is_pending = state == KeyState::Pending;
        let counts =
            |key: &&Key| (key.state == KeyState::Pending) == is_pending && !key.is_expired(now);
        let count = |keys: &BTreeMap<String, Key>| keys.values().filter(counts).count();
        let of_service = services.get(service).map_or(0, count);
        let in_all: usize = services.values().map(count).sum();
        if of_service < self.of_service && in_all < self.in_all {
            Ok(())
        } else {
            Err(Denied::Full)
        }
    }
}

/// Each rotation leaves a key behind, and strangers leave theirs: those of long ago go, and of too
/// many all that have expired. Of a key that nobody approved in its time nothing is left to say.
fn forget_expired(services: &Services, now: Timestamp) -> Vec<Change> {
    let in_all: usize = services.values().map(BTreeMap::len).sum();
    let remembered = if in_all < APPROVED.in_all {
        REMEMBER_EXPIRED
    } else {
        Duration::ZERO
    };
    let is_over = |key: &Key| match key.state {
        KeyState::Pending => key.is_expired(now),
        KeyState::Approved | KeyState::Retired => key.is_expired(now - remembered),
    };
    let forget = |(service, keys): (&String, &BTreeMap<String, Key>)| {
        let over = keys.iter().filter(|(_, key)| is_over(key));
        over.map(|(kid, _)| remove(service, kid))
            .collect::<Vec<_>>()
    };
    services.iter().flat_map(forget).collect()
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
    let mut changes = forget_expired(services, now);
    changes.extend([retire, publication.put(publication.approved())]);
    Ok((changes, Published::Approved))
}

fn remove(service: &str, kid: &str) -> Change {
    Change::Remove {
        service: service.to_owned(),
        kid: kid.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_core::testing::TestSigner;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn key(state: KeyState, expires: i64) -> Key {
        let publication = publication("svc");
        Key {
            expires: Some(at(expires)),
            ..publication.key_in(state)
        }
    }

    fn publication(service: &str) -> Publication {
        let name = KeyName::new(service.into(), "new".into()).unwrap();
        let jwk = TestSigner::service().public_key().to_jwk("new").to_string();
        Publication::new(name, jwk.as_bytes(), None, None, at(0)).unwrap()
    }

    fn services(of_each: usize, names: &[&str], key: &Key) -> Services {
        let keys = |_| (0..of_each).map(|number| (number.to_string(), key.clone()));
        let services = names
            .iter()
            .map(|name| ((*name).to_owned(), keys(name).collect()));
        services.collect()
    }

    fn publish(services: &Services, approval: Approval, service: &str) -> Decision {
        let rules = Rules {
            approval,
            ..Rules::new("")
        };
        publish_new(services, &rules, &publication(service), at(100))
    }

    fn is_full(decision: &Decision) -> bool {
        matches!(decision, Err(Denied::Full))
    }

    #[test]
    fn a_service_with_many_pending_keys_leaves_room_for_others() {
        let services = services(PENDING.of_service, &["svc"], &key(KeyState::Pending, 101));
        assert!(is_full(&publish(&services, Approval::Manual, "svc")));
        assert!(publish(&services, Approval::Manual, "other").is_ok());
    }

    #[test]
    fn pending_keys_of_many_services_have_an_end() {
        let names: Vec<String> = (0..=PENDING.in_all)
            .map(|number| number.to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let pending = key(KeyState::Pending, 101);
        let full = services(1, &names[..PENDING.in_all], &pending);
        assert!(is_full(&publish(&full, Approval::Manual, "svc")));
        let approved = services(1, &names, &key(KeyState::Approved, 101));
        assert!(publish(&approved, Approval::Manual, "svc").is_ok());
    }

    #[test]
    fn a_registry_that_approves_by_itself_has_an_end_too() {
        let services = services(APPROVED.of_service, &["svc"], &key(KeyState::Approved, 101));
        assert!(is_full(&publish(&services, Approval::Automatic, "svc")));
        assert!(publish(&services, Approval::Automatic, "other").is_ok());
    }

    #[test]
    fn keys_that_nobody_approved_in_their_time_make_room() {
        let services = services(PENDING.of_service, &["svc"], &key(KeyState::Pending, 100));
        let (changes, _) = publish(&services, Approval::Manual, "other").unwrap();
        let removed = |change: &&Change| matches!(change, Change::Remove { .. });
        assert_eq!(changes.iter().filter(removed).count(), PENDING.of_service);
        assert!(publish(&services, Approval::Manual, "svc").is_ok());
    }

    #[test]
    fn expired_keys_are_remembered_while_there_is_room() {
        let expired = key(KeyState::Approved, 100);
        let few = services(1, &["svc"], &expired);
        let (changes, _) = publish(&few, Approval::Automatic, "other").unwrap();
        assert_eq!(changes.len(), 1);
        let many = services(APPROVED.in_all, &["svc"], &expired);
        let (changes, _) = publish(&many, Approval::Automatic, "other").unwrap();
        assert_eq!(changes.len(), APPROVED.in_all + 1);
    }
}
