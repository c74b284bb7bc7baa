//! The answer to a key fetch in a form that the workers of one process can hand to each other.
//!
//! The place they share has no deletion, so there is a fixed number of slots, and an answer that
//! falls into an occupied slot replaces what was there: it is a cache, and nothing is lost but
//! another fetch. The slots are chosen by a keyed hash, so a stranger cannot aim at one.

use crate::key::{KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use crate::time::{CLOCK_TOLERANCE, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::rc::Rc;
use std::time::Duration;

/// How many slots there are.
pub const SLOTS: u64 = 4096;

/// What is in the slot of a key.
#[derive(Serialize, Deserialize)]
pub struct Record {
    key_server: String,
    issuer: String,
    key_id: String,
    /// When it was published, in milliseconds since 1970.
    since: i64,
    /// Milliseconds since 1970.
    expires: i64,
    answer: Answer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// With its alternatives.
    Jwks(Vec<Value>),
    Unknown,
    AwaitsApproval,
    Expired,
    Unusable,
    Unavailable,
}

/// A hash that every worker computes alike and no stranger can; the parts are kept apart.
pub fn hash(hash_key: &[u8; 16], parts: &[&str]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(hash_key);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    hasher.finish()
}

/// The slot of a key of one key server, below [`SLOTS`].
pub fn slot(hash_key: &[u8; 16], key_server: &str, name: &KeyName) -> u64 {
    hash(hash_key, &[key_server, name.issuer(), name.key_id()]) % SLOTS
}

/// What to put into the slot of an answer that came at `now` and may be used for `lifetime`.
pub fn encode(
    key_server: &str,
    name: &KeyName,
    answer: &KeyAnswer,
    lifetime: Duration,
    now: Timestamp,
) -> Vec<u8> {
    let record = Record {
        key_server: key_server.to_owned(),
        issuer: name.issuer().to_owned(),
        key_id: name.key_id().to_owned(),
        since: now.milliseconds(),
        expires: (now + lifetime).milliseconds(),
        answer: match answer {
            Ok(key) => Answer::Jwks(key.to_jwks(name.key_id())),
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

/// What a slot says of a key, if it is about that key.
pub fn decode(bytes: &[u8], key_server: &str, name: &KeyName) -> Option<Record> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let wanted = (key_server, name.issuer(), name.key_id());
    ((&*record.key_server, &*record.issuer, &*record.key_id) == wanted).then_some(record)
}

impl Record {
    /// The answer and how much longer it may be used, if it is still good. One from the future was
    /// published before the clock went back: how old it really is cannot be told, so it is not used.
    pub fn answer(self, now: Timestamp) -> Option<(KeyAnswer, Duration)> {
        if Timestamp::from_milliseconds(self.since)? > now + CLOCK_TOLERANCE {
            return None;
        }
        let left = Timestamp::from_milliseconds(self.expires)?.since(now);
        if left.is_zero() {
            return None;
        }
        let answer = match self.answer {
            Answer::Jwks(jwks) => {
                let read = |jwk: &Value| PublicKey::from_jwk(jwk.to_string().as_bytes());
                let (first, others) = jwks.split_first()?;
                let mut key = read(first).ok()?;
                for other in others {
                    key.add_alternative(read(other).ok()?);
                }
                Ok(Rc::new(key))
            }
            Answer::Unknown => Err(KeyProblem::Unknown),
            Answer::AwaitsApproval => Err(KeyProblem::AwaitsApproval),
            Answer::Expired => Err(KeyProblem::Expired),
            Answer::Unusable => Err(KeyProblem::Unusable),
            Answer::Unavailable => Err(KeyProblem::Unavailable),
        };
        Some((answer, left))
    }
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

    fn published(answer: &KeyAnswer) -> Vec<u8> {
        let minute = Duration::from_secs(60);
        encode("registry", &TestSigner::key_name(), answer, minute, at(NOW))
    }

    fn read(bytes: &[u8]) -> Record {
        decode(bytes, "registry", &TestSigner::key_name()).unwrap()
    }

    #[test]
    fn a_key_is_handed_on_with_its_time() {
        let (answer, left) = read(&published(&key())).answer(at(NOW)).unwrap();
        assert_eq!(answer.unwrap().spki(), key().unwrap().spki());
        assert_eq!(left.as_secs(), 60);
    }

    #[test]
    fn so_is_a_key_with_its_alternatives() {
        let ed25519 = r#"{"kty":"OKP","crv":"Ed25519",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let ed25519 = PublicKey::from_jwk(ed25519.as_bytes()).unwrap();
        let mut both = TestSigner::service().public_key();
        both.add_alternative(ed25519);
        let expected = both.to_jwks("k1");
        assert_eq!(expected.len(), 2);
        let bytes = published(&Ok(Rc::new(both)));
        let (answer, _) = read(&bytes).answer(at(NOW)).unwrap();
        assert_eq!(answer.unwrap().to_jwks("k1"), expected);
    }

    #[test]
    fn so_is_every_refusal() {
        for problem in [
            KeyProblem::Unknown,
            KeyProblem::AwaitsApproval,
            KeyProblem::Expired,
            KeyProblem::Unusable,
            KeyProblem::Unavailable,
        ] {
            let (answer, _) = read(&published(&Err(problem))).answer(at(NOW)).unwrap();
            assert_eq!(answer.unwrap_err(), problem);
        }
    }

    #[test]
    fn a_colliding_key_id_cannot_be_made_offline() {
        // Two names of one slot under one key are of two slots under nearly every other.
        let name = |i: u32| KeyName::new("svc".into(), format!("k{i}")).unwrap();
        let target = slot(&[1; 16], "registry", &name(0));
        let collides = |i: &u32| slot(&[1; 16], "registry", &name(*i)) == target;
        let other = (1..).find(collides).unwrap();
        let separated = (2..=255).filter(|byte| {
            let slot = |i| slot(&[*byte; 16], "registry", &name(i));
            slot(0) != slot(other)
        });
        assert!(separated.count() > 250);
        assert!(target < SLOTS);
    }

    #[test]
    fn an_answer_from_before_the_clock_went_back_is_not_used() {
        let hour = at(NOW - 3600);
        assert!(read(&published(&key())).answer(hour).is_none());
        assert!(read(&published(&key())).answer(at(NOW - 1)).is_some());
    }

    #[test]
    fn another_key_an_expired_one_and_damage_are_misses() {
        let name = TestSigner::key_name();
        let bytes = published(&key());
        let other = KeyName::new("svc".into(), "k2".into()).unwrap();
        assert!(decode(&bytes, "registry", &other).is_none());
        assert!(decode(&bytes, "another", &name).is_none());
        assert!(read(&bytes).answer(at(NOW + 60)).is_none());
        assert!(decode(b"damage", "registry", &name).is_none());
    }
}
