//! Nonces in a fixed number of buckets: what a store without deletion and without expiry needs
//! to stay bounded.
//!
//! A nonce's keyed hash names its bucket and a 64-bit fingerprint. A bucket is a packed list of
//! (fingerprint, expiry) pairs of 12 bytes; expired pairs go whenever the bucket is written. The
//! key of the hash is secret, so nobody can aim at one bucket or forge a colliding fingerprint;
//! with a million live nonces the odds that a fresh token meets a foreign fingerprint in its
//! bucket are about 80 in 2⁶⁴.

use crate::nonce::Nonce;
use crate::time::Timestamp;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::hash::Hasher as _;

/// Bytes of one remembered nonce: fingerprint and expiry, both little-endian.
pub const ENTRY_SIZE: usize = 12;

/// Nonces in a bucket on average when the store is at its capacity.
const AVERAGE_ENTRIES: u32 = 80;

/// The most nonces in one bucket: twice the average, nine standard deviations above it, so that
/// a store refuses for want of room only when it is really over its capacity.
const MAX_ENTRIES: usize = 2 * AVERAGE_ENTRIES as usize;

/// The secret key of the hash.
pub type HashKey = [u8; 16];

/// How many buckets there are, and the key that assigns them.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    count: u32,
    hash_key: HashKey,
}

/// Where a nonce belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below the number of buckets.
    pub bucket: u32,
    fingerprint: u64,
}

/// What a claim makes of one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketClaim {
    /// The nonce is new: the bucket must be replaced by these bytes, in one step, for the claim
    /// to hold.
    Fresh(Vec<u8>),
    /// The nonce is in the bucket.
    Replayed,
    /// The bucket has no room for another live nonce.
    Full,
}

/// The number of buckets for that many live nonces.
pub fn count_for(capacity: u32) -> u32 {
    capacity.div_ceil(AVERAGE_ENTRIES).max(1)
}

impl Buckets {
    /// `count` is at least 1, as [`count_for`] gives it.
    pub fn new(count: u32, hash_key: HashKey) -> Self {
        Self {
            count: count.max(1),
            hash_key,
        }
    }

    /// The place of a nonce. `scope` keeps the nonces of different verifiers apart.
    pub fn place(&self, scope: &str, nonce: &Nonce<'_>) -> Place {
        let mut hasher = SipHasher24::new_with_key(&self.hash_key);
        for part in [scope, nonce.issuer, nonce.token_id] {
            // The length keeps ("a", "bc") and ("ab", "c") apart.
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
        }
        let hash = hasher.finish128();
        Place {
            bucket: (hash.h1 % u64::from(self.count)) as u32,
            fingerprint: hash.h2,
        }
    }
}

/// Claims the nonce at `place`, which expires at `expires`, in the bucket's present `bytes`.
pub fn claim(bytes: &[u8], place: Place, expires: Timestamp, now: Timestamp) -> BucketClaim {
    let (entries, _) = bytes.as_chunks::<ENTRY_SIZE>();
    let is_live = |expiry: u32| i64::from(expiry) > now.seconds();
    let mut all_live = true;
    for entry in entries {
        let (fingerprint, expiry) = unpack(entry);
        if !is_live(expiry) {
            all_live = false;
        } else if fingerprint == place.fingerprint {
            return BucketClaim::Replayed;
        }
    }
    let mut next = Vec::with_capacity(bytes.len() + ENTRY_SIZE);
    // One copy instead of many: mostly, nothing has expired.
    if all_live {
        next.extend_from_slice(entries.as_flattened());
    } else {
        let live = entries.iter().filter(|entry| is_live(unpack(entry).1));
        live.for_each(|entry| next.extend_from_slice(entry));
    }
    if next.len() >= MAX_ENTRIES * ENTRY_SIZE {
        return BucketClaim::Full;
    }
    // Rounded up, so that no nonce is forgotten before its token expires.
    let expiry = u32::try_from(expires.seconds_rounded_up()).unwrap_or(u32::MAX);
    next.extend_from_slice(&place.fingerprint.to_le_bytes());
    next.extend_from_slice(&expiry.to_le_bytes());
    BucketClaim::Fresh(next)
}

fn unpack(entry: &[u8; ENTRY_SIZE]) -> (u64, u32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
    (
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u32::from_le_bytes([i, j, k, l]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn nonce<'a>(issuer: &'a str, token_id: &'a str) -> Nonce<'a> {
        Nonce {
            issuer,
            token_id,
            expires: at(100),
        }
    }

    fn fresh(claim: BucketClaim) -> Vec<u8> {
        match claim {
            BucketClaim::Fresh(bytes) => bytes,
            other => panic!("expected a fresh nonce, got {other:?}"),
        }
    }

    const BUCKETS: Buckets = Buckets {
        count: 1,
        hash_key: [7; 16],
    };

    #[test]
    fn a_nonce_is_fresh_once() {
        let place = BUCKETS.place("", &nonce("svc", "n1"));
        let bytes = fresh(claim(&[], place, at(100), at(10)));
        assert_eq!(bytes.len(), ENTRY_SIZE);
        assert_eq!(claim(&bytes, place, at(100), at(10)), BucketClaim::Replayed);
        let other = BUCKETS.place("", &nonce("svc", "n2"));
        assert_eq!(
            fresh(claim(&bytes, other, at(100), at(10))).len(),
            2 * ENTRY_SIZE
        );
    }

    #[test]
    fn issuer_token_id_and_scope_all_count() {
        let place = |scope, issuer, id| BUCKETS.place(scope, &nonce(issuer, id));
        let places = [
            place("", "a", "bc"),
            place("", "ab", "c"),
            place("", "b", "bc"),
            place("a", "", "bc"),
            place("", "a", "bd"),
        ];
        for (i, a) in places.iter().enumerate() {
            assert!(
                places
                    .iter()
                    .skip(i + 1)
                    .all(|b| a.fingerprint != b.fingerprint)
            );
        }
    }

    #[test]
    fn a_nonce_is_kept_until_its_token_expires_and_then_goes() {
        let place = BUCKETS.place("", &nonce("svc", "n1"));
        let expires = Timestamp::from_fractional_seconds(99.5).unwrap();
        let bytes = fresh(claim(&[], place, expires, at(10)));
        assert_eq!(claim(&bytes, place, expires, at(99)), BucketClaim::Replayed);
        let other = BUCKETS.place("", &nonce("svc", "n2"));
        assert_eq!(
            fresh(claim(&bytes, other, at(200), at(100))).len(),
            ENTRY_SIZE
        );
    }

    #[test]
    fn a_full_bucket_forgets_nothing() {
        let mut bytes = Vec::new();
        for i in 0..MAX_ENTRIES {
            let place = BUCKETS.place("", &nonce("svc", &i.to_string()));
            bytes = fresh(claim(&bytes, place, at(100), at(10)));
        }
        let another = BUCKETS.place("", &nonce("svc", "another"));
        assert_eq!(claim(&bytes, another, at(100), at(10)), BucketClaim::Full);
        let first = BUCKETS.place("", &nonce("svc", "0"));
        assert_eq!(claim(&bytes, first, at(100), at(10)), BucketClaim::Replayed);
        assert!(matches!(
            claim(&bytes, another, at(200), at(100)),
            BucketClaim::Fresh(_)
        ));
    }

    #[test]
    fn at_capacity_no_bucket_is_full() {
        let capacity = 200_000;
        let buckets = Buckets::new(count_for(capacity), [9; 16]);
        let mut sizes = vec![0_usize; count_for(capacity) as usize];
        for i in 0..capacity {
            sizes[buckets.place("", &nonce("svc", &i.to_string())).bucket as usize] += 1;
        }
        let largest = sizes.into_iter().max().unwrap();
        assert!(largest < MAX_ENTRIES, "{largest} of {MAX_ENTRIES}");
    }

    #[test]
    fn a_damaged_bucket_is_no_panic() {
        let place = BUCKETS.place("", &nonce("svc", "n1"));
        assert!(matches!(
            claim(&[1, 2, 3], place, at(100), at(10)),
            BucketClaim::Fresh(_)
        ));
    }
}
