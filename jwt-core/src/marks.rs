//! What the workers of a process note about names: that a key is good or was refused, that an
//! issuer is known, that a token from some address was verified.
//!
//! A note is a keyed fingerprint of the name with its time and its end, in one of a fixed number
//! of buckets. Notes past their end go whenever the bucket is written; a bucket that is full drops
//! the note that would end first. So every reader must treat an absent note as the safe case.

use crate::time::Timestamp;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::hash::Hasher as _;

/// How many buckets there are.
pub const BUCKETS: u64 = 256;

/// The most notes in a bucket.
const MAX_MARKS: usize = 128;

/// Bytes of a note: fingerprint, end and time in milliseconds, state.
const MARK_SIZE: usize = 25;

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The last word was good.
    Good,
    /// What was good has been taken back.
    Refused,
}

/// A note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it says.
    pub state: State,
    /// When it was made.
    pub since: Timestamp,
    /// From then on it is as if it were not there.
    pub until: Timestamp,
}

/// Where the note about a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below [`BUCKETS`].
    pub bucket: u64,
    fingerprint: u64,
}

/// The place of a name, whose parts are kept apart, under a secret key.
pub fn place(hash_key: &[u8; 16], parts: &[&str]) -> Place {
    let mut hasher = SipHasher24::new_with_key(hash_key);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    let hash = hasher.finish128();
    Place {
        bucket: hash.h1 % BUCKETS,
        fingerprint: hash.h2,
    }
}

/// The note in the bucket `bytes`, if there is one that has not ended.
pub fn read(bytes: &[u8], place: Place, now: Timestamp) -> Option<Mark> {
    let (entries, _) = bytes.as_chunks::<MARK_SIZE>();
    let mark = entries.iter().find_map(|entry| {
        let (fingerprint, mark) = unpack(entry)?;
        (fingerprint == place.fingerprint).then_some(mark)
    })?;
    (mark.until > now).then_some(mark)
}

/// The bucket with this note in place of the one before.
pub fn write(bytes: &[u8], place: Place, mark: Mark, now: Timestamp) -> Vec<u8> {
    let (entries, _) = bytes.as_chunks::<MARK_SIZE>();
    let kept =
        |(fingerprint, other): &(u64, Mark)| *fingerprint != place.fingerprint && other.until > now;
    let mut marks: Vec<_> = entries.iter().filter_map(unpack).filter(kept).collect();
    if marks.len() >= MAX_MARKS {
        let first = (0..marks.len()).min_by_key(|i| marks.get(*i).map(|(_, mark)| mark.until));
        if let Some(first) = first {
            marks.swap_remove(first);
        }
    }
    marks.push((place.fingerprint, mark));
    marks.iter().flat_map(pack).collect()
}

fn pack((fingerprint, mark): &(u64, Mark)) -> Vec<u8> {
    let mut entry = Vec::with_capacity(MARK_SIZE);
    entry.extend_from_slice(&fingerprint.to_le_bytes());
    entry.extend_from_slice(&mark.until.milliseconds().to_le_bytes());
    entry.extend_from_slice(&mark.since.milliseconds().to_le_bytes());
    entry.push(u8::from(mark.state == State::Refused));
    entry
}

fn unpack(entry: &[u8; MARK_SIZE]) -> Option<(u64, Mark)> {
    let (fingerprint, rest) = entry.split_first_chunk()?;
    let (until, rest) = rest.split_first_chunk()?;
    let (since, rest) = rest.split_first_chunk()?;
    let state = match rest {
        [0] => State::Good,
        _ => State::Refused,
    };
    let mark = Mark {
        state,
        since: Timestamp::from_milliseconds(i64::from_le_bytes(*since))?,
        until: Timestamp::from_milliseconds(i64::from_le_bytes(*until))?,
    };
    Some((u64::from_le_bytes(*fingerprint), mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn mark(state: State, until: i64) -> Mark {
        Mark {
            state,
            since: at(0),
            until: at(until),
        }
    }

    fn of(name: &str) -> Place {
        place(&[7; 16], &[name])
    }

    #[test]
    fn the_last_note_about_a_name_counts_until_its_end() {
        let good = write(b"", of("a"), mark(State::Good, 100), at(0));
        assert_eq!(read(&good, of("a"), at(99)), Some(mark(State::Good, 100)));
        assert_eq!(read(&good, of("a"), at(100)), None);
        assert_eq!(read(&good, of("b"), at(0)), None);
        let refused = write(&good, of("a"), mark(State::Refused, 50), at(1));
        assert_eq!(refused.len(), MARK_SIZE);
        assert_eq!(
            read(&refused, of("a"), at(1)),
            Some(mark(State::Refused, 50))
        );
    }

    #[test]
    fn the_parts_of_a_name_and_the_key_count() {
        let places = [
            place(&[7; 16], &["a", "bc"]),
            place(&[7; 16], &["ab", "c"]),
            place(&[8; 16], &["a", "bc"]),
        ];
        assert!(places[0] != places[1] && places[0] != places[2]);
    }

    #[test]
    fn a_full_bucket_drops_what_would_end_first() {
        let mut bytes = Vec::new();
        for i in 0..MAX_MARKS + 1 {
            let until = 1000 + i64::try_from(i).unwrap();
            bytes = write(&bytes, of(&i.to_string()), mark(State::Good, until), at(0));
        }
        assert_eq!(bytes.len(), MAX_MARKS * MARK_SIZE);
        assert_eq!(read(&bytes, of("0"), at(0)), None);
        assert!(read(&bytes, of("1"), at(0)).is_some());
        // What has ended makes room.
        let bytes = write(&bytes, of("x"), mark(State::Good, 9000), at(5000));
        assert_eq!(bytes.len(), MARK_SIZE);
    }

    #[test]
    fn damage_is_no_panic() {
        assert_eq!(read(&[1; MARK_SIZE + 3], of("a"), at(0)), None);
        assert_eq!(
            write(&[9; 30], of("a"), mark(State::Good, 9), at(0)).len() % MARK_SIZE,
            0
        );
    }
}
