use jwtproxy_tests::client;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const KNOWN: &str = "jwtproxy_token_cache_hits";

/// Tokens may be used again, and keys are asked for again after two seconds.
async fn verifier(upstream: &Upstream, registry: &TestRegistry) -> Verifier {
    let extra = format!(
        "nonce_storage: {{type: void}}\n\
         key_server: {{type: keyregistry, options: {{registry: \"{}\", cache: {{duration: 2s}}}}}}",
        registry.url()
    );
    Verifier::start_with_key_server(upstream, &extra, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_again_until_its_key_is_revoked() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = verifier(&upstream, &registry).await;
    let token = tokens::good();
    let get = || client::get_with_token(verifier.address(), &token);
    for _ in 0..3 {
        assert_eq!(get().await.code(), 200);
    }
    verifier.wait_for_metric(KNOWN, |known| known >= 1).await;
    assert!(registry.store().remove("svc", "k1").unwrap());

    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let answer = get().await;
        if answer.code() != 200 {
            break answer;
        }
        assert!(Instant::now() < deadline, "the key is still believed");
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(refused.code(), 403);
    assert!(refused.body.contains("key is unknown"), "{refused:?}");
    assert_eq!(get().await.code(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_again_until_it_expires() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = verifier(&upstream, &registry).await;
    let token = tokens::with_claim("exp", (tokens::now() + 4).into());
    let get = || client::get_with_token(verifier.address(), &token);
    for _ in 0..3 {
        assert_eq!(get().await.code(), 200);
    }
    verifier.wait_for_metric(KNOWN, |known| known >= 1).await;
    sleep(Duration::from_secs(4)).await;
    let refused = get().await;
    assert_eq!(refused.code(), 403);
    assert!(refused.body.contains("expired"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_token_is_good_once_none_is_remembered() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let token = tokens::good();
    let get = || client::get_with_token(verifier.address(), &token);
    assert_eq!(get().await.code(), 200);
    let replay = get().await;
    assert!(replay.body.contains("used before"), "{replay:?}");
    // Raised together with the other.
    let refused = "jwtproxy_refused{reason=\"replayed\"}";
    verifier.expect_metric(refused, 1).await;
    assert_eq!(verifier.metric(KNOWN).await, 0);
}
