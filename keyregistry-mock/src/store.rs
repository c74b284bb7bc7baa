//! What a registry knows: the keys of its services. No clock and no network here.

use crate::jwk::PublicJwk;
use jwt_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keys of all services, in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Arc<Mutex<Services>>,
}

/// Whether somebody has vouched for a published key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, awaiting approval.
    Pending,
    /// Approved: served until it expires.
    Approved,
}

/// What a registry has to say about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// No such key.
    Unknown,
    /// Published, awaiting approval, however old it is.
    Pending,
    /// Approved once, now expired.
    Expired,
    /// Approved and unexpired.
    Approved {
        /// The key.
        jwk: PublicJwk,
        /// When it expires; `None` is never.
        expires: Option<Timestamp>,
    },
}

impl Registry {
    /// A registry without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key that never expires, in place of any key of the same service and id.
    ///
    /// The JWK is served as it is, even when its own `kid` is another one.
    pub fn publish(&self, service: &str, kid: &str, jwk: PublicJwk, state: KeyState) {
        let key = Key {
            jwk,
            state,
            expires: None,
        };
        self.lock()
            .entry(service.to_owned())
            .or_default()
            .insert(kid.to_owned(), key);
    }

    /// Approves a key; `false` when there is none.
    pub fn approve(&self, service: &str, kid: &str) -> bool {
        self.change(service, kid, |key| key.state = KeyState::Approved)
    }

    /// Lets a key expire at this time, `None` is never; `false` when there is no such key.
    pub fn set_expiry(&self, service: &str, kid: &str, expires: Option<Timestamp>) -> bool {
        self.change(service, kid, |key| key.expires = expires)
    }

    /// Forgets a key; `false` when there was none.
    pub fn remove(&self, service: &str, kid: &str) -> bool {
        self.lock()
            .get_mut(service)
            .is_some_and(|keys| keys.remove(kid).is_some())
    }

    /// What there is to say about a key at `now`.
    pub fn find(&self, service: &str, kid: &str, now: Timestamp) -> Lookup {
        self.lock()
            .get(service)
            .and_then(|keys| keys.get(kid))
            .map_or(Lookup::Unknown, |key| key.lookup(now))
    }

    /// The approved and unexpired keys of a service at `now`, by key id.
    pub fn keys(&self, service: &str, now: Timestamp) -> Vec<PublicJwk> {
        let services = self.lock();
        let keys = services.get(service).into_iter().flat_map(BTreeMap::values);
        keys.filter(|key| key.is_served(now))
            .map(|key| key.jwk.clone())
            .collect()
    }

    fn change(&self, service: &str, kid: &str, change: impl FnOnce(&mut Key)) -> bool {
        let mut services = self.lock();
        let key = services.get_mut(service).and_then(|keys| keys.get_mut(kid));
        key.map(change).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Services> {
        // Every change is one map operation: a panic elsewhere cannot have left half of one.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Services = BTreeMap<String, BTreeMap<String, Key>>;

#[derive(Debug)]
struct Key {
    jwk: PublicJwk,
    state: KeyState,
    expires: Option<Timestamp>,
}

impl Key {
    fn lookup(&self, now: Timestamp) -> Lookup {
        match self.state {
            KeyState::Pending => Lookup::Pending,
            KeyState::Approved if self.is_expired(now) => Lookup::Expired,
            KeyState::Approved => Lookup::Approved {
                jwk: self.jwk.clone(),
                expires: self.expires,
            },
        }
    }

    fn is_served(&self, now: Timestamp) -> bool {
        self.state == KeyState::Approved && !self.is_expired(now)
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn jwk(kid: &str) -> PublicJwk {
        let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#);
        jwk.unwrap().with_kid(kid)
    }

    fn approved(kid: &str, expires: Option<Timestamp>) -> Lookup {
        let jwk = jwk(kid);
        Lookup::Approved { jwk, expires }
    }

    #[test]
    fn a_key_is_served_from_its_approval_to_its_expiry() {
        let registry = Registry::new();
        assert_eq!(registry.find("svc", "k", at(0)), Lookup::Unknown);
        registry.publish("svc", "k", jwk("k"), KeyState::Pending);
        assert_eq!(registry.find("svc", "k", at(0)), Lookup::Pending);
        assert!(registry.approve("svc", "k"));
        assert_eq!(registry.find("svc", "k", at(0)), approved("k", None));

        assert!(registry.set_expiry("svc", "k", Some(at(100))));
        assert_eq!(
            registry.find("svc", "k", at(99)),
            approved("k", Some(at(100)))
        );
        assert_eq!(registry.find("svc", "k", at(100)), Lookup::Expired);
        assert!(registry.remove("svc", "k"));
        assert_eq!(registry.find("svc", "k", at(100)), Lookup::Unknown);
    }

    #[test]
    fn a_key_nobody_approved_awaits_approval_even_after_its_expiry() {
        let registry = Registry::new();
        registry.publish("svc", "k", jwk("k"), KeyState::Pending);
        registry.set_expiry("svc", "k", Some(at(1)));
        assert_eq!(registry.find("svc", "k", at(2)), Lookup::Pending);
        registry.approve("svc", "k");
        assert_eq!(registry.find("svc", "k", at(2)), Lookup::Expired);
    }

    #[test]
    fn the_list_holds_approved_and_unexpired_keys_of_the_service_only() {
        let registry = Registry::new();
        registry.publish("svc", "b", jwk("b"), KeyState::Approved);
        registry.publish("svc", "a", jwk("a"), KeyState::Approved);
        registry.publish("svc", "old", jwk("old"), KeyState::Approved);
        registry.set_expiry("svc", "old", Some(at(5)));
        registry.publish("svc", "new", jwk("new"), KeyState::Pending);
        registry.publish("other", "c", jwk("c"), KeyState::Approved);
        assert_eq!(registry.keys("svc", at(5)), [jwk("a"), jwk("b")]);
        assert_eq!(registry.keys("svc", at(4)).len(), 3);
        assert_eq!(registry.keys("nobody", at(5)), []);
    }

    #[test]
    fn publishing_again_replaces_the_key_its_state_and_its_expiry() {
        let registry = Registry::new();
        registry.publish("svc", "k", jwk("k"), KeyState::Approved);
        registry.set_expiry("svc", "k", Some(at(1)));
        registry.publish("svc", "k", jwk("renamed"), KeyState::Approved);
        assert_eq!(registry.find("svc", "k", at(9)), approved("renamed", None));
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let registry = Registry::new();
        registry.publish("svc", "k", jwk("k"), KeyState::Pending);
        for (service, kid) in [("svc", "other"), ("other", "k")] {
            assert!(!registry.approve(service, kid));
            assert!(!registry.set_expiry(service, kid, None));
            assert!(!registry.remove(service, kid));
        }
    }

    #[test]
    fn clones_share_their_keys() {
        let registry = Registry::new();
        registry
            .clone()
            .publish("svc", "k", jwk("k"), KeyState::Approved);
        assert_eq!(registry.keys("svc", at(0)), [jwk("k")]);
    }
}
