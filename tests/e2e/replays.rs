use jwtproxy_tests::client::{self, Prepared};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// How many of that many requests with one token, all sent at once, each on a connection of its
/// own, are accepted; the others must be refused as replays.
async fn accepted_of(count: usize, verifier: &Verifier) -> usize {
    let authorization = format!("Bearer {}", tokens::good());
    let barrier = Arc::new(Barrier::new(count));
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let request = client::request(verifier.address(), "/", Some(&authorization));
        let prepared = Prepared::new(verifier.address(), request).await;
        let barrier = barrier.clone();
        requests.spawn(async move {
            barrier.wait().await;
            prepared.send().await
        });
    }
    let answers = requests.join_all().await;
    for answer in answers.iter().filter(|answer| answer.code() != 200) {
        assert!(answer.body.contains("used before"), "{answer:?}");
    }
    answers.iter().filter(|answer| answer.code() == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_parallel_replays_over_several_workers_one_is_accepted() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start_with_workers(&upstream, &registry, "", 4).await;
    // The first round finds no worker with a key, so its requests also wait for one together.
    for round in 1..=20 {
        assert_eq!(accepted_of(64, &verifier).await, 1, "round {round}");
    }
    assert_eq!(upstream.received().len(), 20);
    verifier
        .expect_metric("jwtproxy_refused{reason=\"replayed\"}", 20 * 63)
        .await;
    assert!(
        verifier.workers_used().await >= 2,
        "all connections went to one worker"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_full_refuses_new_tokens_and_forgets_none() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "nonce_storage: {type: local, options: {capacity: 1}}";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let first = tokens::good();
    assert_eq!(
        client::get_with_token(verifier.address(), &first)
            .await
            .code(),
        200
    );
    let mut refused = None;
    for _ in 0..200 {
        let answer = client::get_with_token(verifier.address(), &tokens::good()).await;
        if answer.code() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a store with room for 1 is full after 200");
    assert_eq!(refused.code(), 503, "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"));
    let replay = client::get_with_token(verifier.address(), &first).await;
    assert!(replay.body.contains("used before"), "{replay:?}");
}
