use jwtproxy_tests::client;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, now, with_claim};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// A token that was used before Envoy was restarted, and the same in the new Envoy.
async fn replay_over_restart(extra: &str) -> (u16, String) {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let token = with_claim("iat", json!(now() - 2));
    let before = Verifier::start(&upstream, &registry, extra).await;
    // The first verifier may refuse it as well: it is older than that one, too.
    client::get_with_token(before.address(), &token).await;
    drop(before);
    let after = Verifier::start(&upstream, &registry, extra).await;
    let answer = client::get_with_token(after.address(), &token).await;
    let (code, body) = (answer.code(), answer.body);
    // Dates in tokens are whole seconds, rounded down.
    sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        client::get_with_token(after.address(), &tokens::good())
            .await
            .code(),
        200
    );
    (code, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_refuses_tokens_that_may_have_been_used_before_the_start() {
    let extra = "nonce_storage: {type: local, options: {restart_guard: true}}";
    let (code, body) = replay_over_restart(extra).await;
    assert_eq!(code, 403);
    assert!(
        body.contains("issued before the verifier started"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_guard_a_restart_forgets() {
    assert_eq!(replay_over_restart("").await.0, 200);
}
