//! The nonce storage `local`: used nonces in the memory that the workers share.

use crate::events::Events;
use crate::shared_data::{SharedData, Version};
use jwt_core::nonce::{Nonce, NonceClaim, NonceStore};
use jwt_core::nonce_bucket::{self, BucketClaim, Buckets, ENTRY_SIZE, HashKey};
use jwt_core::time::Timestamp;
use std::rc::Rc;

/// Nonces, and the version of the values' format, since these outlive a reload of the filter.
///
/// The keys of buckets are short because the host keeps one for each: up to 22 bytes are within
/// its string, longer ones take memory of their own, which is a byte a nonce.
const KEY_PREFIX: &str = "jwtproxy.n1";

/// How often a claim starts over because another worker has written to the same bucket. Each
/// time one of the others got on, so this many would take as many workers.
const ATTEMPTS: usize = 1000;

/// Nonces in shared data, claimed by compare-and-swap.
pub struct SharedNonces {
    shared: Rc<dyn SharedData>,
    scope: String,
    /// What the keys of all buckets begin with.
    prefix: String,
    buckets: Buckets,
    events: Rc<Events>,
}

impl SharedNonces {
    /// A store for `capacity` live nonces. Verifiers with the same `scope` share their nonces.
    ///
    /// `fresh_key` becomes the key of the hash, unless a worker has chosen one before.
    pub fn new(
        shared: Rc<dyn SharedData>,
        scope: String,
        capacity: u32,
        fresh_key: HashKey,
        events: Rc<Events>,
    ) -> Self {
        let count = nonce_bucket::count_for(capacity);
        let buckets = Buckets::new(count, agree_on_hash_key(&*shared, fresh_key));
        Self {
            shared,
            scope,
            prefix: prefix(count),
            buckets,
            events,
        }
    }
}

impl SharedNonces {
    fn key(&self, bucket: u32) -> String {
        format!("{}{bucket:x}", self.prefix)
    }
}

impl NonceStore for SharedNonces {
    fn claim(&mut self, nonce: &Nonce<'_>, now: Timestamp) -> NonceClaim {
        let place = self.buckets.place(&self.scope, nonce);
        let key = self.key(place.bucket);
        for _ in 0..ATTEMPTS {
            let (bytes, version) = self.shared.get(&key);
            let next = match nonce_bucket::claim(&bytes, place, nonce.expires, now) {
                BucketClaim::Fresh(next) => next,
                BucketClaim::Replayed => return NonceClaim::Replayed,
                BucketClaim::Full => return NonceClaim::Full,
            };
            if self.shared.set(&key, &next, version).is_ok() {
                let difference = entries(&next) - entries(&bytes);
                self.events
                    .nonces
                    .set(self.events.nonces.get() + difference);
                return NonceClaim::Fresh;
            }
        }
        NonceClaim::Unavailable
    }
}

fn entries(bucket: &[u8]) -> i64 {
    i64::try_from(bucket.len() / ENTRY_SIZE).unwrap_or(i64::MAX)
}

/// A store of another size spreads its nonces differently, so it has keys of its own.
fn prefix(count: u32) -> String {
    format!("{KEY_PREFIX}.{count:x}.")
}

/// When the first worker of this process had a store of this scope and capacity: it knows every
/// nonce since then, and none from before. `now`, if nobody had one.
pub fn known_since(
    shared: &dyn SharedData,
    scope: &str,
    capacity: u32,
    now: Timestamp,
) -> Timestamp {
    let key = format!("{}since.{scope}", prefix(nonce_bucket::count_for(capacity)));
    // Whoever is too late finds a conflict here, and the first one's time below.
    let _ = shared.set(&key, &now.milliseconds().to_le_bytes(), Version::Absent);
    let (bytes, _) = shared.get(&key);
    let milliseconds = bytes.try_into().map(i64::from_le_bytes).ok();
    milliseconds
        .and_then(Timestamp::from_milliseconds)
        .unwrap_or(now)
}

/// All workers must hash alike, so the first one's key is everybody's.
fn agree_on_hash_key(shared: &dyn SharedData, fresh_key: HashKey) -> HashKey {
    let key = format!("{KEY_PREFIX}.hash_key");
    // Whoever is too late finds a conflict here, and the winner's key below.
    let _ = shared.set(&key, &fresh_key, Version::Absent);
    let (agreed, _) = shared.get(&key);
    agreed.try_into().unwrap_or(fresh_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_data::in_memory::InMemory;
    use crate::shared_data::{Conflict, Version};
    use std::cell::Cell;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn nonce(token_id: &str) -> Nonce<'_> {
        Nonce {
            issuer: "svc",
            token_id,
            expires: at(100),
        }
    }

    fn claim(store: &mut SharedNonces, token_id: &str) -> NonceClaim {
        store.claim(&nonce(token_id), at(10))
    }

    fn worker(shared: &Rc<InMemory>, scope: &str, fresh_key: u8) -> SharedNonces {
        SharedNonces::new(
            shared.clone(),
            scope.into(),
            1000,
            [fresh_key; 16],
            Rc::default(),
        )
    }

    #[test]
    fn workers_share_their_nonces_whichever_hash_key_they_brought() {
        let shared = Rc::new(InMemory::default());
        let (mut one, mut two) = (worker(&shared, "a", 1), worker(&shared, "a", 2));
        assert_eq!(claim(&mut one, "n1"), NonceClaim::Fresh);
        assert_eq!(claim(&mut two, "n1"), NonceClaim::Replayed);
        assert_eq!(claim(&mut two, "n2"), NonceClaim::Fresh);
        assert_eq!(claim(&mut one, "n2"), NonceClaim::Replayed);
    }

    #[test]
    fn each_bucket_has_a_key_of_its_own() {
        let store = worker(&Rc::new(InMemory::default()), "a", 1);
        let keys: std::collections::HashSet<_> = (0..1000).map(|i| store.key(i)).collect();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn verifiers_of_other_audiences_do_not() {
        let shared = Rc::new(InMemory::default());
        assert_eq!(claim(&mut worker(&shared, "a", 1), "n1"), NonceClaim::Fresh);
        assert_eq!(claim(&mut worker(&shared, "b", 1), "n1"), NonceClaim::Fresh);
    }

    #[test]
    fn a_store_knows_nonces_since_the_first_worker_had_it() {
        let shared = InMemory::default();
        let since = |scope, capacity, now| known_since(&shared, scope, capacity, at(now));
        assert_eq!(since("a", 1000, 10), at(10));
        assert_eq!(since("a", 1000, 20), at(10));
        // Other stores, which the nonces of the first are not in.
        assert_eq!(since("a", 2000, 30), at(30));
        assert_eq!(since("b", 1000, 40), at(40));
        assert_eq!(since("a", 1000, 50), at(10));
    }

    #[test]
    fn the_keys_of_a_store_for_a_million_nonces_are_short() {
        let shared = Rc::new(InMemory::default());
        let store = SharedNonces::new(shared, String::new(), 1_000_000, [1; 16], Rc::default());
        let longest = store.key(nonce_bucket::count_for(1_000_000) - 1);
        assert!(longest.len() <= 22, "{longest}");
    }

    #[test]
    fn a_full_store_says_so() {
        let shared = Rc::new(InMemory::default());
        let mut store = SharedNonces::new(shared, String::new(), 1, [1; 16], Rc::default());
        let claims: Vec<_> = (0..161)
            .map(|i| claim(&mut store, &i.to_string()))
            .collect();
        assert_eq!(
            claims
                .iter()
                .filter(|claim| **claim == NonceClaim::Fresh)
                .count(),
            160
        );
        assert_eq!(claims[160], NonceClaim::Full);
    }

    /// Another worker that claims the same nonce between our reading and our writing.
    struct Racing {
        inner: Rc<InMemory>,
        races: Cell<usize>,
    }

    impl SharedData for Racing {
        fn get(&self, key: &str) -> (Vec<u8>, Version) {
            self.inner.get(key)
        }

        fn set(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
            if self.races.get() > 0 && !key.ends_with("hash_key") {
                self.races.set(self.races.get() - 1);
                self.inner.set(key, value, version).unwrap();
            }
            self.inner.set(key, value, version)
        }
    }

    #[test]
    fn whoever_loses_the_race_has_a_replay() {
        let inner = Rc::new(InMemory::default());
        let racing = Rc::new(Racing {
            inner,
            races: Cell::new(1),
        });
        let mut store = SharedNonces::new(racing, String::new(), 1000, [1; 16], Rc::default());
        assert_eq!(claim(&mut store, "n1"), NonceClaim::Replayed);
    }
}
