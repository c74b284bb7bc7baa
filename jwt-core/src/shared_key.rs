//! The answer to a key fetch in a form that the workers of one process can hand to each other.
//!
//! The place they share has no deletion, so there is a fixed number of slots, and an answer that
//! falls into an occupied slot replaces what was there: it is a cache, and nothing is lost but
//! another fetch.

use crate::key::{KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::rc::Rc;
use std::time::Duration;

/// How many slots there are.
pub const SLOTS: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Record {
    key_server: String,
    issuer: String,
    key_id: String,
    /// Milliseconds since 1970.
    expires: i64,
    answer: Answer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Jwk(Value),
    Unknown,
    AwaitsApproval,
    Expired,
    Unusable,
    Unavailable,
}

/// A hash that every worker computes alike; the parts are kept apart.
pub fn hash(parts: &[&str]) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

/// The slot of a key of one key server, below [`SLOTS`].
pub fn slot(key_server: &str, name: &KeyName) -> u64 {
    hash(&[key_server, name.issuer(), name.key_id()]) % SLOTS
}

/// What to put into the slot of an answer that may be used until `expires`.
pub fn encode(key_server: &str, name: &KeyName, answer: &KeyAnswer, expires: Timestamp) -> Vec<u8> {
    let record = Record {
        key_server: key_server.to_owned(),
        issuer: name.issuer().to_owned(),
        key_id: name.key_id().to_owned(),
        expires: expires.milliseconds(),
        answer: match answer {
            Ok(key) => Answer::Jwk(key.to_jwk(name.key_id())),
            Err(KeyProblem::Unknown) => Answer::Unknown,
            Err(KeyProblem::AwaitsApproval) => Answer::AwaitsApproval,
            Err(KeyProblem::Expired) => Answer::Expired,
            Err(KeyProblem::Unusable) => Answer::Unusable,
            Err(KeyProblem::Unavailable) => Answer::Unavailable,
        },
    };
    // Strings and integers always serialize; an empty slot would be a miss.
    serde_json::to_vec(&record).unwrap_or_default()
}

/// The answer in a slot and how much longer it may be used, if it is the one wanted and still
/// good.
pub fn decode(
    bytes: &[u8],
    key_server: &str,
    name: &KeyName,
    now: Timestamp,
) -> Option<(KeyAnswer, Duration)> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let wanted = (key_server, name.issuer(), name.key_id());
    let left = Timestamp::from_milliseconds(record.expires)?.since(now);
    if (&*record.key_server, &*record.issuer, &*record.key_id) != wanted || left.is_zero() {
        return None;
    }
    let answer = match record.answer {
        Answer::Jwk(jwk) => Ok(Rc::new(
            PublicKey::from_jwk(jwk.to_string().as_bytes()).ok()?,
        )),
        Answer::Unknown => Err(KeyProblem::Unknown),
        Answer::AwaitsApproval => Err(KeyProblem::AwaitsApproval),
        Answer::Expired => Err(KeyProblem::Expired),
        Answer::Unusable => Err(KeyProblem::Unusable),
        Answer::Unavailable => Err(KeyProblem::Unavailable),
    };
    Some((answer, left))
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

    fn key() -> KeyAnswer {
        Ok(Rc::new(TestSigner::service().public_key()))
    }

    #[test]
    fn a_key_is_handed_on_with_its_time() {
        let name = TestSigner::key_name();
        let bytes = encode("registry", &name, &key(), at(NOW + 60));
        let (read, left) = decode(&bytes, "registry", &name, at(NOW)).unwrap();
        assert_eq!(read.unwrap().spki(), key().unwrap().spki());
        assert_eq!(left.as_secs(), 60);
        assert!(slot("registry", &name) < SLOTS);
    }

    #[test]
    fn so_is_every_refusal() {
        let name = TestSigner::key_name();
        for problem in [
            KeyProblem::Unknown,
            KeyProblem::AwaitsApproval,
            KeyProblem::Expired,
            KeyProblem::Unusable,
            KeyProblem::Unavailable,
        ] {
            let bytes = encode("registry", &name, &Err(problem), at(NOW + 1));
            let (read, _) = decode(&bytes, "registry", &name, at(NOW)).unwrap();
            assert_eq!(read.unwrap_err(), problem);
        }
    }

    #[test]
    fn another_key_an_expired_one_and_damage_are_misses() {
        let name = TestSigner::key_name();
        let bytes = encode("registry", &name, &key(), at(NOW + 60));
        let other = KeyName::new("svc".into(), "k2".into()).unwrap();
        assert!(decode(&bytes, "registry", &other, at(NOW)).is_none());
        assert!(decode(&bytes, "another", &name, at(NOW)).is_none());
        assert!(decode(&bytes, "registry", &name, at(NOW + 60)).is_none());
        assert!(decode(b"damage", "registry", &name, at(NOW)).is_none());
    }
}
