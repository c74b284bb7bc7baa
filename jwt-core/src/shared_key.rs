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

/// What is in the slot of a key.
#[derive(Serialize, Deserialize)]
pub struct Record {
    key_server: String,
    issuer: String,
    key_id: String,
    /// Milliseconds since 1970.
    expires: i64,
    answer: Answer,
    is_refused: bool,
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

/// What to put into the slot of an answer that may be used until `expires`. `before` is what is
/// in the slot.
pub fn encode(
    key_server: &str,
    name: &KeyName,
    answer: &KeyAnswer,
    expires: Timestamp,
    before: &[u8],
) -> Vec<u8> {
    let record = Record {
        key_server: key_server.to_owned(),
        issuer: name.issuer().to_owned(),
        key_id: name.key_id().to_owned(),
        expires: expires.milliseconds(),
        answer: match answer {
            Ok(key) => Answer::Jwks(key.to_jwks(name.key_id())),
            Err(KeyProblem::Unknown) => Answer::Unknown,
            Err(KeyProblem::AwaitsApproval) => Answer::AwaitsApproval,
            Err(KeyProblem::Expired) => Answer::Expired,
            Err(KeyProblem::Unusable) => Answer::Unusable,
            Err(KeyProblem::Unavailable) => Answer::Unavailable,
        },
        is_refused: match answer {
            Ok(_) => false,
            // A key server that could not be asked has taken nothing back.
            Err(KeyProblem::Unavailable) => {
                decode(before, key_server, name).is_some_and(|before| before.is_refused)
            }
            Err(_) => true,
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
    /// Whether the key server's last word on the key is that there is none to use. It has no
    /// end: a copy of the key that somebody still has is not to be used either.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The answer and how much longer it may be used, if it is still good.
    pub fn answer(self, now: Timestamp) -> Option<(KeyAnswer, Duration)> {
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

    fn published(answer: &KeyAnswer, before: &[u8]) -> Vec<u8> {
        let name = TestSigner::key_name();
        encode("registry", &name, answer, at(NOW + 60), before)
    }

    fn read(bytes: &[u8]) -> Record {
        decode(bytes, "registry", &TestSigner::key_name()).unwrap()
    }

    #[test]
    fn a_key_is_handed_on_with_its_time() {
        let (answer, left) = read(&published(&key(), b"")).answer(at(NOW)).unwrap();
        assert_eq!(answer.unwrap().spki(), key().unwrap().spki());
        assert_eq!(left.as_secs(), 60);
        assert!(slot("registry", &TestSigner::key_name()) < SLOTS);
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
        let bytes = published(&Ok(Rc::new(both)), b"");
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
            let record = read(&published(&Err(problem), b""));
            assert_eq!(record.is_refused(), problem != KeyProblem::Unavailable);
            let (answer, _) = record.answer(at(NOW)).unwrap();
            assert_eq!(answer.unwrap_err(), problem);
        }
    }

    #[test]
    fn a_refusal_stands_until_the_key_server_says_otherwise() {
        let refused = published(&Err(KeyProblem::Expired), b"");
        assert!(read(&refused).answer(at(NOW + 60)).is_none());
        let down = published(&Err(KeyProblem::Unavailable), &refused);
        assert!(read(&down).is_refused());
        let down = published(&Err(KeyProblem::Unavailable), &down);
        assert!(read(&down).is_refused());
        let good = published(&key(), &down);
        assert!(!read(&good).is_refused());
        assert!(!read(&published(&Err(KeyProblem::Unavailable), &good)).is_refused());
    }

    #[test]
    fn another_key_an_expired_one_and_damage_are_misses() {
        let name = TestSigner::key_name();
        let bytes = published(&key(), b"");
        let other = KeyName::new("svc".into(), "k2".into()).unwrap();
        assert!(decode(&bytes, "registry", &other).is_none());
        assert!(decode(&bytes, "another", &name).is_none());
        assert!(read(&bytes).answer(at(NOW + 60)).is_none());
        assert!(decode(b"damage", "registry", &name).is_none());
    }
}
