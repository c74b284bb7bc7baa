//! Keys that were asked for before, and keys known not to exist, both for a while.

use crate::key::KeyName;
use crate::machine::KeyAnswer;
use crate::time::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Keys and refusals are kept apart, so that a stranger who asks for many unknown keys cannot
/// push out the known ones.
#[derive(Debug)]
pub struct KeyCache {
    keys: LruCache<KeyName, Entry>,
    problems: LruCache<KeyName, Entry>,
}

#[derive(Debug)]
struct Entry {
    answer: KeyAnswer,
    expires: Timestamp,
}

impl KeyCache {
    /// Room for `capacity` keys and for as many refusals.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            keys: LruCache::new(capacity),
            problems: LruCache::new(capacity),
        }
    }

    /// What is known of a key at `now`.
    pub fn get(&mut self, name: &KeyName, now: Timestamp) -> Option<KeyAnswer> {
        let fresh = |entry: &&Entry| entry.expires > now;
        let entry = self.keys.get(name).filter(fresh);
        let entry = entry.or_else(|| self.problems.get(name).filter(fresh));
        entry.map(|entry| entry.answer.clone())
    }

    /// Remembers an answer for as long as it may be used. It replaces what was known before: a
    /// key is not used again once the key server has said that it is no more.
    pub fn put(&mut self, name: KeyName, answer: KeyAnswer, lifetime: Duration, now: Timestamp) {
        let entry = Entry {
            expires: now + lifetime,
            answer,
        };
        let (cache, other) = match entry.answer {
            Ok(_) => (&mut self.keys, &mut self.problems),
            Err(_) => (&mut self.problems, &mut self.keys),
        };
        other.pop(&name);
        cache.put(name, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::KeyProblem;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn name(key_id: &str) -> KeyName {
        KeyName::new("svc".into(), key_id.into()).unwrap()
    }

    fn problem(cache: &mut KeyCache, key_id: &str, now: i64) -> Option<KeyProblem> {
        cache
            .get(&name(key_id), at(now))
            .map(|answer| answer.unwrap_err())
    }

    #[test]
    fn answers_live_as_long_as_they_may() {
        let mut cache = KeyCache::new(NonZeroUsize::new(2).unwrap());
        assert_eq!(problem(&mut cache, "a", 0), None);
        cache.put(
            name("a"),
            Err(KeyProblem::Unknown),
            Duration::from_secs(10),
            at(0),
        );
        assert_eq!(problem(&mut cache, "a", 9), Some(KeyProblem::Unknown));
        assert_eq!(problem(&mut cache, "a", 10), None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = KeyCache::new(NonZeroUsize::new(2).unwrap());
        for key_id in ["a", "b", "c"] {
            cache.put(
                name(key_id),
                Err(KeyProblem::Unknown),
                Duration::from_secs(10),
                at(0),
            );
        }
        assert_eq!(problem(&mut cache, "a", 1), None);
        assert_eq!(problem(&mut cache, "c", 1), Some(KeyProblem::Unknown));
    }
}
