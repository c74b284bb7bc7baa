//! Nonces in a fixed number of buckets, for a store that has compare-and-swap but no deletion and
//! no expiry: everything that is remembered is in a bucket, so the memory is bounded.
//!
//! A nonce's keyed hash names its bucket and a 64-bit fingerprint, of which 14 bits are those of
//! its issuer. A bucket is a packed list of (fingerprint, expiry) pairs of 12 bytes; expired pairs
//! go whenever the bucket is written. The key of the hash is secret, so a stranger cannot aim at
//! one bucket or forge a colliding fingerprint; with a million live nonces of one issuer the odds
//! that a fresh token meets a foreign fingerprint in its bucket are about 80 in 2⁵⁰.
//!
//! Each bucket remembers the latest expiry among the pairs that have gone. Once the clock is set
//! back, tokens that had expired are good again, and it cannot be told whether one of them was
//! used: those that expire no later than that are refused. With a clock that only goes forward
//! there are none. The time for which a store refuses is bounded by the lives of its tokens, not
//! by how far the clock was off.

use crate::nonce::Nonce;
use crate::time::Timestamp;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::hash::Hasher as _;

/// Bytes of one remembered nonce: fingerprint and expiry, both little-endian.
pub const ENTRY_SIZE: usize = 12;

/// Bytes before the first one: the latest expiry among those forgotten, in seconds since 1970.
const HEADER_SIZE: usize = 4;

/// Nonces in a bucket on average when the store is at its capacity.
const AVERAGE_ENTRIES: u32 = 80;

/// The most nonces in one bucket: twice the average, nine standard deviations above it, so that
/// a store refuses for want of room only when it is really over its capacity.
const MAX_ENTRIES: usize = 2 * AVERAGE_ENTRIES as usize;

/// So many entries, five standard deviations above the average at capacity, are given to all
/// alike. The rest is for issuers that have fewer entries in the bucket than are free: each one
/// that takes all it can get leaves as much as it has for another.
const SHARES_COUNT_FROM: usize = MAX_ENTRIES * 4 / 5;

/// The bits of a fingerprint that are the issuer's. Two issuers that share them share their
/// share: the odds are 1 in 16,384, and others in each process.
const ISSUER_BITS: u64 = !(u64::MAX >> 14);

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
    /// What room the bucket has is for other issuers.
    OverShare,
    /// The nonce may have been in the bucket: it is from before the clock was set back.
    Forgotten,
    /// These are not the bytes of a bucket.
    Damaged,
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
        let mut write = |part: &str| {
            // The length keeps ("a", "bc") and ("ab", "c") apart.
            hasher.write_u64(part.len() as u64);
            hasher.write(part.as_bytes());
            hasher
        };
        write(scope);
        let issuer = write(nonce.issuer).finish128().h2;
        let hash = write(nonce.token_id).finish128();
        Place {
            bucket: (hash.h1 % u64::from(self.count)) as u32,
            fingerprint: issuer & ISSUER_BITS | hash.h2 & !ISSUER_BITS,
        }
    }
}

/// Claims the nonce at `place`, which expires at `expires`, in the bucket's present `bytes`; a
/// bucket that was never written has none.
pub fn claim(bytes: &[u8], place: Place, expires: Timestamp, now: Timestamp) -> BucketClaim {
    // Rounded up, so that no nonce is forgotten before its token expires.
    let expiry = in_seconds(expires);
    let (mut forgotten, entries) = match read(bytes) {
        _ if bytes.is_empty() => (0, [].as_slice()),
        Some(bucket) => bucket,
        None => return BucketClaim::Damaged,
    };
    let is_live = |expiry: u32| i64::from(expiry) > now.seconds();
    let mut all_live = true;
    for entry in entries {
        let (fingerprint, expiry) = unpack(entry);
        if !is_live(expiry) {
            all_live = false;
            forgotten = forgotten.max(expiry);
        } else if fingerprint == place.fingerprint {
            return BucketClaim::Replayed;
        }
    }
    if expiry <= forgotten {
        return BucketClaim::Forgotten;
    }
    let mut next = Vec::with_capacity(bytes.len().max(HEADER_SIZE) + ENTRY_SIZE);
    next.extend_from_slice(&forgotten.to_le_bytes());
    // One copy instead of many: mostly, nothing has expired.
    if all_live {
        next.extend_from_slice(entries.as_flattened());
    } else {
        let live = entries.iter().filter(|entry| is_live(unpack(entry).1));
        live.for_each(|entry| next.extend_from_slice(entry));
    }
    let count = entry_count(&next);
    if count >= MAX_ENTRIES {
        return BucketClaim::Full;
    }
    if count >= SHARES_COUNT_FROM && is_over_share(&next, place, count) {
        return BucketClaim::OverShare;
    }
    next.extend_from_slice(&place.fingerprint.to_le_bytes());
    next.extend_from_slice(&expiry.to_le_bytes());
    BucketClaim::Fresh(next)
}

/// A bucket whose entries are lost: any token that expires no later than `until` may be a replay.
pub fn lost(until: Timestamp) -> Vec<u8> {
    in_seconds(until).to_le_bytes().to_vec()
}

/// How many entries a bucket has.
pub fn entry_count(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(HEADER_SIZE) / ENTRY_SIZE
}

fn is_over_share(bucket: &[u8], place: Place, count: usize) -> bool {
    let (_, entries) = read(bucket).unwrap_or_default();
    let of_issuer =
        |entry: &&[u8; ENTRY_SIZE]| (unpack(entry).0 ^ place.fingerprint) & ISSUER_BITS == 0;
    entries.iter().filter(of_issuer).count() >= MAX_ENTRIES - count
}

fn read(bytes: &[u8]) -> Option<(u32, &[[u8; ENTRY_SIZE]])> {
    let (forgotten, rest) = bytes.split_first_chunk::<HEADER_SIZE>()?;
    match rest.as_chunks::<ENTRY_SIZE>() {
        (entries, []) => Some((u32::from_le_bytes(*forgotten), entries)),
        _ => None,
    }
}

fn in_seconds(time: Timestamp) -> u32 {
    u32::try_from(time.seconds_rounded_up()).unwrap_or(u32::MAX)
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
        assert_eq!(entry_count(&bytes), 1);
        assert_eq!(claim(&bytes, place, at(100), at(10)), BucketClaim::Replayed);
        let other = BUCKETS.place("", &nonce("svc", "n2"));
        assert_eq!(
            entry_count(&fresh(claim(&bytes, other, at(100), at(10)))),
            2
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
            entry_count(&fresh(claim(&bytes, other, at(200), at(100)))),
            1
        );
    }

    /// As many nonces of each issuer as it gets, in turns.
    fn filled(issuers: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..2 * MAX_ENTRIES {
            for issuer in issuers {
                let place = BUCKETS.place("", &nonce(issuer, &i.to_string()));
                match claim(&bytes, place, at(100), at(10)) {
                    BucketClaim::Fresh(next) => bytes = next,
                    other => assert!(
                        matches!(other, BucketClaim::OverShare | BucketClaim::Full),
                        "{other:?}"
                    ),
                }
            }
        }
        bytes
    }

    #[test]
    fn one_issuer_leaves_room_for_others() {
        let bytes = filled(&["hostile"]);
        assert_eq!(entry_count(&bytes), 128);
        let own = BUCKETS.place("", &nonce("hostile", "another"));
        assert_eq!(claim(&bytes, own, at(100), at(10)), BucketClaim::OverShare);
        let mut bytes = bytes;
        for i in 0..16 {
            let other = BUCKETS.place("", &nonce("svc", &i.to_string()));
            bytes = fresh(claim(&bytes, other, at(100), at(10)));
        }
        // What has been claimed is still known.
        let first = BUCKETS.place("", &nonce("hostile", "0"));
        assert_eq!(claim(&bytes, first, at(100), at(10)), BucketClaim::Replayed);
    }

    #[test]
    fn many_issuers_leave_room_for_others() {
        let names: Vec<_> = (0..10).map(|i| format!("hostile-{i}")).collect();
        for count in [2, 3, 5, 10] {
            let issuers: Vec<_> = names.iter().take(count).map(String::as_str).collect();
            let bytes = filled(&issuers);
            let other = BUCKETS.place("", &nonce("svc", "n"));
            fresh(claim(&bytes, other, at(100), at(10)));
        }
    }

    #[test]
    fn a_full_bucket_forgets_nothing() {
        let names: Vec<_> = (0..200).map(|i| format!("issuer-{i}")).collect();
        let issuers: Vec<_> = names.iter().map(String::as_str).collect();
        let bytes = filled(&issuers);
        assert_eq!(entry_count(&bytes), MAX_ENTRIES);
        let another = BUCKETS.place("", &nonce("svc", "another"));
        assert_eq!(claim(&bytes, another, at(100), at(10)), BucketClaim::Full);
        let first = BUCKETS.place("", &nonce("issuer-0", "0"));
        assert_eq!(claim(&bytes, first, at(100), at(10)), BucketClaim::Replayed);
        assert!(matches!(
            claim(&bytes, another, at(200), at(100)),
            BucketClaim::Fresh(_)
        ));
    }

    #[test]
    fn a_clock_that_goes_forward_and_back_makes_no_nonce_usable_again() {
        let place = |id| BUCKETS.place("", &nonce("svc", id));
        let bytes = fresh(claim(&[], place("n1"), at(100), at(10)));
        // The clock is a year ahead, and so is another signer's; n1 is pruned.
        let year = 31_536_000;
        let bytes = fresh(claim(&bytes, place("n2"), at(year + 100), at(year)));
        assert_eq!(entry_count(&bytes), 1);
        assert_eq!(
            claim(&bytes, place("n1"), at(100), at(20)),
            BucketClaim::Forgotten
        );
        // Tokens that were made later are good, and one that is from the future stays used.
        let bytes = fresh(claim(&bytes, place("n3"), at(101), at(20)));
        let future = claim(&bytes, place("n2"), at(year + 100), at(year));
        assert_eq!(future, BucketClaim::Replayed);
    }

    #[test]
    fn a_clock_that_goes_forward_refuses_no_token_in_its_time() {
        let mut bytes = Vec::new();
        for step in 0..2000_i64 {
            let now = Timestamp::from_milliseconds(step * 250).unwrap();
            let place = BUCKETS.place("", &nonce("svc", &step.to_string()));
            let expires = Timestamp::from_milliseconds(step * 250 + 1 + step % 7 * 500).unwrap();
            bytes = fresh(claim(&bytes, place, expires, now));
        }
    }

    #[test]
    fn a_bucket_that_was_lost_takes_what_expires_later() {
        let bytes = lost(at(100));
        let place = BUCKETS.place("", &nonce("svc", "n1"));
        assert_eq!(
            claim(&bytes, place, at(100), at(10)),
            BucketClaim::Forgotten
        );
        fresh(claim(&bytes, place, at(101), at(10)));
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
        assert!(largest < SHARES_COUNT_FROM, "{largest} of {MAX_ENTRIES}");
    }

    #[test]
    fn a_damaged_bucket_is_recognised() {
        let place = BUCKETS.place("", &nonce("svc", "n1"));
        for length in [1, 3, 5, 15, 17] {
            let bytes = vec![1; length];
            assert_eq!(claim(&bytes, place, at(100), at(10)), BucketClaim::Damaged);
        }
    }
}
