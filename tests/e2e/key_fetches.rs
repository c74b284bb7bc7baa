use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use keyregistry_mock::{KeyState, Options};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn with_key(key_id: &str) -> String {
    with_header(&json!({"alg": "RS256", "kid": key_id}))
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_at_once_make_one_fetch() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let address = verifier.address();
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        requests.spawn(async move { client::get_with_token(address, &tokens::good()).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.code(), 200, "{answer:?}");
    }
    assert_eq!(registry.requests("svc", "k1"), 1);
    verifier
        .expect_metric("jwtproxy_key_fetches{outcome=\"key\"}", 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_worker_fetched_serves_all() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start_with_workers(&upstream, &registry, "", 4).await;
    for _ in 0..50 {
        let answer = client::get_with_token(verifier.address(), &tokens::good()).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
    }
    assert!(
        verifier.workers_used().await >= 2,
        "all connections went to one worker"
    );
    assert_eq!(registry.requests("svc", "k1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_registry_a_verifier_takes_the_keys_it_has() {
    let (upstream, mut registry) = (Upstream::start().await, TestRegistry::start().await);
    registry.publish("svc", "k2", KeyState::Approved);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let address = verifier.address();
    assert_eq!(
        client::get_with_token(address, &tokens::good())
            .await
            .code(),
        200
    );

    registry.go_down().await;
    assert_eq!(
        client::get_with_token(address, &tokens::good())
            .await
            .code(),
        200
    );
    let answer = client::get_with_token(address, &with_key("k2")).await;
    assert_eq!(answer.code(), 503, "{answer:?}");
    assert!(
        answer.body.contains("key server cannot be asked"),
        "{answer:?}"
    );
    assert!(answer.headers.contains_key("retry-after"));
    verifier
        .wait_for_metric("jwtproxy_key_fetches{outcome=\"failed\"}", |failed| {
            failed >= 1
        })
        .await;

    registry.come_back().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while client::get_with_token(address, &with_key("k2"))
        .await
        .code()
        != 200
    {
        assert!(Instant::now() < deadline, "the verifier does not recover");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_registry_is_remembered_for_a_while() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for _ in 0..20 {
        let answer = client::get_with_token(verifier.address(), &with_key("unknown")).await;
        assert_eq!(answer.code(), 403, "{answer:?}");
    }
    // Twenty requests may take longer than the refusal is believed, on a very busy machine.
    let requests = registry.requests("svc", "unknown");
    assert!((1..=2).contains(&requests), "{requests} requests");
    verifier
        .expect_metric("jwtproxy_refused{reason=\"key_unknown\"}", 20)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_may_live_below_a_path_and_names_may_be_odd() {
    let upstream = Upstream::start().await;
    let base_path = "/registry/v1".parse().unwrap();
    let registry = TestRegistry::start_with(Options {
        base_path,
        ..Options::default()
    })
    .await;
    let odd = "a/b c%2F\u{fc}?#";
    registry.publish(odd, odd, KeyState::Approved);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let mut claims = tokens::good_claims();
    claims["iss"] = odd.into();
    let header = json!({"alg": "RS256", "kid": odd});
    let token = TestSigner::service().sign_with(&header, &claims);
    let answer = client::get_with_token(verifier.address(), &token).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(registry.requests(odd, odd), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_stay_one_segment_from_the_signer_to_the_registry() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for name in [
        "https://issuer.example/a/b",
        "/",
        "a//b",
        "../x",
        "100%",
        "%2F",
        "%252F",
        "a?expiration=1",
        "a#b",
        "a b",
        "\u{fc}\u{1f511}",
        "a;b=c,d&e+f",
    ] {
        registry.publish(name, name, KeyState::Approved);
        let (name_in_yaml, audience) = (serde_json::Value::from(name), tokens::AUDIENCE);
        let yaml = format!(
            r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    hosts: [{{host: "127.0.0.1", audience: "{audience}"}}]
    signer:
      issuer: {name_in_yaml}
      private_key:
        type: preshared
        options: {{key_id: {name_in_yaml}, private_key_path: "$DIR/service.key"}}
"#
        );
        let key = TestSigner::SERVICE_PRIVATE_PEM;
        let signer = Jwtproxy::start(&yaml, &[("service.key", key)], &[]).await;
        let url = format!("http://{}/", verifier.address());
        let answer = client::get_through(signer.signer.unwrap(), &url).await;
        assert_eq!(answer.code(), 200, "{name}: {answer:?}");
        assert_eq!(registry.requests(name, name), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_fetched_again_when_the_registry_said_so() {
    let upstream = Upstream::start().await;
    let options = Options {
        max_age: Duration::ZERO,
        ..Options::default()
    };
    let registry = TestRegistry::start_with(options).await;
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for _ in 0..3 {
        let answer = client::get_with_token(verifier.address(), &tokens::good()).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
    }
    assert_eq!(registry.requests("svc", "k1"), 3);
}
