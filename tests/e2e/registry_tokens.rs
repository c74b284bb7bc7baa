use jwt_core::key::KeyName;
use jwt_core::registry_token::{CLAIM, RegistryCall, TYPE};
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{good_claims, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::{Value, json};

fn header(typ: Value, kid: &str) -> Value {
    json!({"alg": "RS256", "kid": kid, "typ": typ})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_the_registry_is_refused_before_a_key_is_fetched_or_a_nonce_claimed() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    // A man in the middle, or a registry, that uses what it got as a token on a request.
    let call = RegistryCall::revoke(&KeyName::new("svc".into(), "k1".into()).unwrap(), b"");
    let mut claims = good_claims();
    claims[CLAIM] = json!(call);
    let spellings = [
        TYPE,
        "application/jwtproxy-registry+jwt",
        "JWTProxy-Registry+JWT",
        "APPLICATION/JWTPROXY-REGISTRY+JWT",
        "jwtproxy-registry+jwt; charset=utf-8",
    ];
    for typ in spellings {
        for kid in ["k1", "unknown"] {
            for claims in [&claims, &good_claims()] {
                let token = TestSigner::service().sign_with(&header(json!(typ), kid), claims);
                let answer = client::get_with_token(verifier.address(), &token).await;
                assert_eq!(answer.code(), 403, "{typ}");
                assert!(answer.body.contains("for a key registry"), "{answer:?}");
            }
        }
    }
    assert!(upstream.received().is_empty());
    let fetches = ["k1", "unknown"].map(|kid| registry.requests("svc", kid));
    assert_eq!(fetches, [0, 0]);
    verifier
        .expect_metric("jwtproxy_refused{reason=\"registry_token\"}", 20)
        .await;
    // The same claims as a token on a request: the nonce is still unused.
    let token = TestSigner::service().sign_with(&header(json!("JWT"), "k1"), &claims);
    let answer = client::get_with_token(verifier.address(), &token).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_without_type_and_of_other_types_are_accepted() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for header in [
        json!({"alg": "RS256", "kid": "k1"}),
        header(json!("JWT"), "k1"),
        header(json!("at+jwt"), "k1"),
        header(json!("application/jwt"), "k1"),
    ] {
        let token = with_header(&header);
        let answer = client::get_with_token(verifier.address(), &token).await;
        assert_eq!(answer.code(), 200, "{header}");
    }
}
