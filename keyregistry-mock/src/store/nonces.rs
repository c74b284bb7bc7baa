//! Which tokens have been used, as part of the change that each of them permitted.
//!
//! A nonce is kept as a hash: what clients choose does not decide how much is kept. A request that
//! changes nothing writes nothing: its nonce is remembered in memory, within bounds. Should it be
//! forgotten, the token can be used to change nothing once more, since a key that was revoked or
//! replaced does not come back.

use super::storage::StorageError;
use jwt_core::nonce::{Nonce, NonceClaim, NonceStore};
use jwt_core::time::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// A transaction, and the nonces that are claimed within it.
pub(super) struct Nonces<'a> {
    transaction: Transaction<'a>,
    unwritten: &'a mut UnwrittenNonces,
    claimed: Vec<Used>,
}

/// A used nonce: when it may be forgotten, and its hash. A token has one `exp`, so the same token
/// is the same pair.
type Used = (i64, [u8; 32]);

/// The nonces of requests that changed nothing.
#[derive(Default)]
pub(super) struct UnwrittenNonces(BTreeSet<Used>);

/// Of 40 bytes each.
const MAX_UNWRITTEN: usize = 100_000;

impl<'a> Nonces<'a> {
    pub(super) fn new(transaction: Transaction<'a>, unwritten: &'a mut UnwrittenNonces) -> Self {
        Self {
            transaction,
            unwritten,
            claimed: Vec::new(),
        }
    }

    pub(super) fn transaction(&self) -> &Transaction<'a> {
        &self.transaction
    }

    /// The change is made, and the nonces are used from now on.
    pub(super) fn commit(self) -> Result<(), StorageError> {
        Ok(self.transaction.commit()?)
    }

    /// There is no change: nothing is written, and the nonces are used from now on.
    pub(super) fn remember_only(self) -> Result<(), StorageError> {
        self.transaction.rollback()?;
        for used in self.claimed {
            self.unwritten.add(used);
        }
        Ok(())
    }

    fn try_claim(&mut self, used: Used, now: Timestamp) -> rusqlite::Result<NonceClaim> {
        self.unwritten.forget_expired(now);
        if self.unwritten.0.contains(&used) {
            return Ok(NonceClaim::Replayed);
        }
        let (expires, hash) = used;
        self.transaction.execute(
            "DELETE FROM used_nonces WHERE expires <= ?",
            [now.seconds()],
        )?;
        let inserted = self
            .transaction
            .query_row(
                "INSERT INTO used_nonces (hash, expires) VALUES (?, ?)
                 ON CONFLICT DO NOTHING RETURNING 1",
                params![hash, expires],
                |_| Ok(()),
            )
            .optional()?;
        if inserted.is_none() {
            return Ok(NonceClaim::Replayed);
        }
        self.claimed.push(used);
        Ok(NonceClaim::Fresh)
    }
}

impl NonceStore for Nonces<'_> {
    fn claim(&mut self, nonce: &Nonce<'_>, now: Timestamp) -> NonceClaim {
        // Forgotten a little late rather than while the token is still good.
        let expires = nonce.expires.seconds_rounded_up();
        self.try_claim((expires, hash(nonce)), now)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a nonce cannot be kept");
                NonceClaim::Unavailable
            })
    }
}

impl UnwrittenNonces {
    fn add(&mut self, used: Used) {
        if self.0.len() >= MAX_UNWRITTEN {
            self.0.pop_first();
        }
        self.0.insert(used);
    }

    fn forget_expired(&mut self, now: Timestamp) {
        let is_over = |(expires, _): &Used| *expires <= now.seconds();
        while self.0.first().is_some_and(is_over) {
            self.0.pop_first();
        }
    }
}

/// Of both parts, with the length of the first, so that no two pairs have the same.
fn hash(nonce: &Nonce<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((nonce.issuer.len() as u64).to_be_bytes());
    hash.update(nonce.issuer);
    hash.update(nonce.token_id);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::storage::Storage;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn claim(storage: &mut Storage, token_id: &str, writes: bool, now: i64) -> NonceClaim {
        let nonce = Nonce {
            issuer: "svc",
            token_id,
            expires: at(100),
        };
        let mut nonces = storage.transaction().unwrap();
        let claim = nonces.claim(&nonce, at(now));
        if writes {
            nonces.commit().unwrap();
        } else {
            nonces.remember_only().unwrap();
        }
        claim
    }

    #[test]
    fn a_nonce_is_used_once_whether_it_was_written_or_not() {
        for first in [true, false] {
            let mut storage = Storage::in_memory().unwrap();
            assert_eq!(claim(&mut storage, "n", first, 0), NonceClaim::Fresh);
            for second in [true, false] {
                assert_eq!(claim(&mut storage, "n", second, 99), NonceClaim::Replayed);
            }
            assert_eq!(claim(&mut storage, "m", first, 99), NonceClaim::Fresh);
            // Its token has expired.
            assert_eq!(claim(&mut storage, "n", first, 100), NonceClaim::Fresh);
        }
    }

    #[test]
    fn what_failed_has_used_nothing() {
        let mut storage = Storage::in_memory().unwrap();
        let nonce = Nonce {
            issuer: "svc",
            token_id: "n",
            expires: at(100),
        };
        let mut nonces = storage.transaction().unwrap();
        assert_eq!(nonces.claim(&nonce, at(0)), NonceClaim::Fresh);
        drop(nonces);
        assert_eq!(claim(&mut storage, "n", true, 0), NonceClaim::Fresh);
    }

    #[test]
    fn unwritten_nonces_are_bounded() {
        let mut unwritten = UnwrittenNonces::default();
        for number in 0..MAX_UNWRITTEN + 10 {
            unwritten.add((i64::try_from(number).unwrap(), [0; 32]));
        }
        assert_eq!(unwritten.0.len(), MAX_UNWRITTEN);
        unwritten.forget_expired(at(i64::MAX / 1_000_000_000));
        assert!(unwritten.0.is_empty());
    }

    #[test]
    fn issuers_do_not_share_nonces() {
        let hash_of = |issuer, token_id| {
            hash(&Nonce {
                issuer,
                token_id,
                expires: at(0),
            })
        };
        assert_ne!(hash_of("ab", "c"), hash_of("a", "bc"));
    }
}
