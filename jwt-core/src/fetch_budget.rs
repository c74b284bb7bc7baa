//! How many unknown keys may be asked for, and of whose.
//!
//! Anybody can name a key that does not exist, and each one costs the key server a request. So the
//! requests are bounded, and shared so that one client does not use up what others need: the more
//! a source (an address) and an issuer have taken lately, the fuller the pool must be for them to
//! take more. Who has taken nothing comes before all others. One source alone may take nearly all.
//!
//! Issuers of which a key was had lately have a pool of their own, so that a key rotation is not
//! locked out. There, sources that sent verified tokens of the issuer come before strangers, who
//! can write any issuer into a token.

use crate::time::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::time::Duration;

/// What a pool has at first and at most.
const BURST: f64 = 50.0;

/// What a pool gets each second.
const PER_SECOND: f64 = 5.0;

/// What was taken this long ago counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// What a source that has taken one in the last half minute must leave to those that have not.
const LEFT_TO_NEWCOMERS: f64 = 4.0;

/// How much more it must leave for each one that it has taken, and at most.
const SOURCE_WEIGHT: f64 = 0.5;
const SOURCE_MAXIMUM: f64 = 24.0;

/// The same for the issuer. It weighs less: strangers can use up what is an issuer's, and its own
/// services, whose sources have taken little, must still come before them.
const ISSUER_WEIGHT: f64 = 0.125;
const ISSUER_MAXIMUM: f64 = 8.0;

/// What a source without a verified token must leave of the pool of known issuers.
const LEFT_TO_PROVEN: f64 = 10.0;

/// Sources and issuers that are remembered. A pool gives away so few that what is forgotten was
/// taken minutes ago.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Who wants a key, as hashes with a key that strangers do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The address that the request came from.
    pub source: u64,
    /// `iss` of its token, which need not be true.
    pub issuer: u64,
    /// What is known of both.
    pub claim: Claim,
}

/// What is known of an issuer, and of a source with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No key of the issuer was had lately.
    UnknownIssuer,
    /// One was.
    KnownIssuer,
    /// One was, and this source has sent a verified token of the issuer lately.
    ProvenSource,
}

/// The right to ask for one key.
#[derive(Debug)]
pub struct Ticket(Asker);

/// The budget of one worker.
#[derive(Debug)]
pub struct FetchBudget {
    unknown_issuers: Pool,
    known_issuers: Pool,
}

#[derive(Debug)]
struct Pool {
    available: f64,
    updated: Option<Timestamp>,
    sources: Usage,
    issuers: Usage,
}

/// What each one has taken lately.
#[derive(Debug)]
struct Usage(LruCache<u64, (f64, Timestamp)>);

impl Default for FetchBudget {
    fn default() -> Self {
        Self {
            unknown_issuers: Pool::new(),
            known_issuers: Pool::new(),
        }
    }
}

impl FetchBudget {
    /// Takes the right to ask for one key, if it is there.
    pub fn take(&mut self, asker: Asker, now: Timestamp) -> Option<Ticket> {
        let taken = self.pool(asker).take(asker, now);
        taken.then_some(Ticket(asker))
    }

    /// Gives a right back: the key exists, so asking for it was no harm.
    pub fn give_back(&mut self, Ticket(asker): Ticket, now: Timestamp) {
        let pool = self.pool(asker);
        pool.available = (pool.available + 1.0).min(BURST);
        pool.sources.add(asker.source, -1.0, now);
        pool.issuers.add(asker.issuer, -1.0, now);
    }

    fn pool(&mut self, asker: Asker) -> &mut Pool {
        match asker.claim {
            Claim::UnknownIssuer => &mut self.unknown_issuers,
            Claim::KnownIssuer | Claim::ProvenSource => &mut self.known_issuers,
        }
    }
}

impl Pool {
    fn new() -> Self {
        Self {
            available: BURST,
            updated: None,
            sources: Usage::new(),
            issuers: Usage::new(),
        }
    }

    fn take(&mut self, asker: Asker, now: Timestamp) -> bool {
        let passed = self.updated.map_or(Duration::ZERO, |it| now.since(it));
        self.available = (self.available + passed.as_secs_f64() * PER_SECOND).min(BURST);
        self.updated = Some(now);
        let (source, issuer) = (
            self.sources.of(asker.source, now),
            self.issuers.of(asker.issuer, now),
        );
        let mut left = (source * SOURCE_WEIGHT).min(SOURCE_MAXIMUM)
            + (source * 10.0).min(1.0) * LEFT_TO_NEWCOMERS
            + (issuer * ISSUER_WEIGHT).min(ISSUER_MAXIMUM);
        if asker.claim == Claim::KnownIssuer {
            left += LEFT_TO_PROVEN;
        }
        if self.available < 1.0 + left {
            return false;
        }
        self.available -= 1.0;
        self.sources.add(asker.source, 1.0, now);
        self.issuers.add(asker.issuer, 1.0, now);
        true
    }
}

impl Usage {
    fn new() -> Self {
        Self(LruCache::new(REMEMBERED))
    }

    fn of(&self, who: u64, now: Timestamp) -> f64 {
        self.0.peek(&who).map_or(0.0, |(amount, since)| {
            let halvings = now.since(*since).as_secs_f64() / HALF_LIFE.as_secs_f64();
            amount * 0.5_f64.powf(halvings)
        })
    }

    fn add(&mut self, who: u64, amount: f64, now: Timestamp) {
        let amount = (self.of(who, now) + amount).max(0.0);
        self.0.put(who, (amount, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const VICTIM: u64 = 1_000_000;

    fn at(milliseconds: u64) -> Timestamp {
        Timestamp::from_seconds(0).unwrap() + Duration::from_millis(milliseconds)
    }

    fn asker(source: u64, issuer: u64, claim: Claim) -> Asker {
        Asker {
            source,
            issuer,
            claim,
        }
    }

    /// Strangers ask 50 times a second for a minute, and `client` each 10 seconds; what it gets,
    /// and what they get.
    fn under_flood(stranger: impl Fn(u64) -> Asker, client: Asker) -> (usize, usize) {
        let mut budget = FetchBudget::default();
        let (mut clients, mut strangers) = (0, 0);
        for tick in 0..3000 {
            let now = at(tick * 20);
            strangers += usize::from(budget.take(stranger(tick), now).is_some());
            if tick % 500 == 250 {
                // Its keys exist.
                if let Some(ticket) = budget.take(client, now) {
                    clients += 1;
                    budget.give_back(ticket, now);
                }
            }
        }
        (clients, strangers)
    }

    #[test]
    fn one_source_with_invented_issuers_leaves_room_for_new_services() {
        let client = asker(VICTIM, VICTIM, Claim::UnknownIssuer);
        let (got, strangers) = under_flood(|tick| asker(7, tick, Claim::UnknownIssuer), client);
        assert_eq!(got, 6);
        assert!(strangers <= 350, "{strangers}");
    }

    #[test]
    fn many_sources_leave_room_for_a_new_service_at_another() {
        for sources in [5, 20, 60] {
            let stranger = |tick| asker(tick % sources, tick, Claim::UnknownIssuer);
            let client = asker(VICTIM, VICTIM, Claim::UnknownIssuer);
            assert_eq!(under_flood(stranger, client).0, 6, "{sources}");
        }
    }

    #[test]
    fn strangers_who_name_a_new_service_do_not_keep_it_out() {
        for sources in [1, 20, 60] {
            let stranger = |tick| asker(tick % sources, VICTIM, Claim::UnknownIssuer);
            let client = asker(VICTIM, VICTIM, Claim::UnknownIssuer);
            assert_eq!(under_flood(stranger, client).0, 6, "{sources}");
        }
    }

    #[test]
    fn strangers_who_name_a_known_issuer_do_not_keep_its_rotation_out() {
        // Also those with a new address for each request.
        for sources in [1, 20, 60, u64::MAX] {
            let stranger = |tick| asker(tick % sources, VICTIM, Claim::KnownIssuer);
            let client = asker(VICTIM, VICTIM, Claim::ProvenSource);
            assert_eq!(under_flood(stranger, client).0, 6, "{sources}");
        }
        for sources in [1, 20, 60] {
            let stranger = |tick| asker(tick % sources, VICTIM, Claim::KnownIssuer);
            let client = asker(VICTIM, VICTIM, Claim::KnownIssuer);
            assert_eq!(under_flood(stranger, client).0, 6, "{sources}");
        }
    }

    #[test]
    fn an_authorised_service_does_not_keep_the_rotation_of_another_out() {
        let client = asker(VICTIM, VICTIM, Claim::ProvenSource);
        assert_eq!(
            under_flood(|_| asker(7, 7, Claim::ProvenSource), client).0,
            6
        );
    }

    #[test]
    fn unknown_issuers_take_nothing_from_known_ones() {
        let client = asker(VICTIM, VICTIM, Claim::KnownIssuer);
        let stranger = |tick| asker(tick, tick, Claim::UnknownIssuer);
        assert_eq!(under_flood(stranger, client).0, 6);
    }

    #[test]
    fn all_together_are_bounded() {
        let mut budget = FetchBudget::default();
        let mut taken = 0;
        for number in 0..60_000 {
            let claim = if number % 2 == 0 {
                Claim::UnknownIssuer
            } else {
                Claim::ProvenSource
            };
            let asker = asker(number, number, claim);
            taken += usize::from(budget.take(asker, at(number)).is_some());
        }
        assert!((600..=700).contains(&taken), "{taken}");
    }

    #[test]
    fn one_source_alone_may_take_much_and_keys_that_exist_cost_nothing() {
        let mut budget = FetchBudget::default();
        let asker = |issuer| asker(7, issuer, Claim::UnknownIssuer);
        let tickets: Vec<_> = (0..100)
            .filter_map(|i| budget.take(asker(i), at(0)))
            .collect();
        assert!((25..=40).contains(&tickets.len()), "{}", tickets.len());
        for ticket in tickets {
            budget.give_back(ticket, at(10));
        }
        for issuer in 100..1100 {
            let ticket = budget.take(asker(issuer), at(10)).unwrap();
            budget.give_back(ticket, at(10));
        }
    }

    #[test]
    fn a_clock_that_goes_back_locks_nothing() {
        let mut budget = FetchBudget::default();
        let asker = |source| asker(source, source, Claim::UnknownIssuer);
        while budget.take(asker(1), at(1_000_000_000)).is_some() {}
        budget.take(asker(2), at(0)).unwrap();
        while budget.take(asker(1), at(0)).is_some() {}
        assert!((0..300).any(|i| budget.take(asker(1), at(i * 100)).is_some()));
    }
}
