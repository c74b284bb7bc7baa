use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Answer};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, now, with_claim, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use keyregistry_mock::KeyState;
use serde_json::{Value, json};

fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.code(), 403, "{reason}: {answer:?}");
    assert!(
        answer
            .body
            .starts_with("jwtproxy: unable to verify request: "),
        "{answer:?}"
    );
    assert!(
        answer.body.contains(reason),
        "{reason:?} is not in {:?}",
        answer.body
    );
    let types: Vec<_> = answer.headers.get_all("content-type").iter().collect();
    assert_eq!(types, ["text/plain"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_on_tokens_refuses_with_its_reason() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    registry.publish("svc", "pending", KeyState::Pending);
    let extra = "claims_verifiers: [{type: static, options: {iss: svc}}]";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let header = |alg: &str, kid: &str| with_header(&json!({"alg": alg, "kid": kid}));
    let good = tokens::good();
    let (signing_input, _) = good.rsplit_once('.').unwrap();
    let without = |name: &str| {
        let mut claims = tokens::good_claims();
        claims.as_object_mut().unwrap().remove(name);
        TestSigner::service().sign(&claims)
    };
    let null = Value::Null;

    for (token, reason) in [
        ("".to_owned(), "no token"),
        ("nonsense".to_owned(), "malformed token"),
        (format!("{good}="), "malformed token"),
        (format!("{signing_input}."), "the signature does not match"),
        (
            format!("{signing_input}.c2ln"),
            "the signature does not match",
        ),
        (tokens::forged(), "the signature does not match"),
        (header("none", "k1"), "\"alg\" is not accepted"),
        (header("HS256", "k1"), "\"alg\" is not accepted"),
        (header("RS384", "k1"), "the signature does not match"),
        (with_header(&json!({"alg": "RS256"})), "no \"kid\""),
        (
            with_header(&json!({"alg": "RS256", "kid": 1})),
            "\"kid\" of the token is not a string",
        ),
        (
            with_header(&json!({"alg": "RS256", "kid": "k1", "crit": ["x"]})),
            "critical header",
        ),
        (header("RS256", "unknown"), "signing key is unknown"),
        (header("RS256", "pending"), "signing key awaits approval"),
        (header("RS256", ".."), "signing key is unknown"),
        (without("iss"), "no \"iss\""),
        (without("aud"), "no \"aud\""),
        (without("exp"), "no \"exp\""),
        (without("nbf"), "no \"nbf\""),
        (without("iat"), "no \"iat\""),
        (without("jti"), "no \"jti\""),
        (
            with_claim("exp", json!("tomorrow")),
            "\"exp\" of the token is not a date",
        ),
        (
            with_claim("exp", json!(1e300)),
            "\"exp\" of the token is not a date",
        ),
        (
            with_claim("aud", null),
            "\"aud\" of the token is not a string or a list",
        ),
        (
            with_claim("aud", json!("https://other.example")),
            "another audience",
        ),
        (with_claim("exp", json!(now() - 1)), "expired"),
        (with_claim("nbf", json!(now() + 60)), "not valid yet"),
        (
            with_claim("iat", json!(now() + 120)),
            "issued in the future",
        ),
        (with_claim("exp", json!(now() + 600)), "lifetime is longer"),
        (with_claim("iss", json!("other")), "signing key is unknown"),
    ] {
        assert_refused(
            &client::get_with_token(verifier.address(), &token).await,
            reason,
        );
    }
    assert_refused(
        &client::get(verifier.address(), "/", None).await,
        "no token",
    );
    assert!(upstream.received().is_empty());

    assert_eq!(
        client::get_with_token(verifier.address(), &good)
            .await
            .code(),
        200
    );
    verifier.expect_metric("jwtproxy_accepted", 1).await;
    verifier
        .expect_metric("jwtproxy_refused{reason=\"signature\"}", 4)
        .await;
    verifier
        .expect_metric("jwtproxy_refused{reason=\"expired\"}", 1)
        .await;
    verifier
        .expect_metric("jwtproxy_refused{reason=\"replayed\"}", 0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_verifiers_refuse_what_differs() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "claims_verifiers: [{type: static, options: {role: {level: 3}}}]";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let send = async |role: Value| {
        client::get_with_token(verifier.address(), &with_claim("role", role)).await
    };
    assert_eq!(send(json!({"level": 3.0})).await.code(), 200);
    assert_refused(&send(json!({"level": 2})).await, "do not satisfy");
    assert_refused(&send(json!("admin")).await, "do not satisfy");
}

#[tokio::test(flavor = "multi_thread")]
async fn skew_and_lifetime_are_as_configured() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "max_skew: 10m\nmax_ttl: 1h").await;
    let send = async |name: &str, value: i64| {
        let token = with_claim(name, json!(value));
        client::get_with_token(verifier.address(), &token).await
    };
    assert_eq!(send("iat", now() + 500).await.code(), 200);
    assert_refused(&send("iat", now() + 700).await, "issued in the future");
    assert_eq!(send("exp", now() + 3500).await.code(), 200);
    assert_refused(&send("exp", now() + 3700).await, "lifetime is longer");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_keys_are_refused_by_what_the_registry_says() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let past = jwt_core::time::Timestamp::from_seconds(now() - 10);
    registry.publish("svc", "old", KeyState::Approved);
    assert!(registry.store().set_expiry("svc", "old", past).unwrap());
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let token = with_header(&json!({"alg": "RS256", "kid": "old"}));
    let answer = client::get_with_token(verifier.address(), &token).await;
    assert_refused(&answer, "expired or was revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_algorithm_that_is_not_in_the_list_is_refused_before_its_key_is_fetched() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "algorithms: [ES256, EdDSA]").await;
    for token in [
        tokens::good(),
        with_header(&json!({"alg": "PS256", "kid": "k1"})),
    ] {
        let answer = client::get_with_token(verifier.address(), &token).await;
        assert_refused(&answer, "\"alg\" is not accepted");
    }
    assert_eq!(registry.requests("svc", "k1"), 0);
    let verifier = Verifier::start(&upstream, &registry, "algorithms: [RS256]").await;
    let answer = client::get_with_token(verifier.address(), &tokens::good()).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
}
