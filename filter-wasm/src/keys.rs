//! Keys as the filter has them: given in its configuration, or fetched from a key registry, kept,
//! and shared with the other workers.

use crate::shared_data::SharedData;
use jwt_core::config::filter::{Keyregistry, PresharedKey};
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::key_cache::KeyCache;
use jwt_core::machine::{KeyAnswer, KeySource};
use jwt_core::refusal::KeyProblem;
use jwt_core::registry::{self, Fetched};
use jwt_core::shared_key;
use jwt_core::time::Timestamp;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::task::Poll;

/// Keys a worker keeps parsed, and refusals it remembers.
const CACHE_CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// In every key of the shared data; it changes with the format of the values.
const SHARED_PREFIX: &str = "jwtproxy.keys.v1";

/// The keys of one verifier.
pub enum Keys {
    /// One key, given.
    Preshared(KeyName, Rc<PublicKey>),
    /// Keys of a registry.
    Registry(Box<RegistryKeys>),
}

/// Keys of a registry. One that is not at hand is put on the list of keys to fetch, once.
pub struct RegistryKeys {
    registry: Keyregistry,
    identity: String,
    shared: Rc<dyn SharedData>,
    cache: KeyCache,
    to_fetch: Vec<KeyName>,
    in_flight: HashSet<KeyName>,
}

/// A key to get from the registry, with the path of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The key.
    pub name: KeyName,
    /// `:path` of the request.
    pub path: String,
}

impl Keys {
    /// The one key there is.
    pub fn preshared(preshared: PresharedKey) -> Self {
        Self::Preshared(preshared.name, Rc::from(preshared.key))
    }

    /// The keys of a registry, none of them fetched by this worker yet.
    pub fn registry(registry: Keyregistry, shared: Rc<dyn SharedData>) -> Self {
        Self::Registry(Box::new(RegistryKeys {
            identity: format!(
                "{} {} {}",
                registry.cluster, registry.authority, registry.path
            ),
            registry,
            shared,
            cache: KeyCache::new(CACHE_CAPACITY),
            to_fetch: Vec::new(),
            in_flight: HashSet::new(),
        }))
    }
}

impl KeySource for Keys {
    fn key(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer> {
        match self {
            Self::Preshared(own, key) if own == name => Poll::Ready(Ok(key.clone())),
            Self::Preshared(..) => Poll::Ready(Err(KeyProblem::Unknown)),
            Self::Registry(keys) => keys.key(name, now),
        }
    }
}

impl RegistryKeys {
    /// The registry they come from.
    pub fn configuration(&self) -> &Keyregistry {
        &self.registry
    }

    fn key(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer> {
        if let Some(answer) = self.cache.get(name, now) {
            return Poll::Ready(answer);
        }
        if let Some(key) = self.key_of_another_worker(name, now) {
            return Poll::Ready(Ok(key));
        }
        if registry::key_path(&self.registry.path, name).is_none() {
            return Poll::Ready(Err(KeyProblem::Unknown));
        }
        if self.in_flight.insert(name.clone()) {
            self.to_fetch.push(name.clone());
        }
        Poll::Pending
    }

    /// The keys to fetch now, each handed out once until its answer is recorded.
    pub fn take_fetches(&mut self) -> Vec<Fetch> {
        let base = &self.registry.path;
        let fetch = |name| {
            Some(Fetch {
                path: registry::key_path(base, &name)?,
                name,
            })
        };
        self.to_fetch.drain(..).filter_map(fetch).collect()
    }

    /// Keeps the answer to a fetch and publishes a key to the other workers.
    pub fn record(&mut self, name: &KeyName, fetched: &Fetched, now: Timestamp) {
        self.in_flight.remove(name);
        if let Ok(key) = &fetched.answer {
            let value = shared_key::encode(&self.identity, name, key, now + fetched.lifetime);
            let slot = self.slot(name);
            // A conflict means that another worker has just published, most likely the same key.
            let (_, version) = self.shared.get(&slot);
            let _ = self.shared.set(&slot, &value, version);
        }
        self.cache
            .put(name.clone(), fetched.answer.clone(), fetched.lifetime, now);
    }

    fn key_of_another_worker(&mut self, name: &KeyName, now: Timestamp) -> Option<Rc<PublicKey>> {
        let (bytes, _) = self.shared.get(&self.slot(name));
        let (key, left) = shared_key::decode(&bytes, &self.identity, name, now)?;
        let key = Rc::new(key);
        self.cache.put(name.clone(), Ok(key.clone()), left, now);
        Some(key)
    }

    fn slot(&self, name: &KeyName) -> String {
        format!("{SHARED_PREFIX}.{}", shared_key::slot(&self.identity, name))
    }
}
