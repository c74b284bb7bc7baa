use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Prepared};
use jwtproxy_tests::key_server::{KeyServer, Script};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::{Verifier, keyregistry};
use keyregistry_mock::Options;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

fn with_key(key_id: &str) -> String {
    with_header(&json!({"alg": "RS256", "kid": key_id}))
}

fn jwk(key_id: &str) -> String {
    TestSigner::service()
        .public_key()
        .to_jwk(key_id)
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_key_server_answers_it_is_no_key_unless_it_is_one() {
    let upstream = Upstream::start().await;
    let server = KeyServer::start(Script::status(500)).await;
    let extra = keyregistry(&server.url());
    let verifier = Verifier::start_with_key_server(&upstream, &extra, 1).await;
    let mut small = TestSigner::service().public_key().to_jwk("small");
    small["n"] = "vvvvvvvv".into();
    let redirect = Script {
        headers: vec![("location", format!("{}elsewhere", server.url()))],
        ..Script::status(302)
    };
    let html = Script {
        headers: vec![("content-type", "text/html".into())],
        ..Script::ok("<html>not here</html>")
    };
    let oversize = Script::ok(vec![b' '; 2 * 1024 * 1024]);
    // Each key id is asked for once, so that no answer is remembered from before.
    for (key_id, script, code, reason) in [
        ("error", Script::status(500), 503, "cannot be asked"),
        ("busy", Script::status(429), 503, "cannot be asked"),
        ("redirect", redirect, 503, "cannot be asked"),
        ("html", html, 503, "cannot be asked"),
        ("empty", Script::ok(""), 503, "cannot be asked"),
        (
            "garbage",
            Script::ok([0xff, 0xfe, 0x00]),
            503,
            "cannot be asked",
        ),
        ("array", Script::ok("[]"), 503, "cannot be asked"),
        ("oversize", oversize, 503, "cannot be asked"),
        (
            "unknown",
            Script::status(404),
            403,
            "signing key is unknown",
        ),
        ("pending", Script::status(409), 403, "awaits approval"),
        (
            "expired",
            Script::status(403),
            403,
            "expired or was revoked",
        ),
        ("other", Script::ok(jwk("k1")), 403, "not usable"),
        ("small", Script::ok(small.to_string()), 403, "not usable"),
        (
            "secret",
            Script::ok(r#"{"kty":"oct","k":"AAAA"}"#),
            403,
            "not usable",
        ),
        ("good", Script::ok(jwk("good")), 200, ""),
    ] {
        server.set(script);
        let answer = client::get_with_token(verifier.address(), &with_key(key_id)).await;
        assert_eq!(answer.code(), code, "{key_id}: {answer:?}");
        assert!(answer.body.contains(reason), "{key_id}: {answer:?}");
    }
    assert!(
        !server
            .requests()
            .iter()
            .any(|path| path.contains("elsewhere"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_workers_want_a_key_at_once_it_is_fetched_once() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start_with_workers(&upstream, &registry, "", 4).await;
    let barrier = Arc::new(Barrier::new(40));
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let bearer = format!("Bearer {}", tokens::good());
        let request = client::request(verifier.address(), "/", Some(&bearer));
        let prepared = Prepared::new(verifier.address(), request).await;
        let barrier = barrier.clone();
        requests.spawn(async move {
            barrier.wait().await;
            prepared.send().await.code()
        });
    }
    assert_eq!(requests.join_all().await, [200; 40]);
    assert!(
        verifier.workers_used().await >= 2,
        "all connections went to one worker"
    );
    assert_eq!(registry.requests("svc", "k1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_key_ids_do_not_flood_the_registry() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let started = Instant::now();
    for number in 0..300 {
        let token = with_key(&format!("invented-{number}"));
        let code = client::get_with_token(verifier.address(), &token)
            .await
            .code();
        assert!(matches!(code, 403 | 503), "{code}");
    }
    let fetched = (0..300).filter(|n| registry.requests("svc", &format!("invented-{n}")) > 0);
    // 50 at once and 5 a second.
    let permitted = 50 + 5 * (started.elapsed().as_secs() as usize + 1);
    let fetched = fetched.count();
    assert!(
        (1..=permitted).contains(&fetched),
        "{fetched} fetches, {permitted} permitted"
    );
    // Keys that exist are fetched as soon as the rate permits it.
    let deadline = Instant::now() + Duration::from_secs(30);
    while client::get_with_token(verifier.address(), &tokens::good())
        .await
        .code()
        != 200
    {
        assert!(Instant::now() < deadline, "the good key is never fetched");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_past_its_time_serves_while_the_registry_is_down_but_not_once_it_was_refused() {
    let upstream = Upstream::start().await;
    let options = Options {
        max_age: Duration::from_secs(1),
        ..Options::default()
    };
    let mut registry = TestRegistry::start_with(options).await;
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let send = async || client::get_with_token(verifier.address(), &tokens::good()).await;
    assert_eq!(send().await.code(), 200);
    registry.go_down().await;
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(send().await.code(), 200);
    verifier
        .wait_for_metric("jwtproxy_key_cache{outcome=\"stale\"}", |stale| stale >= 1)
        .await;
    // A fetch that failed is no good one because there is a key all the same.
    verifier
        .wait_for_metric("jwtproxy_key_fetches{outcome=\"failed\"}", |failed| {
            failed >= 1
        })
        .await;
    verifier
        .expect_metric("jwtproxy_key_fetches{outcome=\"key\"}", 1)
        .await;

    assert!(registry.store().remove("svc", "k1").unwrap());
    registry.come_back().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while send().await.code() == 200 {
        assert!(
            Instant::now() < deadline,
            "the key serves although the registry has refused it"
        );
        sleep(Duration::from_millis(100)).await;
    }
    registry.go_down().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(send().await.code(), 503);
}

/// A forged token can name any number of keys. Their answers, from the registry or for want of it,
/// must not push out what the workers know of a revoked one.
#[tokio::test(flavor = "multi_thread")]
async fn forged_key_ids_do_not_bring_a_revoked_key_back_while_the_registry_is_down() {
    let upstream = Upstream::start().await;
    let options = Options {
        max_age: Duration::from_secs(1),
        ..Options::default()
    };
    let mut registry = TestRegistry::start_with(options).await;
    let verifier = Verifier::start_with_workers(&upstream, &registry, "", 2).await;
    let send = async || {
        client::get_with_token(verifier.address(), &tokens::good())
            .await
            .code()
    };
    let forge = async |round: &str| {
        for number in 0..150 {
            let header = json!({"alg": "RS256", "kid": format!("{round}-{number}")});
            let token = with_header(&header);
            let code = client::get_with_token(verifier.address(), &token)
                .await
                .code();
            assert_ne!(code, 200);
        }
    };
    for _ in 0..10 {
        assert_eq!(send().await, 200);
    }
    assert!(registry.store().remove("svc", "k1").unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut refused = 0;
    while refused < 10 {
        assert!(Instant::now() < deadline, "the revoked key serves");
        refused = if send().await == 200 { 0 } else { refused + 1 };
        sleep(Duration::from_millis(100)).await;
    }
    forge("known-to-be-unknown").await;
    registry.go_down().await;
    // Longer than a refusal is remembered without asking again.
    sleep(Duration::from_secs(6)).await;
    forge("unanswered").await;
    for number in 0..30 {
        assert_ne!(send().await, 200, "request {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_key_never_makes_a_request_wait_for_its_refresh() {
    let upstream = Upstream::start().await;
    let options = Options {
        max_age: Duration::from_secs(2),
        ..Options::default()
    };
    let registry = TestRegistry::start_with(options).await;
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let end = Instant::now() + Duration::from_secs(7);
    while Instant::now() < end {
        assert_eq!(
            client::get_with_token(verifier.address(), &tokens::good())
                .await
                .code(),
            200
        );
        sleep(Duration::from_millis(20)).await;
    }
    assert!(registry.requests("svc", "k1") >= 3);
    // Only the very first request found no key.
    verifier
        .expect_metric("jwtproxy_key_cache{outcome=\"miss\"}", 1)
        .await;
}
