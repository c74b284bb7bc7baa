//! What a registry knows: the keys of its services. No clock and no network here.
//!
//! Every change is on the disk before anybody sees it. Reading never waits for the disk: keys are
//! answered from memory.

mod key;
mod storage;

pub use key::{Key, KeyState, Lookup};
pub use storage::StorageError;

use crate::jwk::PublicJwk;
use jwt_core::nonce::NonceStore;
use jwt_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use storage::{Nonces, Storage};

/// The keys of all services. Clones share them.
#[derive(Clone)]
pub struct Registry {
    services: Arc<RwLock<Services>>,
    /// Held for the whole of a change, so that changes come one after the other.
    storage: Arc<Mutex<Storage>>,
}

/// Keys by service and id.
pub(crate) type Services = BTreeMap<String, BTreeMap<String, Key>>;

/// One step of a change.
#[derive(Debug)]
pub(crate) enum Change {
    /// A key is there, in place of any other of its name.
    Put {
        service: String,
        kid: String,
        key: Key,
    },
    /// A key is no more.
    Remove { service: String, kid: String },
}

/// A key with its name, for those who manage keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// The service.
    pub service: String,
    /// The key id.
    pub kid: String,
    /// The key.
    pub key: Key,
}

impl Registry {
    /// A registry without keys, whose keys end with the process.
    pub fn in_memory() -> Result<Self, StorageError> {
        Self::with_storage(Storage::in_memory()?)
    }

    /// A registry whose keys are kept in a file.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Self::with_storage(Storage::open(path)?)
    }

    fn with_storage(storage: Storage) -> Result<Self, StorageError> {
        Ok(Self {
            services: Arc::new(RwLock::new(storage.load()?)),
            storage: Arc::new(Mutex::new(storage)),
        })
    }

    /// Adds a key that never expires, in place of any key of the same service and id.
    ///
    /// The JWK is served as it is, even when its own `kid` is another one.
    pub fn publish(
        &self,
        service: &str,
        kid: &str,
        jwk: PublicJwk,
        state: KeyState,
    ) -> Result<(), StorageError> {
        self.put(NamedKey {
            service: service.to_owned(),
            kid: kid.to_owned(),
            key: Key {
                jwk,
                state,
                expires: None,
                rotation: None,
            },
        })
    }

    /// Adds a key, in place of any key of the same service and id.
    pub fn put(&self, key: NamedKey) -> Result<(), StorageError> {
        self.put_all(vec![key])
    }

    /// Adds keys, all of them or none.
    pub fn put_all(&self, keys: Vec<NamedKey>) -> Result<(), StorageError> {
        let put = |NamedKey { service, kid, key }| Change::Put { service, kid, key };
        self.update(|_, _| Ok((keys.into_iter().map(put).collect(), ())))
    }

    /// Approves a key; `false` when there is none.
    pub fn approve(&self, service: &str, kid: &str) -> Result<bool, StorageError> {
        self.change(service, kid, |key| key.state = KeyState::Approved)
    }

    /// Lets a key expire at this time, to the second, `None` is never; `false` when there is no
    /// such key.
    pub fn set_expiry(
        &self,
        service: &str,
        kid: &str,
        expires: Option<Timestamp>,
    ) -> Result<bool, StorageError> {
        let expires = expires.and_then(|time| Timestamp::from_seconds(time.seconds()));
        self.change(service, kid, |key| key.expires = expires)
    }

    /// Forgets a key; `false` when there was none.
    pub fn remove(&self, service: &str, kid: &str) -> Result<bool, StorageError> {
        self.update(|services, _| {
            let found = find(services, service, kid).is_some();
            let remove = Change::Remove {
                service: service.to_owned(),
                kid: kid.to_owned(),
            };
            Ok((found.then_some(remove).into_iter().collect(), found))
        })
    }

    /// What there is to say about a key at `now`.
    pub fn find(&self, service: &str, kid: &str, now: Timestamp) -> Lookup {
        find(&self.read(), service, kid).map_or(Lookup::Unknown, |key| key.lookup(now))
    }

    /// A key, whatever its state.
    pub fn get(&self, service: &str, kid: &str) -> Option<Key> {
        find(&self.read(), service, kid).cloned()
    }

    /// The approved and unexpired keys of a service at `now`, by key id.
    pub fn keys(&self, service: &str, now: Timestamp) -> Vec<PublicJwk> {
        let services = self.read();
        let keys = services.get(service).into_iter().flat_map(BTreeMap::values);
        keys.filter(|key| key.is_served(now))
            .map(|key| key.jwk.clone())
            .collect()
    }

    /// Every key there is, whatever its state, by service and key id.
    pub fn all(&self) -> Vec<NamedKey> {
        let services = self.read();
        let of_service = |(service, keys): (&String, &BTreeMap<String, Key>)| {
            let named = keys.iter().map(|(kid, key)| NamedKey {
                service: service.clone(),
                kid: kid.clone(),
                key: key.clone(),
            });
            named.collect::<Vec<_>>()
        };
        services.iter().flat_map(of_service).collect()
    }

    /// How many keys have come how far at `now`.
    pub(crate) fn count_by_state(&self, now: Timestamp) -> BTreeMap<&'static str, u64> {
        let names = KeyState::ALL.map(KeyState::name);
        let mut counts: BTreeMap<_, _> = names.into_iter().map(|name| (name, 0)).collect();
        counts.insert("expired", 0);
        for key in self.read().values().flat_map(BTreeMap::values) {
            *counts.entry(key.state_name(now)).or_default() += 1;
        }
        counts
    }

    fn change(
        &self,
        service: &str,
        kid: &str,
        change: impl FnOnce(&mut Key),
    ) -> Result<bool, StorageError> {
        self.update(|services, _| {
            let put = find(services, service, kid).cloned().map(|mut key| {
                change(&mut key);
                let (service, kid) = (service.to_owned(), kid.to_owned());
                Change::Put { service, kid, key }
            });
            let found = put.is_some();
            Ok((put.into_iter().collect(), found))
        })
    }

    /// The one way to change keys. `decide` sees the keys as they are and says what to change;
    /// nothing happens in between. When this returns, the changes and the nonces that `decide`
    /// claimed are on the disk; where it fails, there is nothing of either.
    ///
    /// It waits for the disk: asynchronous callers let a thread do it.
    pub(crate) fn update<T, E: From<StorageError>>(
        &self,
        decide: impl FnOnce(&Services, &mut dyn NonceStore) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, E> {
        let mut storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = storage.transaction()?;
        let (changes, outcome) = decide(&self.read(), &mut Nonces(&transaction))?;
        for change in &changes {
            storage::write(&transaction, change)?;
        }
        transaction.commit().map_err(StorageError::from)?;
        let mut services = self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        changes
            .into_iter()
            .for_each(|change| apply(&mut services, change));
        Ok(outcome)
    }

    fn read(&self) -> RwLockReadGuard<'_, Services> {
        // Every change is a few map operations: a panic elsewhere cannot have left half of one.
        self.services.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("services", &*self.read())
            .finish_non_exhaustive()
    }
}

/// A key by its name.
pub(crate) fn find<'a>(services: &'a Services, service: &str, kid: &str) -> Option<&'a Key> {
    services.get(service)?.get(kid)
}

fn apply(services: &mut Services, change: Change) {
    match change {
        Change::Put { service, kid, key } => {
            services.entry(service).or_default().insert(kid, key);
        }
        Change::Remove { service, kid } => {
            if let Some(keys) = services.get_mut(&service) {
                keys.remove(&kid);
                if keys.is_empty() {
                    services.remove(&service);
                }
            }
        }
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
        let registry = Registry::in_memory().unwrap();
        assert_eq!(registry.find("svc", "k", at(0)), Lookup::Unknown);
        registry
            .publish("svc", "k", jwk("k"), KeyState::Pending)
            .unwrap();
        assert_eq!(registry.find("svc", "k", at(0)), Lookup::Pending);
        assert!(registry.approve("svc", "k").unwrap());
        assert_eq!(registry.find("svc", "k", at(0)), approved("k", None));

        assert!(registry.set_expiry("svc", "k", Some(at(100))).unwrap());
        assert_eq!(
            registry.find("svc", "k", at(99)),
            approved("k", Some(at(100)))
        );
        assert_eq!(registry.find("svc", "k", at(100)), Lookup::Expired);
        assert!(registry.remove("svc", "k").unwrap());
        assert_eq!(registry.find("svc", "k", at(100)), Lookup::Unknown);
    }

    #[test]
    fn a_key_nobody_approved_awaits_approval_even_after_its_expiry() {
        let registry = Registry::in_memory().unwrap();
        registry
            .publish("svc", "k", jwk("k"), KeyState::Pending)
            .unwrap();
        registry.set_expiry("svc", "k", Some(at(1))).unwrap();
        assert_eq!(registry.find("svc", "k", at(2)), Lookup::Pending);
        registry.approve("svc", "k").unwrap();
        assert_eq!(registry.find("svc", "k", at(2)), Lookup::Expired);
    }

    #[test]
    fn the_list_holds_approved_and_unexpired_keys_of_the_service_only() {
        let registry = Registry::in_memory().unwrap();
        registry
            .publish("svc", "b", jwk("b"), KeyState::Approved)
            .unwrap();
        registry
            .publish("svc", "a", jwk("a"), KeyState::Approved)
            .unwrap();
        registry
            .publish("svc", "old", jwk("old"), KeyState::Approved)
            .unwrap();
        registry.set_expiry("svc", "old", Some(at(5))).unwrap();
        registry
            .publish("svc", "new", jwk("new"), KeyState::Pending)
            .unwrap();
        registry
            .publish("other", "c", jwk("c"), KeyState::Approved)
            .unwrap();
        assert_eq!(registry.keys("svc", at(5)), [jwk("a"), jwk("b")]);
        assert_eq!(registry.keys("svc", at(4)).len(), 3);
        assert_eq!(registry.keys("nobody", at(5)), []);
    }

    #[test]
    fn publishing_again_replaces_the_key_its_state_and_its_expiry() {
        let registry = Registry::in_memory().unwrap();
        registry
            .publish("svc", "k", jwk("k"), KeyState::Approved)
            .unwrap();
        registry.set_expiry("svc", "k", Some(at(1))).unwrap();
        registry
            .publish("svc", "k", jwk("renamed"), KeyState::Approved)
            .unwrap();
        assert_eq!(registry.find("svc", "k", at(9)), approved("renamed", None));
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let registry = Registry::in_memory().unwrap();
        registry
            .publish("svc", "k", jwk("k"), KeyState::Pending)
            .unwrap();
        for (service, kid) in [("svc", "other"), ("other", "k")] {
            assert!(!registry.approve(service, kid).unwrap());
            assert!(!registry.set_expiry(service, kid, None).unwrap());
            assert!(!registry.remove(service, kid).unwrap());
        }
    }

    #[test]
    fn clones_share_their_keys() {
        let registry = Registry::in_memory().unwrap();
        registry
            .clone()
            .publish("svc", "k", jwk("k"), KeyState::Approved)
            .unwrap();
        assert_eq!(registry.keys("svc", at(0)), [jwk("k")]);
    }
}
