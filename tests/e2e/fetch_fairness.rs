use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{get_with_token, get_with_token_from};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use keyregistry_mock::KeyState;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{interval, sleep};

/// The address of a service; strangers have others.
const CLEAN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn token(issuer: &str, key_id: &str) -> String {
    let mut claims = tokens::good_claims();
    claims["iss"] = issuer.into();
    let header = json!({"alg": "RS256", "kid": key_id});
    TestSigner::service().sign_with(&header, &claims)
}

/// Sends forty forgeries a second until it is dropped, each with a key id of its own.
struct Flood(AbortHandle);

impl Flood {
    fn start(
        address: SocketAddr,
        source: impl Fn(u32) -> Ipv4Addr + Send + 'static,
        issuer: impl Fn(u32) -> String + Send + 'static,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(25));
            loop {
                ticks.tick().await;
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let token = token(&issuer(number), &format!("forged-{number}"));
                let source = source(number);
                tokio::spawn(async move { get_with_token_from(source, address, &token).await });
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn one_source(_: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2)
}

fn sixty_sources(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, u8::try_from(number % 60).unwrap() + 1)
}

/// Another one for each request.
fn any_source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f02_0001 + number)
}

async fn until_limited(verifier: &Verifier) {
    verifier
        .wait_for_metric("jwtproxy_key_fetches_limited", |limited| limited >= 50)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_services_are_let_in_while_strangers_flood_with_invented_keys() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let sources: [fn(u32) -> Ipv4Addr; 2] = [one_source, sixty_sources];
    for (round, source) in sources.into_iter().enumerate() {
        let verifier = Verifier::start(&upstream, &registry, "").await;
        let flood = Flood::start(verifier.address(), source, |n| format!("invented-{n}"));
        until_limited(&verifier).await;
        // Sixty sources are sixty newcomers at first.
        sleep(Duration::from_secs(8)).await;
        for number in 0..10 {
            let service = format!("new-{round}-{number}");
            registry.publish(&service, "k1", KeyState::Approved);
            let answer =
                get_with_token_from(CLEAN, verifier.address(), &token(&service, "k1")).await;
            assert_eq!(answer.code(), 200, "{service}: {answer:?}");
            sleep(Duration::from_millis(200)).await;
        }
        drop(flood);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_rotates_its_key_while_strangers_flood_in_its_name() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let sources: [fn(u32) -> Ipv4Addr; 3] = [one_source, sixty_sources, any_source];
    for source in sources {
        let verifier = Verifier::start(&upstream, &registry, "").await;
        let ask = async |key_id: String| {
            let token = token("svc", &key_id);
            let answer = get_with_token_from(CLEAN, verifier.address(), &token).await;
            assert_eq!(answer.code(), 200, "{key_id}: {answer:?}");
        };
        ask("k1".to_owned()).await;
        let flood = Flood::start(verifier.address(), source, |_| "svc".to_owned());
        until_limited(&verifier).await;
        for number in 0..10 {
            let key_id = format!("rotated-{number}");
            registry.publish("svc", &key_id, KeyState::Approved);
            ask(key_id).await;
            sleep(Duration::from_millis(200)).await;
        }
        drop(flood);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_issuer_that_fills_the_nonce_store_keeps_no_other_out() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    registry.publish("hostile", "k1", KeyState::Approved);
    let extra = "nonce_storage: {type: local, options: {capacity: 200}}";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let mut refused = 0;
    for _ in 0..600 {
        let answer = get_with_token(verifier.address(), &token("hostile", "k1")).await;
        if answer.code() != 200 {
            assert_eq!(answer.code(), 503, "{answer:?}");
            assert!(answer.body.contains("of this issuer"), "{answer:?}");
            refused += 1;
        }
    }
    // All of the capacity is there for one issuer alone.
    assert!((150..=400).contains(&refused), "{refused}");
    for _ in 0..20 {
        let answer = get_with_token(verifier.address(), &tokens::good()).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
    }
    let metric = "jwtproxy_refused{reason=\"nonce_share\"}";
    verifier.expect_metric(metric, refused).await;
}
