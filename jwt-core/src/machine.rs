//! Drives a token through the steps of [`crate::verify`] and pauses where the key has to come from
//! outside.

use crate::key::{KeyName, PublicKey};
use crate::nonce::NonceStore;
use crate::policy::Policy;
use crate::refusal::{KeyProblem, Refusal};
use crate::signature::SignatureVerifier;
use crate::time::Timestamp;
use crate::token_cache::TokenCache;
use crate::verify::{CurrentToken, VerifiedToken};
use std::rc::Rc;
use std::task::Poll;

/// A key, or why there is none.
pub type KeyAnswer = Result<Rc<PublicKey>, KeyProblem>;

/// Where keys come from.
pub trait KeySource {
    /// The key of that name. Pending when it has to be fetched: the machine is resumed with
    /// [`Machine::resume_with_key`] once the answer is there.
    fn key(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer>;
}

/// What a verification needs from outside.
pub struct Machine<'a> {
    /// The demands on the token.
    pub policy: &'a Policy,
    /// Where keys come from.
    pub keys: &'a mut dyn KeySource,
    /// Who checks signatures.
    pub signatures: &'a dyn SignatureVerifier,
    /// Who remembers nonces.
    pub nonces: &'a mut dyn NonceStore,
    /// Tokens proven before under this policy, where that is worth remembering.
    pub token_cache: Option<&'a mut TokenCache>,
}

/// How far a verification has come.
#[derive(Debug)]
pub enum Progress {
    /// To the end.
    Done(Result<VerifiedToken, Refusal>),
    /// It goes on with [`Machine::resume_with_key`].
    AwaitsKey(CurrentToken),
}

impl Machine<'_> {
    /// Starts on the text of a token.
    pub fn start(&mut self, compact: &str, now: Timestamp) -> Progress {
        match self.check(compact, now) {
            Err(refusal) => Progress::Done(Err(refusal)),
            Ok(token) => match self.keys.key(token.key_wanted(), now) {
                Poll::Pending => Progress::AwaitsKey(token),
                Poll::Ready(answer) => Progress::Done(self.resume_with_key(token, answer, now)),
            },
        }
    }

    /// Checks what can be known without a key.
    pub fn check(&mut self, compact: &str, now: Timestamp) -> Result<CurrentToken, Refusal> {
        let proven = self.token_cache.as_mut().and_then(|c| c.get(compact));
        match proven {
            Some(proven) => proven.check(self.policy, now),
            None => CurrentToken::check(compact, self.policy, now),
        }
    }

    /// Goes on with the key that a paused token wanted, to the end.
    pub fn resume_with_key(
        &mut self,
        token: CurrentToken,
        answer: KeyAnswer,
        now: Timestamp,
    ) -> Result<VerifiedToken, Refusal> {
        let agreed = token.check_signature(answer?, self.signatures, self.policy)?;
        agreed.check_time(now)?;
        if let (Some(cache), Some(proven)) = (&mut self.token_cache, agreed.newly_proven()) {
            cache.put(proven);
        }
        let claim = self.nonces.claim(&agreed.nonce(), now);
        agreed.conclude(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::audience::Audience;
    use crate::nonce::{Nonce, NonceClaim, VoidNonceStore};
    use crate::policy::ClaimsVerifier;
    use crate::signature::PureRust;
    use crate::testing::{NOW, TestSigner};
    use serde_json::{Value, json};
    use std::collections::HashSet;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Keys and nonces in memory. Keys can be told to keep the machine waiting, and nonces to fail.
    #[derive(Default)]
    struct World {
        keys_pending: bool,
        claim_fails: Option<NonceClaim>,
        wanted: Vec<KeyName>,
        claimed: HashSet<String>,
    }

    struct Keys<'a>(&'a mut Vec<KeyName>, bool);

    impl KeySource for Keys<'_> {
        fn key(&mut self, name: &KeyName, _: Timestamp) -> Poll<KeyAnswer> {
            self.0.push(name.clone());
            match (self.1, name == &TestSigner::key_name()) {
                (true, _) => Poll::Pending,
                (false, true) => Poll::Ready(Ok(service_key())),
                (false, false) => Poll::Ready(Err(KeyProblem::Unknown)),
            }
        }
    }

    struct Nonces<'a>(&'a mut HashSet<String>, Option<NonceClaim>);

    impl NonceStore for Nonces<'_> {
        fn claim(&mut self, nonce: &Nonce<'_>, _: Timestamp) -> NonceClaim {
            let name = format!("{} {}", nonce.issuer, nonce.token_id);
            match self.1 {
                Some(failure) => failure,
                None if self.0.insert(name) => NonceClaim::Fresh,
                None => NonceClaim::Replayed,
            }
        }
    }

    impl World {
        fn run<T>(&mut self, policy: &Policy, step: impl FnOnce(&mut Machine<'_>) -> T) -> T {
            step(&mut Machine {
                policy,
                keys: &mut Keys(&mut self.wanted, self.keys_pending),
                signatures: &PureRust,
                nonces: &mut Nonces(&mut self.claimed, self.claim_fails),
                token_cache: None,
            })
        }

        fn verify(&mut self, policy: &Policy, token: &str) -> Result<VerifiedToken, Refusal> {
            done(self.run(policy, |machine| machine.start(token, at(NOW))))
        }
    }

    fn done(progress: Progress) -> Result<VerifiedToken, Refusal> {
        match progress {
            Progress::Done(result) => result,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds).unwrap()
    }

    fn service_key() -> Rc<PublicKey> {
        Rc::new(TestSigner::service().public_key())
    }

    fn policy() -> Policy {
        Policy::new(Audience::new("https://api"))
    }

    /// What becomes of good claims with one changed.
    fn refusal_with(name: &str, value: Value) -> Option<Refusal> {
        let mut claims = TestSigner::claims("n1");
        claims[name] = value;
        World::default()
            .verify(&policy(), &TestSigner::service().sign(&claims))
            .err()
    }

    #[test]
    fn a_good_token_is_verified() {
        let token = TestSigner::service().token("n1");
        let verified = World::default().verify(&policy(), &token).unwrap();
        assert_eq!(verified.key_name(), &TestSigner::key_name());
        let claims: Value = serde_json::from_slice(verified.payload()).unwrap();
        assert_eq!(claims, TestSigner::claims("n1"));
    }

    #[test]
    fn the_audience_is_in_the_token() {
        assert_eq!(refusal_with("aud", json!("https://API:443/path")), None);
        assert_eq!(
            refusal_with("aud", json!(["https://other", "https://api"])),
            None
        );
        assert_eq!(
            refusal_with("aud", json!("http://api")),
            Some(Refusal::Audience)
        );
        assert_eq!(refusal_with("aud", json!([])), Some(Refusal::Audience));
    }

    #[test]
    fn a_token_is_valid_from_nbf_until_before_exp() {
        assert_eq!(refusal_with("exp", json!(NOW)), Some(Refusal::Expired));
        assert_eq!(refusal_with("exp", json!(NOW as f64 + 0.5)), None);
        assert_eq!(refusal_with("nbf", json!(NOW)), None);
        assert_eq!(
            refusal_with("nbf", json!(NOW as f64 + 0.5)),
            Some(Refusal::NotYetValid)
        );
    }

    #[test]
    fn a_token_may_be_issued_in_the_future_by_the_skew() {
        let issued = |iat: i64| {
            let mut claims = TestSigner::claims("n1");
            claims["iat"] = json!(iat);
            let token = TestSigner::service().sign(&claims);
            World::default().verify(&policy(), &token).err()
        };
        assert_eq!(issued(NOW + 60), None);
        assert_eq!(issued(NOW + 61), Some(Refusal::IssuedInFuture));
    }

    #[test]
    fn a_token_is_at_most_as_large_as_configured() {
        let token = TestSigner::service().token("n1");
        let mut policy = policy();
        policy.max_token_size = token.len();
        World::default().verify(&policy, &token).unwrap();
        policy.max_token_size = token.len() - 1;
        let refusal = World::default().verify(&policy, &token).unwrap_err();
        assert_eq!(refusal, Refusal::TooLarge);
    }

    #[test]
    fn a_token_from_before_the_start_is_refused_if_so_configured() {
        let token = TestSigner::service().token("n1");
        let mut policy = policy();
        policy.not_issued_before = Some(at(NOW + 1));
        let refusal = World::default().verify(&policy, &token).unwrap_err();
        assert_eq!(refusal, Refusal::IssuedBeforeStart);
        policy.not_issued_before = Some(at(NOW));
        World::default().verify(&policy, &token).unwrap();
    }

    #[test]
    fn a_lifetime_is_at_most_max_ttl() {
        assert_eq!(refusal_with("exp", json!(NOW + 300)), None);
        assert_eq!(
            refusal_with("exp", json!(NOW + 301)),
            Some(Refusal::LifetimeTooLong)
        );
    }

    #[test]
    fn the_key_must_be_known() {
        let unknown = Some(Refusal::Key(KeyProblem::Unknown));
        assert_eq!(refusal_with("iss", json!("other")), unknown);
    }

    #[test]
    fn a_forged_token_is_refused_and_burns_no_nonce() {
        let mut world = World::default();
        let forged = TestSigner::stranger().token("n1");
        assert_eq!(
            world.verify(&policy(), &forged).unwrap_err(),
            Refusal::Signature
        );
        assert!(world.claimed.is_empty());
        world
            .verify(&policy(), &TestSigner::service().token("n1"))
            .unwrap();
    }

    #[test]
    fn a_changed_token_is_refused() {
        let token = TestSigner::service().token("n1");
        let other = TestSigner::service().token("n2");
        let payload_of_other = other.split('.').nth(1).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let mixed = format!("{}.{payload_of_other}.{}", parts[0], parts[2]);
        assert_eq!(
            World::default().verify(&policy(), &mixed).unwrap_err(),
            Refusal::Signature
        );
        let unsigned = format!("{}.{}.", parts[0], parts[1]);
        assert_eq!(
            World::default().verify(&policy(), &unsigned).unwrap_err(),
            Refusal::Signature
        );
    }

    #[test]
    fn the_signature_must_be_of_the_algorithm_in_the_header() {
        let header = json!({"alg": "RS512", "kid": "k1"});
        let token = TestSigner::service().sign_with(&header, &TestSigner::claims("n1"));
        assert_eq!(
            World::default().verify(&policy(), &token).unwrap_err(),
            Refusal::Signature
        );
    }

    /// A host that has no idea of keys.
    struct AcceptAll;

    impl SignatureVerifier for AcceptAll {
        fn verify(&self, _: Algorithm, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
            true
        }
    }

    #[test]
    fn a_host_that_checks_signatures_is_asked_only_for_what_the_key_permits() {
        let mut jwk = TestSigner::service().public_key().to_jwk("k1");
        jwk["alg"] = json!("RS256");
        let key = Rc::new(PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap());
        for (algorithm, expected) in [
            ("RS256", None),
            // Another of its type, and others.
            ("RS512", Some(KeyProblem::Unusable)),
            ("PS256", Some(KeyProblem::Unusable)),
            ("ES256", Some(KeyProblem::Unusable)),
            ("EdDSA", Some(KeyProblem::Unusable)),
        ] {
            let header = json!({"alg": algorithm, "kid": "k1"});
            let token = TestSigner::service().sign_with(&header, &TestSigner::claims("n1"));
            let current = CurrentToken::check(&token, &policy(), at(NOW)).unwrap();
            let checked = current.check_signature(key.clone(), &AcceptAll, &policy());
            let expected = expected.map(Refusal::Key);
            assert_eq!(checked.err(), expected, "{algorithm}");
        }
    }

    #[test]
    fn of_the_keys_of_one_name_the_one_of_the_algorithm_checks_the_signature() {
        let ed25519 = r#"{"kty":"OKP","crv":"Ed25519",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let ed25519 = PublicKey::from_jwk(ed25519.as_bytes()).unwrap();
        let mut last = TestSigner::service().public_key();
        last.add_alternative(ed25519.clone());
        let mut first = ed25519.clone();
        first.add_alternative(TestSigner::service().public_key());
        for (key, expected) in [
            (last, None),
            (first, None),
            (ed25519, Some(Refusal::Key(KeyProblem::Unusable))),
        ] {
            let token = TestSigner::service().token("n1");
            let current = CurrentToken::check(&token, &policy(), at(NOW)).unwrap();
            let checked = current.check_signature(Rc::new(key), &PureRust, &policy());
            assert_eq!(checked.err(), expected);
        }
    }

    #[test]
    fn a_nonce_is_one_of_its_issuer() {
        let token = TestSigner::service().token("n1");
        let current = CurrentToken::check(&token, &policy(), at(NOW)).unwrap();
        let agreed = current.check_signature(service_key(), &PureRust, &policy());
        let agreed = agreed.unwrap();
        let nonce = agreed.nonce();
        assert_eq!((nonce.issuer, nonce.token_id), ("svc", "n1"));
        assert!(nonce.expires > at(NOW));
    }

    #[test]
    fn an_algorithm_that_is_not_in_the_list_is_refused_before_its_key_is_asked_for() {
        let token = TestSigner::service().token("n1");
        let mut policy = policy();
        policy.algorithms = vec![Algorithm::Rs512, Algorithm::Es256];
        let mut world = World::default();
        let refusal = world.verify(&policy, &token).unwrap_err();
        assert_eq!(refusal, Refusal::Algorithm);
        assert!(world.wanted.is_empty());
        policy.algorithms.push(Algorithm::Rs256);
        world.verify(&policy, &token).unwrap();
    }

    #[test]
    fn every_claims_verifier_must_agree_before_the_nonce_is_claimed() {
        let demand = |claims: Value| ClaimsVerifier::Static(claims.as_object().unwrap().clone());
        let mut policy = policy();
        policy.claims_verifiers = vec![
            demand(json!({"iss": "svc"})),
            demand(json!({"n": {"a": 1}})),
        ];
        let mut world = World::default();
        let lacking = TestSigner::service().token("n1");
        assert_eq!(
            world.verify(&policy, &lacking).unwrap_err(),
            Refusal::Claims
        );
        assert!(world.claimed.is_empty());
        let mut claims = TestSigner::claims("n1");
        claims["n"] = json!({"a": 1.0});
        world
            .verify(&policy, &TestSigner::service().sign(&claims))
            .unwrap();
    }

    #[test]
    fn a_token_is_good_once() {
        let mut world = World::default();
        let token = TestSigner::service().token("n1");
        world.verify(&policy(), &token).unwrap();
        assert_eq!(
            world.verify(&policy(), &token).unwrap_err(),
            Refusal::Replayed
        );
        world
            .verify(&policy(), &TestSigner::service().token("n2"))
            .unwrap();
    }

    #[test]
    fn a_void_store_lets_a_token_through_again() {
        let token = TestSigner::service().token("n1");
        for _ in 0..2 {
            let mut machine = Machine {
                policy: &policy(),
                keys: &mut Keys(&mut Vec::new(), false),
                signatures: &PureRust,
                nonces: &mut VoidNonceStore,
                token_cache: None,
            };
            assert!(done(machine.start(&token, at(NOW))).is_ok());
        }
    }

    #[test]
    fn the_machine_pauses_for_the_key() {
        let mut world = World {
            keys_pending: true,
            ..World::default()
        };
        let token = TestSigner::service().token("n1");
        let policy = policy();
        let Progress::AwaitsKey(paused) = world.run(&policy, |m| m.start(&token, at(NOW))) else {
            panic!("expected a pause for the key");
        };
        assert_eq!(paused.key_wanted(), &TestSigner::key_name());
        assert!(world.claimed.is_empty());
        let end = world.run(&policy, |m| {
            m.resume_with_key(paused, Ok(service_key()), at(NOW))
        });
        assert!(end.is_ok());
        assert!(world.claimed.contains("svc n1"));
    }

    #[test]
    fn a_token_that_expired_while_it_waited_claims_no_nonce() {
        let mut world = World {
            keys_pending: true,
            ..World::default()
        };
        let token = TestSigner::service().token("n1");
        let policy = policy();
        let Progress::AwaitsKey(paused) = world.run(&policy, |m| m.start(&token, at(NOW))) else {
            panic!("expected a pause for the key");
        };
        let late = at(NOW + 300);
        let end = world.run(&policy, |m| {
            m.resume_with_key(paused, Ok(service_key()), late)
        });
        assert_eq!(end.unwrap_err(), Refusal::Expired);
        assert!(world.claimed.is_empty());
    }

    #[test]
    fn a_store_that_cannot_answer_refuses() {
        for (claim, refusal) in [
            (NonceClaim::Full, Refusal::NonceStoreFull),
            (NonceClaim::Unavailable, Refusal::NonceStoreUnavailable),
        ] {
            let mut world = World {
                claim_fails: Some(claim),
                ..World::default()
            };
            let token = TestSigner::service().token("n1");
            let refused = world.verify(&policy(), &token).unwrap_err();
            assert!(refused.is_temporary());
            assert_eq!(refused, refusal);
        }
    }
}
