use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::Method;
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::get_with_token;
use jwtproxy_tests::gate::{Fault, Gate};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::streams::Streams;
use jwtproxy_tests::tokens::{self, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::{Verifier, free_address, keyregistry};
use keyregistry_mock::KeyState;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A verifier with one worker, whose key `k1` is at hand, and the way to its registry.
struct World {
    verifier: Arc<Verifier>,
    way: Gate,
    registry: TestRegistry,
    upstream: Upstream,
}

impl World {
    async fn new(extra: &str) -> Self {
        let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
        let way = Gate::start().await;
        way.lead_to(registry.address());
        let key_server = keyregistry(&way.url());
        let yaml = format!("{key_server}\n{extra}");
        let verifier = Verifier::start_with_key_server(&upstream, &yaml, 1).await;
        let answer = get_with_token(verifier.address(), &tokens::good()).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
        Self {
            verifier: verifier.into(),
            way,
            registry,
            upstream,
        }
    }

    /// What becomes of so many requests with one token that names a key which the registry is
    /// asked for.
    async fn statuses(&self, token: &str, number: usize) -> BTreeMap<u16, usize> {
        let tokens = std::iter::repeat_n(token.to_owned(), number);
        let streams = Streams::send(self.verifier.address(), tokens).await;
        streams.statuses().await
    }

    /// Good requests, one after the other, until it is stopped.
    fn good_traffic(&self) -> GoodTraffic {
        let running = Arc::new(AtomicBool::new(true));
        let (verifier, still) = (self.verifier.clone(), running.clone());
        let task = tokio::spawn(async move {
            let mut answered = 0;
            while still.load(Ordering::Relaxed) || answered < 20 {
                let answer = get_with_token(verifier.address(), &tokens::good()).await;
                assert_eq!(answer.code(), 200, "request {answered}: {answer:?}");
                answered += 1;
                sleep(Duration::from_millis(5)).await;
            }
        });
        GoodTraffic { running, task }
    }

    async fn assert_that_no_vm_crashed(&self) {
        let stats = self.verifier.ask_admin("/stats?filter=wasm").await;
        let counter = |name: &str| -> u64 {
            let line = stats.lines().find(|line| line.contains(name));
            let (_, value) = line
                .unwrap_or_else(|| panic!("{stats}"))
                .split_once(": ")
                .unwrap();
            value.parse().unwrap()
        };
        assert_eq!(counter("vm_reload_success"), 0, "{stats}");
        assert_eq!(counter("vm_reload_failure"), 0, "{stats}");
        assert_eq!(counter("vm_reload_backoff"), 0, "{stats}");
    }
}

struct GoodTraffic {
    running: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl GoodTraffic {
    async fn was_served(self) {
        self.running.store(false, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

fn with_key(key_id: &str) -> String {
    with_header(&json!({"alg": "RS256", "kid": key_id}))
}

/// Good tokens, by a signer that is fast in a debug build too.
fn many_good_tokens(key_id: &str, number: usize) -> Vec<String> {
    let lines = TestSigner::SERVICE_PRIVATE_PEM.lines();
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_der(&STANDARD.decode(base64).unwrap()).unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": key_id}).to_string());
    let token = |_| {
        let claims = URL_SAFE_NO_PAD.encode(tokens::good_claims().to_string());
        let input = format!("{header}.{claims}");
        let mut signature = vec![0; key.public_modulus_len()];
        let random = SystemRandom::new();
        key.sign(&RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature)
            .unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    (0..number).map(token).collect()
}

/// Either is right for a request that waits for a key that is refused: it is, or there is no
/// room for it. None is left without an answer.
fn assert_all_refused(statuses: &BTreeMap<u16, usize>, number: usize) {
    let count = |status| statuses.get(&status).copied().unwrap_or_default();
    assert_eq!(count(403) + count(503), number, "{statuses:?}");
    assert!(count(403) >= number.min(4000), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_that_wait_for_an_unknown_key_are_refused_and_crash_nothing() {
    let world = World::new("").await;
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(1)));
    let good = world.good_traffic();
    let statuses = world.statuses(&with_key("unknown"), 1000).await;
    assert_eq!(statuses, BTreeMap::from([(403, 1000)]));
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_that_wait_for_an_unknown_key_are_refused_and_crash_nothing() {
    let world = World::new("").await;
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(3)));
    let good = world.good_traffic();
    let statuses = world.statuses(&with_key("unknown"), 10_000).await;
    assert_all_refused(&statuses, 10_000);
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_and_are_redirected_at_once_crash_nothing() {
    let world = World::new("auth_redirect_url: https://login.example/").await;
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(1)));
    let good = world.good_traffic();
    let statuses = world.statuses(&with_key("unknown"), 1000).await;
    assert_eq!(statuses, BTreeMap::from([(302, 1000)]));
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_that_wait_for_a_good_key_are_accepted() {
    let world = World::new("").await;
    world.registry.publish("svc", "k2", KeyState::Approved);
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(2)));
    let tokens = many_good_tokens("k2", 1000);
    let good = world.good_traffic();
    let replays = [tokens[0].clone(), tokens[999].clone()];
    let streams = Streams::send(world.verifier.address(), tokens.into_iter().chain(replays)).await;
    // Each of them is accepted once, those that waited together included.
    let statuses = streams.statuses().await;
    assert_eq!(statuses, BTreeMap::from([(200, 1000), (403, 2)]));
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_that_wait_for_a_good_key_are_accepted_as_far_as_there_is_room() {
    let world = World::new("nonce_storage: {type: void}").await;
    world.registry.publish("svc", "k2", KeyState::Approved);
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(3)));
    let good = world.good_traffic();
    let statuses = world.statuses(&with_key("k2"), 10_000).await;
    let count = |status| statuses.get(&status).copied().unwrap_or_default();
    assert_eq!(count(200) + count(503), 10_000, "{statuses:?}");
    assert!(count(200) >= 4000, "{statuses:?}");
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
    assert!(world.upstream.received().len() > 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_registry_crashes_nothing() {
    // It does not answer; it closes the connection; it answers with an error; it is gone.
    for fault in [Fault::HoldRequest, Fault::Close, Fault::Answer(500, "")] {
        let world = World::new("").await;
        world.way.set(Method::GET, fault.clone());
        let good = world.good_traffic();
        let statuses = world.statuses(&with_key("unknown"), 1000).await;
        assert_eq!(statuses, BTreeMap::from([(503, 1000)]), "{fault:?}");
        good.was_served().await;
        world.assert_that_no_vm_crashed().await;
    }
    let upstream = Upstream::start().await;
    let key_server = keyregistry(&format!("http://{}", free_address()));
    let verifier = Verifier::start_with_key_server(&upstream, &key_server, 1).await;
    let tokens = std::iter::repeat_n(with_key("unknown"), 1000);
    let streams = Streams::send(verifier.address(), tokens).await;
    assert_eq!(streams.statuses().await, BTreeMap::from([(503, 1000)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_unknown_keys_at_once_crash_nothing() {
    let world = World::new("").await;
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(1)));
    let good = world.good_traffic();
    let keys: Vec<_> = (0..100)
        .map(|n| with_key(&format!("unknown-{n}")))
        .collect();
    // Of each so many that the keys which are asked for make more than a thousand requests.
    let tokens = (0..3000).map(|n| keys[n % keys.len()].clone());
    let streams = Streams::send(world.verifier.address(), tokens).await;
    let statuses = streams.statuses().await;
    let count = |status| statuses.get(&status).copied().unwrap_or_default();
    assert_eq!(count(403) + count(503), 3000, "{statuses:?}");
    good.was_served().await;
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_leaves_room_for_the_requests_of_another() {
    let world = World::new("").await;
    world.registry.publish("svc", "k2", KeyState::Approved);
    world.way.set(Method::GET, Fault::HoldRequest);
    let address = world.verifier.address();
    let flood = std::iter::repeat_n(with_key("unknown"), 10_000);
    let flood = tokio::spawn(Streams::send(address, flood));
    world.way.wait_for_more(&Method::GET, 1).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let too_many = "jwtproxy_refused{reason=\"too_many_waiting\"}";
    while world.verifier.metric(too_many).await == 0 {
        assert!(Instant::now() < deadline, "there is room for all");
    }
    world.way.set(Method::GET, Fault::None);
    let answer = get_with_token(address, &with_key("k2")).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    drop(flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_with_large_heads_take_little_memory() {
    let world = World::new("").await;
    world
        .way
        .set(Method::GET, Fault::Delay(Duration::from_secs(3)));
    let before = world.verifier.peak_memory();
    let mut claims = tokens::good_claims();
    for size in [11_000, 40_000] {
        claims["filling"] = json!("x".repeat(size));
        let header = json!({"alg": "RS256", "kid": format!("unknown-{size}")});
        let token = TestSigner::service().sign_with(&header, &claims);
        let statuses = world.statuses(&token, 3000).await;
        let refused: usize = statuses.values().sum();
        assert!(
            !statuses.contains_key(&200) && refused == 3000,
            "{statuses:?}"
        );
    }
    let growth = world.verifier.peak_memory().saturating_sub(before);
    assert!(growth < 250 << 20, "{growth} bytes");
    world.assert_that_no_vm_crashed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_clients_leave_while_they_wait_give_their_places_back() {
    let world = World::new("").await;
    world.way.set(Method::GET, Fault::HoldRequest);
    let address = world.verifier.address();
    // Of the places of a worker not so many would be left if they were not given back. Each time
    // another key: the registry is waited for only so long.
    for round in 0..16 {
        let tokens = std::iter::repeat_n(with_key(&format!("unknown-{round}")), 500);
        let streams = Streams::send(address, tokens).await;
        world.verifier.wait_for_active_requests(500).await;
        drop(streams);
        world.verifier.wait_for_active_requests(0).await;
    }
    let answer = get_with_token(address, &tokens::good()).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    world.assert_that_no_vm_crashed().await;
}
