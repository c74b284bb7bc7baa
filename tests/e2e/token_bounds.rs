use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Answer};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{good_claims, with_claim, with_header};
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::json;
use std::net::SocketAddr;

/// A token with a good signature over claims that no JSON library would write: `member` stands
/// before good ones.
fn with_member(member: &[u8]) -> String {
    let claims = good_claims().to_string();
    let claims = [b"{", member, b",", &claims.as_bytes()[1..]].concat();
    TestSigner::service().sign_bytes(br#"{"alg":"RS256","kid":"k1"}"#, &claims)
}

/// A good token of at least that many bytes.
fn of_size(size: usize) -> String {
    let short = with_claim("filling", json!(""));
    with_claim(
        "filling",
        json!("x".repeat((size - short.len()) * 3 / 4 + 3)),
    )
}

/// A header field, and what it is with a token.
type Carrier = (&'static str, fn(&str) -> String);

fn assert_malformed(answer: &Answer) {
    assert_eq!(answer.code(), 403, "{answer:?}");
    assert!(answer.body.contains("malformed token"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_claims_cannot_be_read_is_malformed_and_loses_no_claim_header() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "claim_to_headers: [{claim_name: iss, header_name: x-jwt-iss}]\n\
                 forward_payload_header: x-jwt-payload";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let ask = async |token: String| client::get_with_token(verifier.address(), &token).await;

    let deep = |levels| format!(r#""a":{}{}"#, "[".repeat(levels), "]".repeat(levels));
    for member in [
        br#""name":"\ud800""#.to_vec(),
        br#""n":1e999"#.to_vec(),
        b"\"name\":\"\xff\"".to_vec(),
        br#""sub":"a","sub":"b""#.to_vec(),
        deep(64).into(),
        deep(130).into(),
        deep(5000).into(),
    ] {
        assert_malformed(&ask(with_member(&member)).await);
    }
    assert!(upstream.received().is_empty());

    let member = format!(r#"{},"name":"\ud83d\ude00","n":1e308"#, deep(63));
    let token = with_member(member.as_bytes());
    let answer = ask(token.clone()).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let payload = token.split('.').nth(1).unwrap();
    assert!(answer.body.contains("x-jwt-iss: svc"), "{answer:?}");
    assert!(answer.body.contains(&format!("x-jwt-payload: {payload}")));
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_too_large_is_refused_whatever_carries_it() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "cookies_enabled: true").await;
    let address = verifier.address();
    let carriers: [Carrier; 3] = [
        ("authorization", |token| format!("Bearer {token}")),
        ("authorization", |token| {
            format!("Basic {}", STANDARD.encode(format!("oauth2:{token}")))
        }),
        ("cookie", |token| format!("a=b; access_token={token}")),
    ];
    for (name, value) in carriers {
        let largest = of_size(16_300);
        assert!(largest.len() <= 16 * 1024);
        assert_eq!(ask_with(address, name, &value(&largest)).await.code(), 200);
        let answer = ask_with(address, name, &value(&of_size(16 * 1024 + 1))).await;
        assert_eq!(answer.code(), 403, "{name}");
        assert!(answer.body.contains("max_token_size"), "{answer:?}");
    }
    verifier
        .expect_metric("jwtproxy_refused{reason=\"too_large\"}", 3)
        .await;

    let verifier = Verifier::start(&upstream, &registry, "max_token_size: 40000").await;
    let answer = client::get_with_token(verifier.address(), &of_size(39_000)).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let answer = client::get_with_token(verifier.address(), &of_size(40_001)).await;
    assert_eq!(answer.code(), 403, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_names_is_bounded() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let long = "x".repeat(1025);
    for token in [
        with_claim("iss", json!(long)),
        with_claim("jti", json!(long)),
        with_claim("aud", json!(long)),
        with_claim("aud", json!(["https://api.example", long])),
        with_claim("aud", json!(vec!["https://api.example"; 101])),
        with_header(&json!({"alg": "RS256", "kid": long})),
    ] {
        let answer = client::get_with_token(verifier.address(), &token).await;
        assert_eq!(answer.code(), 403, "{answer:?}");
        assert!(answer.body.contains(" at most "), "{answer:?}");
    }
    verifier
        .expect_metric("jwtproxy_refused{reason=\"malformed\"}", 6)
        .await;
    assert!(upstream.received().is_empty());
}

async fn ask_with(address: SocketAddr, name: &str, value: &str) -> Answer {
    let mut request = client::request(address, "/", None);
    request.headers_mut().insert(
        http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
        value.parse().unwrap(),
    );
    client::Prepared::new(address, request).await.send().await
}
