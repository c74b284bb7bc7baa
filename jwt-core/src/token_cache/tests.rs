use super::*;
use crate::algorithm::Algorithm;
use crate::audience::Audience;
use crate::key::{KeyName, PublicKey};
use crate::machine::{KeyAnswer, KeySource, Machine, Progress};
use crate::nonce::VoidNonceStore;
use crate::policy::Policy;
use crate::refusal::{KeyProblem, Refusal};
use crate::signature::{PureRust, SignatureVerifier};
use crate::testing::{NOW, TestSigner};
use crate::time::Timestamp;
use crate::verify::VerifiedToken;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What the key server says now.
struct Keys(KeyAnswer);

impl KeySource for Keys {
    fn key(&mut self, _: &KeyName, _: Timestamp) -> Poll<KeyAnswer> {
        Poll::Ready(self.0.clone())
    }
}

/// Counts the signatures that were checked.
#[derive(Default)]
struct Counted(Cell<usize>);

impl SignatureVerifier for Counted {
    fn verify(&self, alg: Algorithm, key: &PublicKey, text: &[u8], signature: &[u8]) -> bool {
        self.0.set(self.0.get() + 1);
        PureRust.verify(alg, key, text, signature)
    }
}

struct World {
    keys: Keys,
    checked: Counted,
    cache: TokenCache,
}

impl World {
    fn new() -> Self {
        Self {
            keys: Keys(Ok(service_key())),
            checked: Counted::default(),
            cache: TokenCache::default(),
        }
    }

    fn verify(&mut self, token: &str, seconds: i64) -> Result<VerifiedToken, Refusal> {
        match self.start(token, seconds) {
            Progress::Done(result) => result,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    fn start(&mut self, token: &str, seconds: i64) -> Progress {
        let mut machine = Machine {
            policy: &policy(),
            keys: &mut self.keys,
            signatures: &self.checked,
            nonces: &mut VoidNonceStore,
            token_cache: Some(&mut self.cache),
        };
        machine.start(token, at(seconds))
    }

    fn signatures_checked(&self) -> usize {
        self.checked.0.take()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds).unwrap()
}

fn service_key() -> Rc<PublicKey> {
    Rc::new(TestSigner::service().public_key())
}

fn policy() -> Policy {
    Policy::new(Audience::new("https://api"))
}

fn token(token_id: &str) -> String {
    TestSigner::service().token(token_id)
}

#[test]
fn the_signature_of_a_token_is_checked_once() {
    let (mut world, token) = (World::new(), token("n1"));
    assert!(!world.verify(&token, 0).unwrap().was_known());
    let again = world.verify(&token, 1).unwrap();
    assert!(again.was_known());
    assert_eq!(again.key_name(), &TestSigner::key_name());
    assert_eq!(world.signatures_checked(), 1);
}

#[test]
fn the_times_are_checked_on_every_use() {
    let (mut world, token) = (World::new(), token("n1"));
    world.verify(&token, 0).unwrap();
    for (seconds, refusal) in [
        (300, Refusal::Expired),
        (-61, Refusal::NotYetValid),
        (1000, Refusal::Expired),
    ] {
        assert_eq!(world.verify(&token, seconds).unwrap_err(), refusal);
    }
    assert!(world.verify(&token, 299).unwrap().was_known());
}

#[test]
fn a_key_that_is_no_more_makes_no_token_good() {
    let (mut world, token) = (World::new(), token("n1"));
    world.verify(&token, 0).unwrap();
    for problem in [
        KeyProblem::Expired,
        KeyProblem::Unknown,
        KeyProblem::Unavailable,
    ] {
        world.keys.0 = Err(problem);
        let refusal = world.verify(&token, 1).unwrap_err();
        assert_eq!(refusal, Refusal::Key(problem));
    }
}

#[test]
fn with_another_key_of_the_name_the_signature_is_checked_again() {
    let (mut world, token) = (World::new(), token("n1"));
    world.verify(&token, 0).unwrap();
    world.keys.0 = Ok(Rc::new(TestSigner::stranger().public_key()));
    assert_eq!(world.verify(&token, 1).unwrap_err(), Refusal::Signature);
    // Fetched once more: the same key, but nothing says so.
    world.keys.0 = Ok(service_key());
    assert!(!world.verify(&token, 2).unwrap().was_known());
    assert!(world.verify(&token, 3).unwrap().was_known());
    assert_eq!(world.signatures_checked(), 3);
}

#[test]
fn a_waiting_token_is_known_only_if_its_key_comes_back_the_same() {
    struct Pending;
    impl KeySource for Pending {
        fn key(&mut self, _: &KeyName, _: Timestamp) -> Poll<KeyAnswer> {
            Poll::Pending
        }
    }
    let (mut world, token) = (World::new(), token("n1"));
    world.verify(&token, 0).unwrap();
    let mut machine = Machine {
        policy: &policy(),
        keys: &mut Pending,
        signatures: &PureRust,
        nonces: &mut VoidNonceStore,
        token_cache: Some(&mut world.cache),
    };
    let Progress::AwaitsKey(paused) = machine.start(&token, at(1)) else {
        panic!("expected a pause for the key");
    };
    let stranger = Ok(Rc::new(TestSigner::stranger().public_key()));
    let refused = machine.resume_with_key(paused, stranger, at(1));
    assert_eq!(refused.unwrap_err(), Refusal::Signature);
}

#[test]
fn only_the_whole_text_makes_a_token_the_same() {
    let (mut world, token) = (World::new(), token("n1"));
    world.verify(&token, 0).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let other = TestSigner::service().token("n2");
    let (other_input, other_signature) = other.rsplit_once('.').unwrap();
    let changed = signature.replacen(char::is_alphanumeric, "-", 1);
    for forged in [
        format!("{input}.{other_signature}"),
        format!("{other_input}.{signature}"),
        format!("{input}.{changed}"),
    ] {
        assert_eq!(world.verify(&forged, 0).unwrap_err(), Refusal::Signature);
    }
    assert!(world.verify(&token, 0).unwrap().was_known());
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut world = World::new();
    let forged = TestSigner::stranger().token("n1");
    for _ in 0..2 {
        assert_eq!(world.verify(&forged, 0).unwrap_err(), Refusal::Signature);
    }
    assert_eq!(
        (world.signatures_checked(), world.cache.tokens.len()),
        (2, 0)
    );
}

#[test]
fn long_tokens_are_not_remembered() {
    let mut world = World::new();
    let mut claims = TestSigner::claims("n1");
    claims["long"] = "x".repeat(MAX_LENGTH).into();
    let long = TestSigner::service().sign(&claims);
    world.verify(&long, 0).unwrap();
    assert!(!world.verify(&long, 0).unwrap().was_known());
}

#[test]
fn the_token_not_used_for_longest_makes_room() {
    /// So that five hundred signatures take no time.
    struct Believer;
    impl SignatureVerifier for Believer {
        fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
            true
        }
    }
    let good = token("n1");
    let (input, _) = good.rsplit_once('.').unwrap();
    let mut cache = TokenCache::default();
    let keys = &mut Keys(Ok(service_key()));
    let mut known = |number: usize| {
        let mut machine = Machine {
            policy: &policy(),
            keys,
            signatures: &Believer,
            nonces: &mut VoidNonceStore,
            token_cache: Some(&mut cache),
        };
        match machine.start(&format!("{input}.{number:016}"), at(0)) {
            Progress::Done(verified) => verified.unwrap().was_known(),
            other => panic!("{other:?}"),
        }
    };
    for number in 0..CAPACITY.get() {
        assert!(!known(number));
    }
    assert!(known(0));
    assert!(!known(CAPACITY.get()));
    assert!(known(0) && !known(1));
    assert_eq!(cache.tokens.len(), CAPACITY.get());
}
