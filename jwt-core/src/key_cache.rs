//! Keys that were asked for before, and keys known not to exist, both for a while.
//!
//! Many caches may hang on one key server, and what happens to one of them, a start or an outage,
//! mostly happens to all. So the times at which they ask differ by chance.

use crate::backoff::{Backoff, shortened};
use crate::key::{KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use crate::time::{CLOCK_TOLERANCE, Timestamp};
use lru::LruCache;
use siphasher::sip::SipHasher24;
use std::hash::{Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

/// While a key serves, nobody waits for an answer, and a key server that is down can be left alone.
const LONGEST_PAUSE_WITH_KEY: Duration = Duration::from_secs(60);

/// Without a key requests are refused until there is an answer.
const LONGEST_PAUSE_WITHOUT_KEY: Duration = Duration::from_secs(10);

/// Keys and refusals are kept apart, so that a stranger who asks for many unknown keys cannot
/// push out the known ones.
#[derive(Debug)]
pub struct KeyCache {
    keys: LruCache<KeyName, Key>,
    problems: LruCache<KeyName, Problem>,
    /// How long after its time a key may serve while the key server is down.
    stale_if_error: Duration,
    seed: u64,
}

#[derive(Debug)]
struct Key {
    key: Rc<PublicKey>,
    /// When it came.
    since: Timestamp,
    /// From then on a use asks for a fresh one, ahead of the need.
    refresh_at: Timestamp,
    expires: Timestamp,
    /// Until then it may serve while the key server is down.
    serves_until: Timestamp,
}

#[derive(Debug)]
struct Problem {
    problem: KeyProblem,
    /// When it was found.
    since: Timestamp,
    expires: Timestamp,
    /// How often in a row the key server could not be asked.
    failures: u32,
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
    /// The same, when it is time to ask the key server again. Nobody has to wait until it has
    /// failed again.
    StaleRetry(KeyAnswer),
    /// Nothing.
    Unknown,
}

impl KeyCache {
    /// Room for `capacity` keys and for as many refusals. `seed` is random, another one for each
    /// cache.
    pub fn new(capacity: NonZeroUsize, stale_if_error: Duration, seed: u64) -> Self {
        Self {
            keys: LruCache::new(capacity),
            problems: LruCache::new(capacity),
            stale_if_error,
            seed,
        }
    }

    /// What is known of a key at `now`.
    pub fn get(&mut self, name: &KeyName, now: Timestamp) -> Lookup {
        self.clamp(name, now);
        let last = self.problems.get(name);
        let failed_lately =
            last.is_some_and(|last| last.problem == KeyProblem::Unavailable && last.is_recent(now));
        let problem = last.filter(|last| last.expires > now);
        let problem = problem.map(|problem| problem.problem);
        match (self.keys.get(name), problem) {
            (Some(key), _) if key.refresh_at > now => Lookup::Fresh(Ok(key.key.clone())),
            // The refresh has failed, and is not tried again yet.
            (Some(key), Some(KeyProblem::Unavailable)) if key.expires > now => {
                Lookup::Fresh(Ok(key.key.clone()))
            }
            (Some(key), None) if key.expires > now => Lookup::RefreshAhead(Ok(key.key.clone())),
            (Some(key), Some(KeyProblem::Unavailable)) if key.serves_until > now => {
                Lookup::Stale(Ok(key.key.clone()))
            }
            (Some(key), None) if failed_lately && key.serves_until > now => {
                Lookup::StaleRetry(Ok(key.key.clone()))
            }
            (_, Some(problem)) => Lookup::Fresh(Err(problem)),
            (_, None) => Lookup::Unknown,
        }
    }

    /// Bounds what was remembered before the clock went back. Its times lie in the future: a key
    /// would be used, and a refusal believed, until the clock is there again. How old it is cannot
    /// be told, so a key is past its time, and the key server is asked; a problem is forgotten.
    fn clamp(&mut self, name: &KeyName, now: Timestamp) {
        let latest = now + CLOCK_TOLERANCE;
        if let Some(key) = self.keys.peek_mut(name).filter(|key| key.since > latest) {
            let stale = key.serves_until.since(key.expires);
            key.since = now;
            key.refresh_at = now;
            key.expires = now;
            key.serves_until = now + stale;
        }
        if self.problems.peek(name).is_some_and(|it| it.since > latest) {
            self.problems.pop(name);
        }
    }

    /// Takes from a key the time in which it may serve while the key server is down.
    pub fn end_at_its_time(&mut self, name: &KeyName) {
        if let Some(key) = self.keys.peek_mut(name) {
            key.serves_until = key.serves_until.min(key.expires);
        }
    }

    /// Until when the key that is at hand may be used.
    pub fn expires(&self, name: &KeyName) -> Option<Timestamp> {
        self.keys.peek(name).map(|key| key.expires)
    }

    /// Until when the key server is not asked for the key again, since it could not be asked.
    pub fn left_alone_until(&self, name: &KeyName) -> Option<Timestamp> {
        let problem = self.problems.peek(name)?;
        (problem.problem == KeyProblem::Unavailable).then_some(problem.expires)
    }

    /// Whether the key was had before, in its time or not.
    pub fn had(&self, name: &KeyName) -> bool {
        self.keys.contains(name)
    }

    /// The keys of an issuer that were had before, in their time or not.
    pub fn names_of(&self, issuer: &str) -> Vec<KeyName> {
        let names = self.keys.iter().map(|(name, _)| name);
        names.filter(|it| it.issuer() == issuer).cloned().collect()
    }

    /// Forgets a key that is not to be used again.
    pub fn remove(&mut self, name: &KeyName) {
        self.keys.pop(name);
    }

    /// Remembers an answer for as long as it may be used. It replaces what was known before: a
    /// key is not used again once the key server has said that it is no more. A key server that
    /// could not be asked has said nothing.
    pub fn put(&mut self, name: &KeyName, answer: &KeyAnswer, lifetime: Duration, now: Timestamp) {
        let expires = now + lifetime;
        match answer {
            Ok(key) => {
                self.problems.pop(name);
                // A busy key is fetched again when three quarters to nine tenths of its time are
                // over: what was fetched together is not fetched together again, and there is
                // time left for a second attempt.
                let latest = lifetime.saturating_mul(9) / 10;
                let refresh_at = now + shortened(latest, 6, self.chance(name, now));
                // What must not be used without asking has no time to serve after.
                let serves_until = if lifetime.is_zero() {
                    expires
                } else {
                    expires + self.stale_if_error
                };
                self.keys.put(
                    name.clone(),
                    Key {
                        key: key.clone(),
                        since: now,
                        refresh_at,
                        expires,
                        serves_until,
                    },
                );
            }
            Err(problem) => {
                if *problem != KeyProblem::Unavailable {
                    self.keys.pop(name);
                }
                let problem = Problem {
                    problem: *problem,
                    since: now,
                    expires,
                    failures: self.failures(name, now),
                };
                self.problems.put(name.clone(), problem);
            }
        }
    }

    /// Remembers that the key server could not be asked, and gives the time for which it is left
    /// alone: `first`, and twice as long each time it happens again, less up to a half by chance.
    pub fn put_failure(&mut self, name: &KeyName, first: Duration, now: Timestamp) -> Duration {
        let key = self.keys.peek(name);
        let serves = key.is_some_and(|key| key.serves_until > now);
        let longest = if serves {
            LONGEST_PAUSE_WITH_KEY
        } else {
            LONGEST_PAUSE_WITHOUT_KEY
        };
        let failures = self.failures(name, now).saturating_add(1);
        let pause = Backoff { first, longest }.pause(failures, self.chance(name, now));
        let problem = Problem {
            problem: KeyProblem::Unavailable,
            since: now,
            expires: now + pause,
            failures,
        };
        self.problems.put(name.clone(), problem);
        pause
    }

    /// How often in a row the key server could not be asked. What is long past does not count.
    fn failures(&self, name: &KeyName, now: Timestamp) -> u32 {
        let last = self.problems.peek(name);
        let recent = last.filter(|last| last.is_recent(now));
        recent.map_or(0, |last| last.failures)
    }

    /// Random for whoever does not know the seed.
    fn chance(&self, name: &KeyName, now: Timestamp) -> u16 {
        let now = now.milliseconds().unsigned_abs();
        let mut hasher = SipHasher24::new_with_keys(self.seed, now);
        name.hash(&mut hasher);
        // The lowest bits are as random as all.
        hasher.finish() as u16
    }
}

impl Problem {
    /// Whether it says something of the present, though its time may be over.
    fn is_recent(&self, now: Timestamp) -> bool {
        self.expires + LONGEST_PAUSE_WITH_KEY > now
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
        KeyCache::new(NonZeroUsize::new(2).unwrap(), Duration::from_secs(50), 0)
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
            Lookup::StaleRetry(_) => "retry",
            Lookup::Unknown => "unknown",
        }
    }

    #[test]
    fn a_key_is_refreshed_ahead_of_its_end() {
        let mut cache = cache();
        assert_eq!(state(&mut cache, "a", 0), "unknown");
        put(&mut cache, "a", key(), 100, 0);
        assert_eq!(state(&mut cache, "a", 74), "fresh");
        assert_eq!(state(&mut cache, "a", 91), "refresh");
        assert_eq!(state(&mut cache, "a", 99), "refresh");
        assert_eq!(state(&mut cache, "a", 100), "unknown");
    }

    #[test]
    fn caches_that_have_a_key_since_the_same_moment_refresh_it_at_different_ones() {
        let refreshed = |seed, now| {
            let mut cache = KeyCache::new(NonZeroUsize::MIN, Duration::ZERO, seed);
            put(&mut cache, "a", key(), 1000, 0);
            state(&mut cache, "a", now) == "refresh"
        };
        let count = |now| (0..100).filter(|seed| refreshed(*seed, now)).count();
        assert_eq!((count(749), count(901)), (0, 100));
        assert!((15..35).contains(&count(787)), "{}", count(787));
        assert!((35..65).contains(&count(825)), "{}", count(825));
    }

    #[test]
    fn a_key_server_that_stays_down_is_asked_less_and_less() {
        let mut cache = cache();
        let pauses = |cache: &mut KeyCache, count| {
            let mut now = at(0);
            let pause = |_| {
                let pause = cache.put_failure(&name("a"), Duration::from_secs(1), now);
                now = now + pause;
                pause.as_secs_f64()
            };
            (0..count).map(pause).collect::<Vec<_>>()
        };
        let nobody_waits = |cache: &mut KeyCache| put(cache, "a", key(), 10_000, 0);
        let without_key = pauses(&mut cache, 20);
        nobody_waits(&mut cache);
        let with_key = pauses(&mut cache, 20);
        for (pauses, longest) in [(without_key, 10.0), (with_key, 60.0)] {
            let mut full: f64 = 1.0;
            for pause in pauses {
                assert!((full / 2.0..=full).contains(&pause), "{pause} of {full}");
                full = (full * 2.0).min(longest);
            }
        }
    }

    #[test]
    fn an_answer_ends_the_counting_of_failures_and_so_does_time() {
        let mut cache = cache();
        let second = Duration::from_secs(1);
        for now in [0, 1, 3, 7] {
            cache.put_failure(&name("a"), second, at(now));
        }
        assert!(cache.put_failure(&name("a"), second, at(15)) > second);
        put(&mut cache, "a", key(), 10, 20);
        assert!(cache.put_failure(&name("a"), second, at(29)) <= second);
        assert!(cache.put_failure(&name("a"), second, at(1000)) <= second);
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
        assert_eq!(state(&mut cache, "a", 115), "retry");
        put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 150);
        assert_eq!(state(&mut cache, "a", 151), "unavailable");
    }

    #[test]
    fn a_failure_long_ago_lets_no_key_outlive_its_time() {
        let cache = |stale_if_error| {
            let stale_if_error = Duration::from_secs(stale_if_error);
            let mut cache = KeyCache::new(NonZeroUsize::MIN, stale_if_error, 0);
            put(&mut cache, "a", key(), 100, 0);
            put(&mut cache, "a", Err(KeyProblem::Unavailable), 10, 90);
            cache
        };
        assert_eq!(state(&mut cache(50), "a", 149), "retry");
        assert_eq!(state(&mut cache(50), "a", 150), "unknown");
        assert_eq!(state(&mut cache(500), "a", 159), "retry");
        assert_eq!(state(&mut cache(500), "a", 160), "unknown");
    }

    #[test]
    fn a_key_that_must_not_be_kept_does_not_outlive_its_time() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 0, 0);
        assert_eq!(state(&mut cache, "a", 0), "unknown");
        cache.put_failure(&name("a"), Duration::from_secs(1), at(0));
        assert_eq!(state(&mut cache, "a", 0), "unavailable");
        assert_eq!(state(&mut cache, "a", 2), "unknown");
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
    fn a_clock_that_goes_forward_and_back_makes_nothing_long_lived() {
        let year = 31_536_000;
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, year);
        put(&mut cache, "x", Err(KeyProblem::Unknown), 10, year);
        assert_eq!(state(&mut cache, "a", 0), "unknown");
        assert_eq!(state(&mut cache, "x", 0), "unknown");
        // It may serve while the key server is down, for as long as any key.
        cache.put_failure(&name("a"), Duration::from_secs(10), at(0));
        assert_eq!(state(&mut cache, "a", 1), "stale");
        cache.put_failure(&name("a"), Duration::from_secs(10), at(49));
        assert_eq!(state(&mut cache, "a", 50), "unavailable");
        put(&mut cache, "a", key(), 100, 60);
        assert_eq!(state(&mut cache, "a", 61), "fresh");
    }

    #[test]
    fn a_small_step_back_of_the_clock_is_nothing() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 10);
        put(&mut cache, "x", Err(KeyProblem::Unknown), 10, 10);
        assert_eq!(state(&mut cache, "a", 9), "fresh");
        assert_eq!(state(&mut cache, "x", 9), "refused");
    }

    #[test]
    fn a_key_can_lose_its_time_after_its_time() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 0);
        cache.end_at_its_time(&name("a"));
        assert_eq!(state(&mut cache, "a", 50), "fresh");
        cache.put_failure(&name("a"), Duration::from_secs(10), at(100));
        assert_eq!(state(&mut cache, "a", 101), "unavailable");
    }

    #[test]
    fn the_names_of_an_issuers_keys_are_known() {
        let mut cache = cache();
        put(&mut cache, "a", key(), 100, 0);
        put(&mut cache, "x", Err(KeyProblem::Unknown), 10, 0);
        assert_eq!(cache.names_of("svc"), [name("a")]);
        assert!(cache.names_of("another").is_empty());
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
