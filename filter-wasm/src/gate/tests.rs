mod fairness;
mod handover;
mod revocation;
mod sets;
mod token_reuse;
mod waiting;
mod workers;

use super::*;
use crate::keys::{Anonymous, Chance, Clients, RemoteKeys, Source};
use crate::nonces::{NonceRules, SharedNonces};
use crate::request::in_memory::Fields;
use crate::sealed::Sealed;
use crate::shared_data::in_memory::InMemory;
use jwt_core::audience::Audience;
use jwt_core::config::filter::{Cache, Endpoint, Keyregistry, PresharedKey};
use jwt_core::config::verifier::NonceStorage;
use jwt_core::excludes::Exclude;
use jwt_core::nonce::{Nonce, NonceClaim, VoidNonceStore};
use jwt_core::signature::PureRust;
use jwt_core::testing::{NOW, TestSigner};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

fn now() -> Timestamp {
    later(0)
}

/// A gate, and the heads of its requests, which the host keeps.
struct Gate {
    inner: super::Gate,
    heads: HashMap<StreamId, Fields>,
}

impl Gate {
    fn on_request(&mut self, stream: StreamId, head: &Fields, now: Timestamp) -> Decision {
        self.heads.insert(stream, head.clone());
        self.inner.on_request(stream, head, now)
    }

    /// Decides about all that are ready.
    fn decide(&mut self, now: Timestamp) -> Vec<(StreamId, Decision)> {
        let mut decisions = Vec::new();
        while let Some(ready) = self.inner.next_ready() {
            let stream = ready.stream();
            let head = &self.heads[&stream];
            decisions.push((stream, self.inner.resume(ready, head, now)));
        }
        decisions
    }

    fn collect_from_others(&mut self, now: Timestamp) -> Vec<(StreamId, Decision)> {
        self.inner.collect_from_others(now);
        self.decide(now)
    }
}

impl Deref for Gate {
    type Target = super::Gate;

    fn deref(&self) -> &super::Gate {
        &self.inner
    }
}

impl DerefMut for Gate {
    fn deref_mut(&mut self) -> &mut super::Gate {
        &mut self.inner
    }
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(NOW + seconds).unwrap()
}

fn rules() -> Rules {
    Rules {
        policy: Policy::new(Audience::new("https://api")),
        nonce_storage: NonceStorage::Void,
        access: Access::default(),
        handover: Handover::default(),
    }
}

fn gate(rules: Rules, keys: Keys, nonces: Box<dyn NonceStore>) -> Gate {
    let parts = Parts {
        keys,
        signatures: Box::new(PureRust),
        nonces,
        events: Rc::default(),
    };
    Gate {
        inner: super::Gate::new(rules, parts),
        heads: HashMap::new(),
    }
}

fn endpoint(path: &str) -> Endpoint {
    Endpoint {
        cluster: "keys".into(),
        authority: "keys:8888".into(),
        path: path.into(),
        timeout: Duration::from_secs(5),
    }
}

fn cache() -> Cache {
    let duration = Duration::from_secs(100);
    Cache {
        duration,
        stale_if_error: Duration::from_secs(50),
    }
}

/// A worker with what it shares with other workers.
fn worker_of(source: Source, shared: &Rc<InMemory>) -> Gate {
    worker_with_clients(source, shared, Box::new(Anonymous))
}

/// One that knows where requests come from.
fn worker_with_clients(source: Source, shared: &Rc<InMemory>, clients: Box<dyn Clients>) -> Gate {
    let data = Sealed::new(shared.clone(), None);
    let nonce_rules = NonceRules {
        scope: "https://api".into(),
        capacity: 1000,
        longest_life: Duration::from_secs(360),
    };
    let nonces = SharedNonces::new(data.clone(), nonce_rules, [1; 16], Rc::default());
    let keys = RemoteKeys::new(source, data, clients, Rc::default(), Chance::default());
    gate(rules(), Keys::Remote(Box::new(keys)), Box::new(nonces))
}

fn worker(shared: &Rc<InMemory>) -> Gate {
    worker_that_caches(cache(), shared)
}

/// A worker whose requests each come from another address.
fn worker_with_many_clients() -> Gate {
    struct Many(std::cell::Cell<u32>);
    impl Clients for Many {
        fn address(&self) -> Option<Vec<u8>> {
            self.0.set(self.0.get() + 1);
            std::net::Ipv4Addr::from(self.0.get()).address()
        }
    }
    let registry = Keyregistry {
        endpoint: endpoint("/"),
        cache: cache(),
    };
    let source = Source::Registry(registry);
    worker_with_clients(source, &Rc::default(), Box::new(Many(0.into())))
}

fn worker_that_caches(cache: Cache, shared: &Rc<InMemory>) -> Gate {
    let registry = Keyregistry {
        endpoint: endpoint("/"),
        cache,
    };
    worker_of(Source::Registry(registry), shared)
}

fn preshared() -> Keys {
    let signer = TestSigner::service();
    Keys::preshared(PresharedKey {
        name: TestSigner::key_name(),
        key: Box::new(signer.public_key()),
        pem: signer.public_pem(),
    })
}

fn head(token: &str) -> Fields {
    Fields::of(&[
        (":path", "/"),
        ("authorization", &format!("Bearer {token}")),
    ])
}

fn request(gate: &mut Gate, stream: StreamId, token: &str, now: Timestamp) -> Decision {
    gate.on_request(stream, &head(token), now)
}

/// A good token of its own for each number.
fn token(number: u32) -> String {
    TestSigner::service().token(&format!("n{number}"))
}

/// A token with a `jti` and a `kid` of its own.
fn with_kid(kid: &str, id: &str) -> String {
    let header = serde_json::json!({"alg": "RS256", "kid": kid});
    TestSigner::service().sign_with(&header, &TestSigner::claims(id))
}

fn key_id() -> FetchId {
    FetchId::Key(TestSigner::key_name())
}

fn jwk() -> String {
    TestSigner::service().public_key().to_jwk("k1").to_string()
}

fn answer(
    gate: &mut Gate,
    id: &FetchId,
    status: u16,
    body: &str,
    now: Timestamp,
) -> Vec<(StreamId, Decision)> {
    let response = Response {
        status,
        cache_control: None,
        body: body.as_bytes(),
    };
    gate.on_response(id, Ok(response), now);
    gate.decide(now)
}

fn found(gate: &mut Gate, now: Timestamp) -> Vec<(StreamId, Decision)> {
    answer(gate, &key_id(), 200, &jwk(), now)
}

fn down(gate: &mut Gate, now: Timestamp) -> Vec<(StreamId, Decision)> {
    gate.on_response(&key_id(), Err("connection refused".into()), now);
    gate.decide(now)
}

fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refused) => refused.refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn assert_accepted(decision: &Decision) {
    assert!(matches!(decision, Decision::Accept(_)), "{decision:?}");
}

fn assert_waits(decision: &Decision) {
    assert!(matches!(decision, Decision::Wait), "{decision:?}");
}

/// A worker that has the key since `now()`.
fn worker_with_key(shared: &Rc<InMemory>) -> Gate {
    let mut gate = worker(shared);
    assert_waits(&request(&mut gate, 1, &token(1), now()));
    assert_eq!(gate.begin_fetches(now()).len(), 1);
    assert_accepted(&found(&mut gate, now())[0].1);
    gate
}

#[test]
fn without_a_token_a_request_is_refused() {
    let mut gate = gate(rules(), preshared(), Box::new(VoidNonceStore));
    let decision = gate.on_request(1, &Fields::default(), now());
    assert_eq!(refusal(decision), Refusal::MissingToken);
}

#[test]
fn a_preshared_key_decides_at_once() {
    let mut gate = gate(rules(), preshared(), Box::new(VoidNonceStore));
    assert_accepted(&request(&mut gate, 1, &token(1), now()));
    let forged = TestSigner::stranger().token("n1");
    assert_eq!(
        refusal(request(&mut gate, 2, &forged, now())),
        Refusal::Signature
    );
    assert!(!gate.has_work());
}

#[test]
fn concurrent_requests_make_one_fetch_and_all_are_decided() {
    let mut gate = worker(&Rc::default());
    for stream in 1..=50 {
        assert_waits(&request(&mut gate, stream, &token(stream), now()));
    }
    let fetches = gate.begin_fetches(now());
    assert_eq!(fetches.len(), 1);
    assert_eq!(fetches[0].endpoint.path, "/services/svc/keys/k1");
    assert!(gate.begin_fetches(now()).is_empty());

    let decisions = found(&mut gate, now());
    assert_eq!(decisions.len(), 50);
    decisions
        .iter()
        .for_each(|(_, decision)| assert_accepted(decision));
    assert_accepted(&request(&mut gate, 51, &token(51), now()));
    assert!(!gate.has_work());
}

#[test]
fn replays_that_wait_for_the_key_together_have_one_winner() {
    let mut gate = worker(&Rc::default());
    for stream in 1..=8 {
        assert_waits(&request(&mut gate, stream, &token(1), now()));
    }
    let decisions = found(&mut gate, now());
    let accepted = decisions
        .iter()
        .filter(|(_, d)| matches!(d, Decision::Accept(_)))
        .count();
    assert_eq!((decisions.len(), accepted), (8, 1));
}

#[test]
fn a_request_that_ended_while_it_waited_is_forgotten() {
    let mut gate = worker(&Rc::default());
    request(&mut gate, 1, &token(1), now());
    request(&mut gate, 2, &token(1), now());
    gate.on_stream_end(1);
    let decisions = found(&mut gate, now());
    assert!(matches!(decisions.as_slice(), [(2, Decision::Accept(_))]));
}

#[test]
fn a_busy_key_is_fetched_ahead_of_its_end_and_no_request_waits() {
    let mut gate = worker_with_key(&Rc::default());
    assert_accepted(&request(&mut gate, 2, &token(2), later(74)));
    assert!(!gate.has_work());
    assert_accepted(&request(&mut gate, 3, &token(3), later(91)));
    assert_accepted(&request(&mut gate, 4, &token(4), later(92)));
    assert_eq!(gate.begin_fetches(later(92)).len(), 1);
    assert!(found(&mut gate, later(92)).is_empty());
    assert_accepted(&request(&mut gate, 5, &token(5), later(150)));
    assert!(!gate.has_work());
}

#[test]
fn while_the_registry_is_down_a_key_serves_past_its_time_but_not_for_ever() {
    let mut gate = worker_with_key(&Rc::default());
    let fresh = |number, seconds: i64| {
        let mut claims = TestSigner::claims(&format!("n{number}"));
        claims["iat"] = (NOW + seconds).into();
        TestSigner::service().sign(&claims)
    };
    assert_waits(&request(&mut gate, 2, &fresh(2, 110), later(110)));
    gate.begin_fetches(later(110));
    assert_accepted(&down(&mut gate, later(110))[0].1);
    assert_accepted(&request(&mut gate, 3, &fresh(3, 110), later(110)));
    assert!(!gate.has_work());
    // It is asked again soon, and nobody waits while it is.
    for number in [5, 6] {
        assert_accepted(&request(&mut gate, number, &fresh(number, 112), later(112)));
    }
    assert_eq!(gate.begin_fetches(later(112)).len(), 1);
    assert_accepted(&request(&mut gate, 7, &fresh(7, 116), later(116)));
    assert!(down(&mut gate, later(117)).is_empty());
    assert_accepted(&request(&mut gate, 8, &fresh(8, 117), later(117)));
    assert_waits(&request(&mut gate, 4, &fresh(4, 160), later(160)));
    gate.begin_fetches(later(160));
    let (_, decision) = down(&mut gate, later(160)).remove(0);
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unavailable));
}

#[test]
fn a_key_that_the_registry_refuses_serves_no_more() {
    let mut gate = worker_with_key(&Rc::default());
    assert_accepted(&request(&mut gate, 2, &token(2), later(95)));
    gate.begin_fetches(later(95));
    answer(&mut gate, &key_id(), 403, "", later(95));
    let decision = request(&mut gate, 3, &token(3), later(96));
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Expired));
}

#[test]
fn a_registry_that_fails_is_asked_again_soon() {
    let mut gate = worker(&Rc::default());
    request(&mut gate, 1, &token(1), now());
    gate.begin_fetches(now());
    let (_, decision) = down(&mut gate, now()).remove(0);
    let unavailable = Refusal::Key(KeyProblem::Unavailable);
    assert_eq!(refusal(decision), unavailable);
    assert_eq!(
        refusal(request(&mut gate, 2, &token(1), now())),
        unavailable
    );
    assert_waits(&request(&mut gate, 3, &token(1), later(2)));
    assert_eq!(gate.begin_fetches(later(2)).len(), 1);
}

#[test]
fn a_name_that_no_url_can_carry_is_never_fetched() {
    let mut gate = worker(&Rc::default());
    let mut claims = TestSigner::claims("n1");
    claims["iss"] = "..".into();
    let token = TestSigner::service().sign(&claims);
    let unknown = Refusal::Key(KeyProblem::Unknown);
    assert_eq!(refusal(request(&mut gate, 1, &token, now())), unknown);
    assert!(!gate.has_work());
}

/// A nonce store without room.
struct Full;

impl NonceStore for Full {
    fn claim(&mut self, _: &Nonce<'_>, _: Timestamp) -> NonceClaim {
        NonceClaim::Full
    }
}

#[test]
fn excluded_paths_and_permitted_preflights_need_no_token() {
    let mut rules = rules();
    rules.access.excludes = vec![Exclude::parse("/healthz").unwrap()];
    rules.access.allow_cors_preflight = true;
    let mut gate = gate(rules, preshared(), Box::new(VoidNonceStore));
    let mut decide = |fields: &[(&str, &str)]| gate.on_request(1, &Fields::of(fields), now());
    let preflight = ("access-control-request-method", "PUT");
    assert!(matches!(
        decide(&[(":path", "/healthz?x")]),
        Decision::Exempt
    ));
    assert!(matches!(
        decide(&[(":method", "OPTIONS"), preflight]),
        Decision::Exempt
    ));
    for fields in [
        [(":path", "/healthz/../x"), ("a", "")],
        [(":method", "OPTIONS"), ("a", "")],
        [(":method", "PUT"), preflight],
    ] {
        assert_eq!(
            refusal(decide(&fields)),
            Refusal::MissingToken,
            "{fields:?}"
        );
    }
}

#[test]
fn only_what_a_browser_follows_is_redirected() {
    let mut rules = rules();
    rules.access.auth_redirect_url = Some("https://login/".into());
    let mut gate = gate(rules, preshared(), Box::new(Full));
    let mut redirect_from = |more: &[(&str, &str)]| {
        let url = [
            (":scheme", "https"),
            (":authority", "api"),
            (":path", "/a?b"),
        ];
        let fields: Vec<_> = url.iter().chain(more).copied().collect();
        match gate.on_request(1, &Fields::of(&fields), now()) {
            Decision::Refuse(refused) => refused.redirect_from,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(redirect_from(&[]).as_deref(), Some("https://api/a?b"));
    assert!(redirect_from(&[("authorization", "Bearer x")]).is_some());
    assert_eq!(redirect_from(&[("upgrade", "websocket")]), None);
    let preflight = [
        (":method", "OPTIONS"),
        ("access-control-request-method", "PUT"),
    ];
    assert_eq!(redirect_from(&preflight), None);
    let bearer = format!("Bearer {}", token(1));
    assert_eq!(redirect_from(&[("authorization", &bearer)]), None);
}
