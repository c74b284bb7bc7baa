//! Who asks for keys: what the budget of fetches is shared by.

use super::clients::{Clients, source};
use super::shared::{PROVEN_FOR, SharedKeys};
use jwt_core::fetch_budget::{Asker, Claim};
use jwt_core::time::Timestamp;
use lru::LruCache;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Of the tokens accepted, each of these is looked at, and each one that comes after a pause: the
/// address of a client costs a call to the host, which is not made for every request.
const SAMPLE: u32 = 16;
const PAUSE: Duration = Duration::from_millis(5);

/// Sources that are known to be noted.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Knows the askers of one worker.
pub(super) struct Askers {
    clients: Box<dyn Clients>,
    seed: u64,
    /// Tokens accepted since one was looked at, and when that was.
    unseen: u32,
    seen: Option<Timestamp>,
    /// Until when a source need not be noted again.
    noted: LruCache<u64, Timestamp>,
}

impl Askers {
    /// `seed` is random.
    pub(super) fn new(clients: Box<dyn Clients>, seed: u64) -> Self {
        Self {
            clients,
            seed,
            unseen: 0,
            seen: None,
            noted: LruCache::new(REMEMBERED),
        }
    }

    /// Who asks for a key of this issuer with the request that is being decided.
    pub(super) fn asker(&self, issuer: &str, shared: &SharedKeys, now: Timestamp) -> Asker {
        let source = source(&*self.clients);
        let claim = if !shared.knows_issuer(issuer, now) {
            Claim::UnknownIssuer
        } else if shared.is_proven(issuer, &source, now) {
            Claim::ProvenSource
        } else {
            Claim::KnownIssuer
        };
        Asker {
            source: self.hash(&[&source]),
            issuer: self.hash(&[issuer]),
            claim,
        }
    }

    /// A token of this issuer, in the request that is being decided, was verified.
    pub(super) fn accepted(&mut self, issuer: &str, shared: &SharedKeys, now: Timestamp) {
        self.unseen += 1;
        let paused = self.seen.is_none_or(|seen| now.since(seen) >= PAUSE);
        if self.unseen < SAMPLE && !paused {
            return;
        }
        (self.unseen, self.seen) = (0, Some(now));
        let source = source(&*self.clients);
        let hash = self.hash(&[issuer, &source]);
        if self.noted.get(&hash).is_none_or(|until| *until <= now) {
            self.noted.put(hash, now + PROVEN_FOR / 2);
            shared.prove(issuer, &source, now);
        }
    }

    fn hash(&self, parts: &[&str]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.seed, 0);
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        hasher.finish()
    }
}
