//! What a registry knows: the keys of its services. No clock and no network here.
//!
//! Every change is on the disk before anybody sees it. Reading never waits for the disk: keys are
//! answered from memory.

mod crowd;
mod index;
mod key;
mod migrations;
mod name;
mod nonces;
mod source;
mod state;
mod storage;
mod tombstones;

pub use key::{Key, KeyState, Lookup, Origin};
pub use source::Source;
pub use storage::StorageError;

pub(crate) use index::{Index, Waiting};
pub(crate) use name::Name;
pub(crate) use state::{Change, State};

use crate::jwk::PublicJwk;
use jwt_core::nonce::NonceStore;
use jwt_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use storage::Storage;

/// The keys of all services. Clones share them.
#[derive(Clone)]
pub struct Registry {
    state: Arc<RwLock<State>>,
    /// Held for the whole of a change, so that changes come one after the other.
    storage: Arc<Mutex<Storage>>,
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

impl NamedKey {
    fn new(service: &str, kid: &str, key: &Key) -> Self {
        Self {
            service: service.to_owned(),
            kid: kid.to_owned(),
            key: key.clone(),
        }
    }

    fn name(&self) -> Name {
        Name::new(&self.service, &self.kid)
    }
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
        let registry = Self {
            state: Arc::new(RwLock::new(storage.load()?)),
            storage: Arc::new(Mutex::new(storage)),
        };
        registry.bury_retired()?;
        registry.remove_buried()?;
        Ok(registry)
    }

    /// Older versions served a key that was revoked or replaced on under its other names.
    fn remove_buried(&self) -> Result<(), StorageError> {
        self.update(|state, _| {
            let is_buried = |(_, _, key): &(&str, &str, &Key)| {
                key.state == KeyState::Approved && state.tombstones().has_key(&key.jwk.thumbprint())
            };
            let buried = state.after("", "").filter(is_buried);
            let changes = buried.map(|(service, kid, _)| Change::Remove(Name::new(service, kid)));
            Ok((changes.collect(), ()))
        })
    }

    /// Older versions let a retired key come back once it was forgotten.
    fn bury_retired(&self) -> Result<(), StorageError> {
        let is_retired = |key: &NamedKey| key.key.state == KeyState::Retired;
        for key in self.all().into_iter().filter(is_retired) {
            self.update(|state, _| Ok::<_, StorageError>((state.bury(&key.name(), &key.key), ())))?;
        }
        Ok(())
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
                origin: None,
            },
        })
    }

    /// Adds a key, in place of any key of the same service and id.
    pub fn put(&self, key: NamedKey) -> Result<(), StorageError> {
        self.put_all(vec![key])
    }

    /// Adds keys, all of them or none, whether they were revoked before or not.
    pub fn put_all(&self, keys: Vec<NamedKey>) -> Result<(), StorageError> {
        self.update(|state, _| {
            let put = |named: NamedKey| {
                let name = named.name();
                let mut changes = state.lift(&name, &named.key.jwk.thumbprint());
                changes.push(Change::Put(name, named.key));
                changes
            };
            Ok((keys.into_iter().flat_map(put).collect(), ()))
        })
    }

    /// Adds keys, all of them or none, but not those that were revoked or replaced, nor others of
    /// their names: these are returned.
    pub fn seed(&self, keys: Vec<NamedKey>) -> Result<Vec<NamedKey>, StorageError> {
        self.update(|state, _| {
            let (refused, good) = keys.into_iter().partition(|named: &NamedKey| {
                let thumbprint = named.key.jwk.thumbprint();
                let tombstones = state.tombstones();
                tombstones.has_name(&named.name()) || tombstones.has_key(&thumbprint)
            });
            let put = |named: NamedKey| Change::Put(named.name(), named.key);
            Ok((Vec::into_iter(good).map(put).collect(), refused))
        })
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
        self.update(|state, _| {
            let key = state.find(service, kid).cloned();
            let put = key.map(|key| Change::Put(Name::new(service, kid), Key { expires, ..key }));
            let found = put.is_some();
            Ok((put.into_iter().collect(), found))
        })
    }

    /// Revokes a key; `false` when there is none. One that was approved once does not come back:
    /// neither its id nor the key itself.
    pub fn remove(&self, service: &str, kid: &str) -> Result<bool, StorageError> {
        self.update(|state, _| match state.find(service, kid) {
            Some(_) => Ok((state.revoke(&Name::new(service, kid)), true)),
            None => Ok((Vec::new(), false)),
        })
    }

    /// Forgets the keys whose time is over at `now`: those that were not approved in their time,
    /// and those that expired long ago.
    ///
    /// It takes time for each of these keys, and none for others.
    pub(crate) fn sweep(&self, now: Timestamp) -> Result<(), StorageError> {
        if !self.read().index().is_due(now) {
            return Ok(());
        }
        let mut storage = self.lock_storage();
        self.write().index_mut().expire(now);
        self.change(&mut storage, |state, _| {
            let over = state.index().over(now);
            Ok::<_, StorageError>((over.into_iter().map(Change::Remove).collect(), ()))
        })?;
        storage.release_space()
    }

    /// Removes the pending keys that `wanted` says at `now`, or says which these are.
    pub(crate) fn purge(
        &self,
        wanted: impl Fn(&str, &Key) -> bool,
        dry_run: bool,
    ) -> Result<Vec<NamedKey>, StorageError> {
        let mut storage = self.lock_storage();
        let purged = self.change(&mut storage, |state, _| {
            let keys = state
                .after("", "")
                .filter(|(service, _, key)| key.state == KeyState::Pending && wanted(service, key));
            let keys: Vec<NamedKey> = keys
                .map(|(service, kid, key)| NamedKey::new(service, kid, key))
                .collect();
            let removed = if dry_run { &[][..] } else { &keys };
            let changes = removed.iter().map(|key| Change::Remove(key.name()));
            Ok::<_, StorageError>((changes.collect(), keys))
        })?;
        storage.release_space()?;
        Ok(purged)
    }

    /// What there is to say about a key at `now`.
    pub fn find(&self, service: &str, kid: &str, now: Timestamp) -> Lookup {
        let state = self.read();
        let key = state.find(service, kid);
        key.map_or(Lookup::Unknown, |key| key.lookup(now))
    }

    /// A key, whatever its state.
    pub fn get(&self, service: &str, kid: &str) -> Option<Key> {
        self.read().find(service, kid).cloned()
    }

    /// Whether a key of this name was revoked or replaced.
    pub fn is_revoked(&self, service: &str, kid: &str) -> bool {
        let name = Name::new(service, kid);
        self.read().tombstones().has_name(&name)
    }

    /// The approved and unexpired keys of a service at `now`, by key id.
    pub fn keys(&self, service: &str, now: Timestamp) -> Vec<PublicJwk> {
        let state = self.read();
        let keys = state.of_service(service).map(|(_, key)| key);
        keys.filter(|key| key.is_served(now))
            .map(|key| key.jwk.clone())
            .collect()
    }

    /// Every key there is, whatever its state, by service and key id.
    pub fn all(&self) -> Vec<NamedKey> {
        self.page("", "", usize::MAX)
    }

    /// So many keys at most after this name, by service and key id.
    pub(crate) fn page(&self, service: &str, kid: &str, limit: usize) -> Vec<NamedKey> {
        let state = self.read();
        let keys = state.after(service, kid).take(limit);
        keys.map(|(service, kid, key)| NamedKey::new(service, kid, key))
            .collect()
    }

    /// How many keys have come how far, and how many tombstones there are.
    pub(crate) fn count_by_state(&self) -> BTreeMap<&'static str, usize> {
        let state = self.read();
        let mut counts = state.index().count_by_state();
        counts.insert("revoked", state.tombstones().len());
        counts
    }

    /// The one way to change keys. `decide` sees the keys as they are and says what to change;
    /// nothing happens in between. When this returns, the changes and the nonces that `decide`
    /// claimed are on the disk; where it fails, there is nothing of either.
    /// Where nothing changes, nothing is written, and the nonces are remembered in memory.
    ///
    /// It waits for the disk: asynchronous callers let a thread do it.
    pub(crate) fn update<T, E: From<StorageError>>(
        &self,
        decide: impl FnOnce(&State, &mut dyn NonceStore) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, E> {
        self.change(&mut self.lock_storage(), decide)
    }

    fn change<T, E: From<StorageError>>(
        &self,
        storage: &mut Storage,
        decide: impl FnOnce(&State, &mut dyn NonceStore) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, E> {
        let mut nonces = storage.transaction()?;
        let (changes, outcome) = decide(&self.read(), &mut nonces)?;
        if changes.is_empty() {
            nonces.remember_only()?;
            return Ok(outcome);
        }
        for change in &changes {
            storage::write(nonces.transaction(), change)?;
        }
        nonces.commit()?;
        let mut state = self.write();
        changes.into_iter().for_each(|change| state.apply(change));
        Ok(outcome)
    }

    fn lock_storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Every change is a few map operations: a panic elsewhere cannot have left half of one.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("state", &*self.read())
            .finish_non_exhaustive()
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
        registry
            .publish("svc", "k", jwk("k"), KeyState::Approved)
            .unwrap();
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
    fn a_key_that_was_not_approved_in_its_time_is_unknown() {
        let registry = Registry::in_memory().unwrap();
        registry
            .publish("svc", "k", jwk("k"), KeyState::Pending)
            .unwrap();
        registry.set_expiry("svc", "k", Some(at(5))).unwrap();
        assert_eq!(registry.find("svc", "k", at(4)), Lookup::Pending);
        assert_eq!(registry.find("svc", "k", at(5)), Lookup::Unknown);
        registry.sweep(at(5)).unwrap();
        assert_eq!(registry.get("svc", "k"), None);
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
