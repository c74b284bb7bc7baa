//! Keys that were asked for before, and keys known not to exist, both for a while.

use crate::key::{KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use crate::time::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

/// Keys and refusals are kept apart, so that a stranger who asks for many unknown keys cannot
/// push out the known ones.
#[derive(Debug)]
pub struct KeyCache {
    keys: LruCache<KeyName, Key>,
    problems: LruCache<KeyName, Problem>,
    /// How long after its time a key may serve while the key server is down.
    stale_if_error: Duration,
}

#[derive(Debug)]
struct Key {
    key: Rc<PublicKey>,
    /// From then on a use asks for a fresh one, ahead of the need.
    refresh_at: Timestamp,
    expires: Timestamp,
}

#[derive(Debug)]
struct Problem {
    problem: KeyProblem,
    expires: Timestamp,
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The answer, with time left.
    Fresh(KeyAnswer),
    /// The answer, which will not be good for much longer.
    RefreshAhead(KeyAnswer),
    /// The answer while the key server is down: a key past its time.
    Stale(KeyAnswer),
    /// Nothing.
    Unknown,
}

impl KeyCache {
    /// Room for `capacity` keys and for as many refusals.
    pub fn new(capacity: NonZeroUsize, stale_if_error: Duration) -> Self {
        Self {
            keys: LruCache::new(capacity),
            problems: LruCache::new(capacity),
            stale_if_error,
        }
    }

    /// What is known of a key at `now`.
    pub fn get(&mut self, name: &KeyName, now: Timestamp) -> Lookup {
        let problem = self
            .problems
            .get(name)
            .filter(|problem| problem.expires > now);
        let problem = problem.map(|problem| problem.problem);
        match (self.keys.get(name), problem) {
            (Some(key), _) if key.refresh_at > now => Lookup::Fresh(Ok(key.key.clone())),
            // The refresh has failed, and is not tried again yet.
            (Some(key), Some(KeyProblem::Unavailable)) if key.expires > now => {
                Lookup::Fresh(Ok(key.key.clone()))
            }
            (Some(key), None) if key.expires > now => Lookup::RefreshAhead(Ok(key.key.clone())),
            (Some(key), Some(KeyProblem::Unavailable))
                if key.expires + self.stale_if_error > now =>
            {
                Lookup::Stale(Ok(key.key.clone()))
            }
            (_, Some(problem)) => Lookup::Fresh(Err(problem)),
            (_, None) => Lookup::Unknown,
        }
    }

    /// Until when the key that is at hand may be used.
    pub fn expires(&self, name: &KeyName) -> Option<Timestamp> {
        self.keys.peek(name).map(|key| key.expires)
    }

    /// Whether the key was had before, in its time or not.
    pub fn had(&self, name: &KeyName) -> bool {
        self.keys.contains(name)
    }

    /// Remembers an answer for as long as it may be used. It replaces what was known before: a
    /// key is not used again once the key server has said that it is no more. A key server that
    /// could not be asked has said nothing.
    pub fn put(&mut self, name: &KeyName, answer: &KeyAnswer, lifetime: Duration, now: Timestamp) {
        let expires = now + lifetime;
        match answer {
            Ok(key) => {
                self.problems.pop(name);
                // A busy key is fetched again in the last fifth of its time.
                let refresh_at = now + lifetime * 4 / 5;
                self.keys.put(
                    name.clone(),
                    Key {
                        key: key.clone(),
                        refresh_at,
                        expires,
                    },
                );
            }
            Err(problem) => {
                if *problem != KeyProblem::Unavailable {
                    self.keys.pop(name);
                }
                self.problems.put(
                    name.clone(),
                    Problem {
                        problem: *problem,
                        expires,
                    },
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestSigner;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn name(key_id: &str) -> KeyName {
        KeyName::new("svc".into(), key_id.into()).unwrap()
    }

    fn cache() -> KeyCache {
        KeyCache::new(NonZeroUsize::new(2).unwrap(), Duration::from_secs(50))
    }

    fn put(cache: &mut KeyCache, key_id: &str, answer: KeyAnswer, seconds: u64, now: i64) {
        cache.put(
            &name(key_id),
            &answer,
            Duration::from_secs(seconds),
            at(now),
        );
    }

    fn key() -> KeyAnswer {
        Ok(Rc::new(TestSigner::service().public_key()))
    }

    fn state(cache: &mut KeyCache, key_id: &str, now: i64) -> &'static str {
        match cache.get(&name(key_id), at(now)) {
            Lookup::Fresh(Ok(_)) => "fresh",
            Lookup::Fresh(Err(KeyProblem::Unavailable)) => "unavailable",
            Lookup::Fresh(Err(_)) => "refused",
            Lookup::RefreshAhead(_) => "refresh",
            Lookup::Stale(_) => "stale",
            Lookup::Unknown => "unknown",
        }
    }

    #[test]
    fn a_key_is_refreshed_ahead_of_its_end() {
        let mut cache = cache();
        assert_eq!(state(&mut cache, "a", 0), "unknown");
        put(&mut cache, "a", key(), 100, 0);
        assert_eq!(state(&mut cache, "a", 79), "fresh");
        assert_eq!(state(&mut cache, "a", 80), "refresh");
        assert_eq!(state(&mut cache, "a", 99), "refresh");
        assert_eq!(state(&mut cache, "a", 100), "unknown");
    }

    #[test]
    fn refusals_are_believed_for_their_time() {
        let mut cache = cache();
        put(&mut cache, "a", Err(KeyProblem::Unknown), 10, 0);
        assert_eq!(state(&mut cache, "a", 9), "refused");
        assert_eq!(state(&mut cache, "a", 10), "unknown");
    }

    #[test]
    fn a_key_outlives_its_time_only_while_the_key_server_is_down() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 0);
        put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 90);
        assert_eq!(state(&mut cache, "a", 95), "fresh");
        put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 105);
        assert_eq!(state(&mut cache, "a", 110), "stale");
        assert_eq!(state(&mut cache, "a", 115), "unknown");
        put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 150);
        assert_eq!(state(&mut cache, "a", 151), "unavailable");
    }

    #[test]
    fn a_key_that_is_no_more_is_never_used_again() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 0);
        put(&mut cache, "a", Err(KeyProblem::Expired), 10, 85);
        assert_eq!(state(&mut cache, "a", 86), "refused");
        put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 96);
        assert_eq!(state(&mut cache, "a", 97), "unavailable");
    }

    #[test]
    fn strangers_push_out_no_keys() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 0);
        for key_id in ["x", "y", "z"] {
            put(&mut cache, key_id, Err(KeyProblem::Unknown), 10, 0);
        }
        assert_eq!(state(&mut cache, "x", 1), "unknown");
        assert_eq!(state(&mut cache, "z", 1), "refused");
        assert_eq!(state(&mut cache, "a", 1), "fresh");
    }
}
