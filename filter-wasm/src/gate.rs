//! The decision about each request, as a state machine over plain values.
//!
//! A request whose token needs a key that is not at hand waits. The gate says which keys to
//! fetch; when an answer is recorded, it says what becomes of every request that waited for it.

use crate::authorization::bearer_token;
use crate::keys::{Fetch, Keys};
use jwt_core::key::KeyName;
use jwt_core::machine::{Machine, Progress};
use jwt_core::nonce::{NonceClaim, NonceStore};
use jwt_core::policy::Policy;
use jwt_core::refusal::Refusal;
use jwt_core::registry::Fetched;
use jwt_core::signature::SignatureVerifier;
use jwt_core::time::Timestamp;
use jwt_core::verify::{AgreedToken, CurrentToken, VerifiedToken};
use std::collections::BTreeMap;

/// The host's number of a request.
pub type StreamId = u32;

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// It may pass.
    Accept(VerifiedToken),
    /// It is answered with a refusal.
    Refuse(Refusal),
    /// It waits; a later call decides.
    Wait,
}

/// One verifier on one worker.
pub struct Gate {
    policy: Policy,
    keys: Keys,
    signatures: Box<dyn SignatureVerifier>,
    nonces: Box<dyn NonceStore>,
    waiting: BTreeMap<StreamId, Waiting>,
}

enum Waiting {
    ForKey(CurrentToken),
    ForClaim(AgreedToken),
}

impl Gate {
    /// A gate with its parts.
    pub fn new(
        policy: Policy,
        keys: Keys,
        signatures: Box<dyn SignatureVerifier>,
        nonces: Box<dyn NonceStore>,
    ) -> Self {
        Self {
            policy,
            keys,
            signatures,
            nonces,
            waiting: BTreeMap::new(),
        }
    }

    /// A request has come, with this value of its Authorization header.
    pub fn on_request(
        &mut self,
        stream: StreamId,
        authorization: Option<&[u8]>,
        now: Timestamp,
    ) -> Decision {
        match bearer_token(authorization) {
            Err(refusal) => Decision::Refuse(refusal),
            Ok(token) => {
                let progress = self.machine().start(token, now);
                self.settle(stream, progress)
            }
        }
    }

    /// A request is over, whatever became of it.
    pub fn on_stream_end(&mut self, stream: StreamId) {
        self.waiting.remove(&stream);
    }

    /// The keys to fetch now; each is handed out once.
    pub fn take_fetches(&mut self) -> Vec<Fetch> {
        match &mut self.keys {
            Keys::Preshared(..) => Vec::new(),
            Keys::Registry(keys) => keys.take_fetches(),
        }
    }

    /// A key has been fetched, or could not be: decides about the requests that waited for it.
    pub fn on_fetched(
        &mut self,
        name: &KeyName,
        fetched: &Fetched,
        now: Timestamp,
    ) -> Vec<(StreamId, Decision)> {
        if let Keys::Registry(keys) = &mut self.keys {
            keys.record(name, fetched, now);
        }
        let waiters = self.take_waiting(
            |waiting| matches!(waiting, Waiting::ForKey(token) if token.key_wanted() == name),
        );
        let mut decisions = Vec::with_capacity(waiters.len());
        for (stream, waiting) in waiters {
            let Waiting::ForKey(token) = waiting else {
                continue;
            };
            let answer = fetched.answer.clone();
            let progress = self.machine().resume_with_key(token, answer, now);
            decisions.push((stream, self.settle(stream, progress)));
        }
        decisions
    }

    /// The answer to the claim of a waiting request's nonce; `None` when it waits no more.
    pub fn on_claimed(&mut self, stream: StreamId, claim: NonceClaim) -> Option<Decision> {
        match self.waiting.remove(&stream)? {
            Waiting::ForClaim(token) => {
                Some(self.settle(stream, Machine::resume_with_claim(token, claim)))
            }
            other @ Waiting::ForKey(_) => {
                self.waiting.insert(stream, other);
                None
            }
        }
    }

    fn machine(&mut self) -> Machine<'_> {
        Machine {
            policy: &self.policy,
            keys: &mut self.keys,
            signatures: &*self.signatures,
            nonces: &mut *self.nonces,
        }
    }

    fn settle(&mut self, stream: StreamId, progress: Progress) -> Decision {
        let waiting = match progress {
            Progress::Done(Ok(token)) => return Decision::Accept(token),
            Progress::Done(Err(refusal)) => return Decision::Refuse(refusal),
            Progress::AwaitsKey(token) => Waiting::ForKey(token),
            Progress::AwaitsClaim(token) => Waiting::ForClaim(token),
        };
        self.waiting.insert(stream, waiting);
        Decision::Wait
    }

    fn take_waiting(&mut self, wanted: impl Fn(&Waiting) -> bool) -> Vec<(StreamId, Waiting)> {
        self.waiting
            .extract_if(.., |_, waiting| wanted(waiting))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonces::SharedNonces;
    use crate::shared_data::in_memory::InMemory;
    use jwt_core::audience::Audience;
    use jwt_core::config::filter::{Keyregistry, PresharedKey};
    use jwt_core::nonce::{Nonce, VoidNonceStore};
    use jwt_core::refusal::KeyProblem;
    use jwt_core::registry::{self, Response};
    use jwt_core::signature::PureRust;
    use jwt_core::testing::{NOW, TestSigner};
    use std::rc::Rc;
    use std::task::Poll;
    use std::time::Duration;

    fn now() -> Timestamp {
        later(0)
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(NOW + seconds).unwrap()
    }

    fn gate(keys: Keys, nonces: Box<dyn NonceStore>) -> Gate {
        let policy = Policy {
            audience: Audience::new("https://api"),
            max_skew: Duration::from_secs(60),
            max_ttl: Duration::from_secs(300),
            claims_verifiers: Vec::new(),
        };
        Gate::new(policy, keys, Box::new(PureRust), nonces)
    }

    /// A worker whose keys come from a registry, with what it shares with other workers.
    fn worker(shared: &Rc<InMemory>) -> Gate {
        let registry = Keyregistry {
            cluster: "registry".into(),
            authority: "registry:8888".into(),
            path: "/".into(),
            timeout: Duration::from_secs(5),
            cache_duration: Duration::from_secs(600),
        };
        let nonces = SharedNonces::new(shared.clone(), "https://api".into(), 1000, [1; 16]);
        gate(Keys::registry(registry, shared.clone()), Box::new(nonces))
    }

    fn preshared() -> Keys {
        let signer = TestSigner::service();
        Keys::preshared(PresharedKey {
            name: TestSigner::key_name(),
            key: Box::new(signer.public_key()),
            pem: signer.public_pem(),
        })
    }

    fn request(gate: &mut Gate, stream: StreamId, token: &str, now: Timestamp) -> Decision {
        gate.on_request(stream, Some(format!("Bearer {token}").as_bytes()), now)
    }

    fn found() -> Fetched {
        let body = TestSigner::service().public_key().to_jwk("k1").to_string();
        let response = Response {
            status: 200,
            cache_control: None,
            body: body.as_bytes(),
        };
        registry::interpret(&TestSigner::key_name(), response, Duration::from_secs(600))
    }

    fn refusal(decision: Decision) -> Refusal {
        match decision {
            Decision::Refuse(refusal) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn without_a_token_a_request_is_refused() {
        let mut gate = gate(preshared(), Box::new(VoidNonceStore));
        assert_eq!(
            refusal(gate.on_request(1, None, now())),
            Refusal::MissingToken
        );
    }

    #[test]
    fn a_preshared_key_decides_at_once() {
        let mut gate = gate(preshared(), Box::new(VoidNonceStore));
        let token = TestSigner::service().token("n1");
        assert!(matches!(
            request(&mut gate, 1, &token, now()),
            Decision::Accept(_)
        ));
        let forged = TestSigner::stranger().token("n1");
        assert_eq!(
            refusal(request(&mut gate, 2, &forged, now())),
            Refusal::Signature
        );
        assert!(gate.take_fetches().is_empty());
    }

    #[test]
    fn concurrent_requests_make_one_fetch_and_all_are_decided() {
        let mut gate = worker(&Rc::default());
        for stream in 1..=50 {
            let token = TestSigner::service().token(&format!("n{stream}"));
            assert!(matches!(
                request(&mut gate, stream, &token, now()),
                Decision::Wait
            ));
        }
        let fetches = gate.take_fetches();
        assert_eq!(fetches.len(), 1);
        assert_eq!(fetches[0].path, "/services/svc/keys/k1");
        assert!(gate.take_fetches().is_empty());

        let decisions = gate.on_fetched(&fetches[0].name, &found(), now());
        assert_eq!(decisions.len(), 50);
        assert!(
            decisions
                .iter()
                .all(|(_, decision)| matches!(decision, Decision::Accept(_)))
        );

        let token = TestSigner::service().token("another");
        assert!(matches!(
            request(&mut gate, 51, &token, now()),
            Decision::Accept(_)
        ));
        assert!(gate.take_fetches().is_empty());
    }

    #[test]
    fn replays_that_wait_for_the_key_together_have_one_winner() {
        let mut gate = worker(&Rc::default());
        let token = TestSigner::service().token("n1");
        for stream in 1..=8 {
            assert!(matches!(
                request(&mut gate, stream, &token, now()),
                Decision::Wait
            ));
        }
        let decisions = gate.on_fetched(&TestSigner::key_name(), &found(), now());
        let accepted = decisions
            .iter()
            .filter(|(_, d)| matches!(d, Decision::Accept(_)))
            .count();
        assert_eq!((decisions.len(), accepted), (8, 1));
    }

    #[test]
    fn a_key_that_one_worker_has_fetched_serves_the_others() {
        let shared = Rc::default();
        let (mut one, mut two) = (worker(&shared), worker(&shared));
        request(&mut one, 1, &TestSigner::service().token("n1"), now());
        one.on_fetched(&TestSigner::key_name(), &found(), now());
        let token = TestSigner::service().token("n2");
        assert!(matches!(
            request(&mut two, 1, &token, now()),
            Decision::Accept(_)
        ));
        assert_eq!(
            refusal(request(&mut one, 2, &token, now())),
            Refusal::Replayed
        );
    }

    #[test]
    fn a_request_that_ended_while_it_waited_is_forgotten() {
        let mut gate = worker(&Rc::default());
        let token = TestSigner::service().token("n1");
        request(&mut gate, 1, &token, now());
        request(&mut gate, 2, &token, now());
        gate.on_stream_end(1);
        let decisions = gate.on_fetched(&TestSigner::key_name(), &found(), now());
        assert!(matches!(decisions.as_slice(), [(2, Decision::Accept(_))]));
    }

    #[test]
    fn a_registry_that_fails_is_asked_again_soon() {
        let mut gate = worker(&Rc::default());
        let token = TestSigner::service().token("n1");
        request(&mut gate, 1, &token, now());
        let name = gate.take_fetches().remove(0).name;
        let down = registry::unavailable("connection refused".into());
        let (_, decision) = gate.on_fetched(&name, &down, now()).remove(0);
        let unavailable = Refusal::Key(KeyProblem::Unavailable);
        assert_eq!(refusal(decision), unavailable);
        assert_eq!(refusal(request(&mut gate, 2, &token, now())), unavailable);
        assert!(matches!(
            request(&mut gate, 3, &token, later(2)),
            Decision::Wait
        ));
        assert_eq!(gate.take_fetches().len(), 1);
    }

    #[test]
    fn a_name_that_no_url_can_carry_is_never_fetched() {
        let mut gate = worker(&Rc::default());
        let mut claims = TestSigner::claims("n1");
        claims["iss"] = "..".into();
        let token = TestSigner::service().sign(&claims);
        let unknown = Refusal::Key(KeyProblem::Unknown);
        assert_eq!(refusal(request(&mut gate, 1, &token, now())), unknown);
        assert!(gate.take_fetches().is_empty());
    }

    /// A nonce store that has to ask somebody.
    struct Remote;

    impl NonceStore for Remote {
        fn claim(&mut self, _: &Nonce<'_>, _: Timestamp) -> Poll<NonceClaim> {
            Poll::Pending
        }
    }

    #[test]
    fn a_request_may_wait_for_its_nonce() {
        let mut gate = gate(preshared(), Box::new(Remote));
        for (stream, claim) in [(1, NonceClaim::Fresh), (2, NonceClaim::Replayed)] {
            let token = TestSigner::service().token("n1");
            assert!(matches!(
                request(&mut gate, stream, &token, now()),
                Decision::Wait
            ));
            let decision = gate.on_claimed(stream, claim).unwrap();
            assert_eq!(
                matches!(decision, Decision::Accept(_)),
                claim == NonceClaim::Fresh
            );
            assert!(gate.on_claimed(stream, claim).is_none());
        }
    }
}
