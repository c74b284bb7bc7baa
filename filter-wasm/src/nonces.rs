//! The nonce storage `local`: used nonces in the memory that the workers share.

use crate::events::{Events, count_one};
use crate::sealed::{Foreign, Sealed};
use crate::shared_data::Version;
use jwt_core::nonce::{Nonce, NonceClaim, NonceStore};
use jwt_core::nonce_bucket::{self, BucketClaim, Buckets, HashKey};
use jwt_core::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// Nonces, and the version of the values' format, since these outlive a reload of the filter.
///
/// The keys of buckets are short because the host keeps one for each: up to 22 bytes are within
/// its string, longer ones take memory of their own, which is a byte a nonce.
const KEY_PREFIX: &str = "jwtproxy.n2";

/// How often a claim starts over because another worker has written to the same bucket. Each
/// time one of the others got on, so this many would take as many workers.
const ATTEMPTS: usize = 1000;

/// Nonces in shared data, claimed by compare-and-swap.
pub struct SharedNonces {
    shared: Sealed,
    scope: String,
    /// What the keys of all buckets begin with.
    prefix: String,
    buckets: Buckets,
    longest_life: Duration,
    events: Rc<Events>,
}

/// What a store is to remember.
#[derive(Clone, Debug)]
pub struct NonceRules {
    /// Verifiers with the same scope share their nonces.
    pub scope: String,
    /// How many live nonces there is room for.
    pub capacity: u32,
    /// No token that is accepted expires later from then on.
    pub longest_life: Duration,
}

impl SharedNonces {
    /// `fresh_key` becomes the key of the hash, unless a worker has chosen one before.
    pub fn new(shared: Sealed, rules: NonceRules, fresh_key: HashKey, events: Rc<Events>) -> Self {
        let count = nonce_bucket::count_for(rules.capacity);
        let hash_key = shared.hash_key(&format!("{KEY_PREFIX}.hash_key"), fresh_key);
        Self {
            shared,
            scope: rules.scope,
            prefix: prefix(count),
            buckets: Buckets::new(count, hash_key),
            longest_life: rules.longest_life,
            events,
        }
    }
}

impl SharedNonces {
    fn key(&self, bucket: u32) -> String {
        format!("{}{bucket:x}", self.prefix)
    }

    /// The nonces of a bucket are lost: something else has written to it. What may have been in
    /// it is refused until it has expired.
    fn give_up(&self, key: &str, version: Version, now: Timestamp) {
        count_one(&self.events.foreign_values);
        let lost = nonce_bucket::lost(now + self.longest_life);
        // A conflict means that another worker has found it too.
        let _ = self.shared.set(key, lost, version);
    }
}

impl NonceStore for SharedNonces {
    fn claim(&mut self, nonce: &Nonce<'_>, now: Timestamp) -> NonceClaim {
        let place = self.buckets.place(&self.scope, nonce);
        let key = self.key(place.bucket);
        for _ in 0..ATTEMPTS {
            let (bytes, version) = match self.shared.get(&key) {
                Ok(bucket) => bucket,
                Err(Foreign(version)) => {
                    self.give_up(&key, version, now);
                    return NonceClaim::Unavailable;
                }
            };
            // Ours are never empty: one that is there and is empty was wiped.
            let is_wiped = bytes.is_empty() && version != Version::Absent;
            let next = match nonce_bucket::claim(&bytes, place, nonce.expires, now) {
                _ if is_wiped => {
                    self.give_up(&key, version, now);
                    return NonceClaim::Unavailable;
                }
                BucketClaim::Damaged => {
                    self.give_up(&key, version, now);
                    return NonceClaim::Unavailable;
                }
                BucketClaim::Fresh(next) => next,
                BucketClaim::Replayed => return NonceClaim::Replayed,
                BucketClaim::Full => return NonceClaim::Full,
                BucketClaim::OverShare => return NonceClaim::OverShare,
                BucketClaim::Forgotten => return NonceClaim::Unavailable,
            };
            let difference = entries(&next) - entries(&bytes);
            if self.shared.set(&key, next, version).is_ok() {
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
    i64::try_from(nonce_bucket::entry_count(bucket)).unwrap_or(i64::MAX)
}

/// A store of another size spreads its nonces differently, so it has keys of its own.
fn prefix(count: u32) -> String {
    format!("{KEY_PREFIX}.{count:x}.")
}

/// When the first worker of this process had a store of this scope and capacity: it knows every
/// nonce since then, and none from before. `now`, if none had one, or if that cannot be told.
pub fn known_since(shared: &Sealed, scope: &str, capacity: u32, now: Timestamp) -> Timestamp {
    let key = format!("{}since.{scope}", prefix(nonce_bucket::count_for(capacity)));
    let value = || now.milliseconds().to_le_bytes().to_vec();
    // A worker that is too late finds a conflict here, and the first one's time below.
    let _ = shared.set(&key, value(), Version::Absent);
    let known = match shared.get(&key) {
        Ok((bytes, _)) => bytes.try_into().map(i64::from_le_bytes).ok(),
        Err(Foreign(version)) => {
            let _ = shared.set(&key, value(), version);
            None
        }
    };
    known.and_then(Timestamp::from_milliseconds).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_data::in_memory::InMemory;
    use crate::shared_data::{Conflict, SharedData};
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

    fn sized(scope: &str, capacity: u32) -> NonceRules {
        NonceRules {
            scope: scope.into(),
            capacity,
            longest_life: Duration::from_secs(360),
        }
    }

    fn claim(store: &mut SharedNonces, token_id: &str) -> NonceClaim {
        store.claim(&nonce(token_id), at(10))
    }

    fn worker(shared: &Rc<InMemory>, scope: &str, fresh_key: u8) -> SharedNonces {
        let shared = Sealed::new(shared.clone(), None);
        SharedNonces::new(shared, sized(scope, 1000), [fresh_key; 16], Rc::default())
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
        let shared = Sealed::new(Rc::<InMemory>::default(), None);
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
        let shared = Sealed::new(Rc::<InMemory>::default(), None);
        let store = SharedNonces::new(shared, sized("", 1_000_000), [1; 16], Rc::default());
        let longest = store.key(nonce_bucket::count_for(1_000_000) - 1);
        assert!(longest.len() <= 22, "{longest}");
    }

    fn count(claims: &[NonceClaim], kind: NonceClaim) -> usize {
        claims.iter().filter(|claim| **claim == kind).count()
    }

    fn of(issuer: &str, store: &mut SharedNonces, token_id: u32) -> NonceClaim {
        let nonce = Nonce {
            issuer,
            token_id: &token_id.to_string(),
            expires: at(100),
        };
        store.claim(&nonce, at(10))
    }

    #[test]
    fn one_issuer_that_fills_the_store_keeps_no_other_out() {
        let mut store = worker(&Rc::default(), "", 1);
        let flood: Vec<_> = (0..5000).map(|i| of("hostile", &mut store, i)).collect();
        // More than the capacity, which is shared out only where it is exceeded.
        assert!(count(&flood, NonceClaim::Fresh) > 1500);
        assert!(count(&flood, NonceClaim::OverShare) > 3000);
        let good: Vec<_> = (0..100).map(|i| of("svc", &mut store, i)).collect();
        assert_eq!(count(&good, NonceClaim::Fresh), 100);
    }

    #[test]
    fn ten_issuers_that_fill_the_store_keep_no_other_out() {
        let mut store = worker(&Rc::default(), "", 1);
        for number in 0..20_000 {
            of(&format!("hostile-{}", number % 10), &mut store, number);
        }
        let good: Vec<_> = (0..50).map(|i| of("svc", &mut store, i)).collect();
        assert!(count(&good, NonceClaim::Fresh) >= 45, "{good:?}");
    }

    #[test]
    fn one_issuer_alone_has_the_whole_capacity() {
        let shared = Sealed::new(Rc::<InMemory>::default(), None);
        let mut store = SharedNonces::new(shared, sized("", 20_000), [3; 16], Rc::default());
        let claims: Vec<_> = (0..20_000).map(|i| of("svc", &mut store, i)).collect();
        assert_eq!(count(&claims, NonceClaim::Fresh), 20_000);
    }

    #[test]
    fn a_full_store_says_so() {
        let shared = Sealed::new(Rc::<InMemory>::default(), None);
        let mut store = SharedNonces::new(shared, sized("", 1), [1; 16], Rc::default());
        let claims: Vec<_> = (0..400)
            .map(|i| of(&format!("svc-{}", i % 200), &mut store, i))
            .collect();
        assert_eq!(count(&claims, NonceClaim::Fresh), 160);
        assert_eq!(claims[399], NonceClaim::Full);
    }

    fn overwrite_all(shared: &InMemory, value: &[u8]) {
        for bucket in 0..nonce_bucket::count_for(1000) {
            let key = format!("{}{bucket:x}", prefix(nonce_bucket::count_for(1000)));
            let (_, version) = shared.get(&key);
            if version != Version::Absent {
                shared.set(&key, value, version).unwrap();
            }
        }
    }

    #[test]
    fn nonces_that_another_plugin_wipes_or_damages_are_not_usable_again() {
        let secret = jwt_core::seal::Secret::new("s".repeat(32));
        for (secret, value) in [
            (secret.clone(), vec![]),
            (secret.clone(), vec![0; 4]),
            (secret, vec![0; 16]),
            (None, vec![]),
            (None, vec![0; 5]),
        ] {
            let shared = Rc::<InMemory>::default();
            let sealed = Sealed::new(shared.clone(), secret);
            let mut store = SharedNonces::new(sealed, sized("", 1000), [1; 16], Rc::default());
            assert_eq!(claim(&mut store, "n1"), NonceClaim::Fresh);
            overwrite_all(&shared, &value);
            assert_eq!(claim(&mut store, "n1"), NonceClaim::Unavailable);
            // And it stays so, for as long as such a token is good.
            assert_eq!(claim(&mut store, "n1"), NonceClaim::Unavailable);
            let later = Nonce {
                expires: at(500),
                ..nonce("n2")
            };
            assert_eq!(store.claim(&later, at(200)), NonceClaim::Fresh);
        }
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
        let racing = Sealed::new(racing, None);
        let mut store = SharedNonces::new(racing, sized("", 1000), [1; 16], Rc::default());
        assert_eq!(claim(&mut store, "n1"), NonceClaim::Replayed);
    }
}
