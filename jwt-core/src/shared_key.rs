//! A fetched key in a form that the workers of one process can hand to each other.
//!
//! The place they share has no deletion, so there is a fixed number of slots, and a key that
//! falls into an occupied slot replaces what was there: it is a cache, and nothing is lost but
//! another fetch.

use crate::key::{KeyName, PublicKey};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::time::Duration;

/// How many slots there are.
pub const SLOTS: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Record {
    key_server: String,
    issuer: String,
    key_id: String,
    /// Seconds since 1970, rounded down.
    expires: i64,
    jwk: Value,
}

/// The slot of a key of one key server, below [`SLOTS`].
pub fn slot(key_server: &str, name: &KeyName) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in [key_server, name.issuer(), name.key_id()] {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish() % SLOTS
}

/// What to put into the slot of a key that may be used until `expires`.
pub fn encode(key_server: &str, name: &KeyName, key: &PublicKey, expires: Timestamp) -> Vec<u8> {
    let record = Record {
        key_server: key_server.to_owned(),
        issuer: name.issuer().to_owned(),
        key_id: name.key_id().to_owned(),
        expires: expires.seconds(),
        jwk: key.to_jwk(name.key_id()),
    };
    // Strings and integers always serialize; an empty slot would be a miss.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// The key in a slot and how much longer it may be used, if it is the one wanted and still good.
pub fn decode(
    bytes: &[u8],
    key_server: &str,
    name: &KeyName,
    now: Timestamp,
) -> Option<(PublicKey, Duration)> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let wanted = (key_server, name.issuer(), name.key_id());
    let left = Timestamp::from_seconds(record.expires)?.since(now);
    if (&*record.key_server, &*record.issuer, &*record.key_id) != wanted || left.is_zero() {
        return None;
    }
    let key = PublicKey::from_jwk(record.jwk.to_string().as_bytes()).ok()?;
    Some((key, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, TestSigner};
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    #[test]
    fn a_key_is_handed_on_with_its_time() {
        let (name, key) = (TestSigner::key_name(), TestSigner::service().public_key());
        let bytes = encode("registry", &name, &key, at(NOW + 60));
        let (read, left) = decode(&bytes, "registry", &name, at(NOW)).unwrap();
        assert_eq!(read.spki(), key.spki());
        assert_eq!(left.as_secs(), 60);
        assert!(slot("registry", &name) < SLOTS);
    }

    #[test]
    fn another_key_an_expired_one_and_damage_are_misses() {
        let (name, key) = (TestSigner::key_name(), TestSigner::service().public_key());
        let bytes = encode("registry", &name, &key, at(NOW + 60));
        let other = KeyName::new("svc".into(), "k2".into()).unwrap();
        assert!(decode(&bytes, "registry", &other, at(NOW)).is_none());
        assert!(decode(&bytes, "another", &name, at(NOW)).is_none());
        assert!(decode(&bytes, "registry", &name, at(NOW + 60)).is_none());
        assert!(decode(b"damage", "registry", &name, at(NOW)).is_none());
    }
}
