use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Request;
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{Answer, Prepared};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::{Value, json};

const EXTRA: &str = "
excludes: [/open]
cookies_enabled: true
forward: false
forward_payload_header: x-jwt-payload
claim_to_headers:
- {claim_name: sub, header_name: X-Jwt-Sub}
- {claim_name: roles, header_name: x-jwt-roles}
- {claim_name: evil, header_name: x-jwt-evil}
";

async fn send(verifier: &Verifier, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("host", "api.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Default::default()).unwrap();
    Prepared::new(verifier.address(), request)
        .await
        .send()
        .await
}

/// The header lines that the upstream received, of those that matter here.
fn received(answer: &Answer) -> Vec<String> {
    let headers = answer.json()["headers"].as_array().unwrap().clone();
    let lines = headers.iter().map(|line| line.as_str().unwrap().to_owned());
    let mut lines: Vec<_> = lines
        .filter(|line| {
            ["x-jwt", "x_jwt", "authorization", "cookie"]
                .iter()
                .any(|p| line.starts_with(p))
        })
        .collect();
    lines.sort();
    lines
}

fn token(more: &Value) -> (String, Value) {
    let mut claims = tokens::good_claims();
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    (TestSigner::service().sign(&claims), claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_gets_the_claims_and_not_the_token() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, EXTRA).await;
    let more = json!({"sub": "me", "roles": ["a", "b"], "evil": "x\r\nx-jwt-sub: root"});
    // The first request waits for its key, the second does not: both ways must do the same.
    for _ in 0..2 {
        let (token, claims) = token(&more);
        let bearer = format!("Bearer {token}");
        let fields = [
            ("authorization", bearer.as_str()),
            ("x-jwt-sub", "root"),
            ("X-JWT-Roles", "admin"),
            ("x_jwt_sub", "root"),
            ("x-jwt_roles", "admin"),
            ("x-jwt-evil", "yes"),
            ("x-jwt-payload", "forged"),
        ];
        let answer = send(&verifier, "/", &fields).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        assert_eq!(
            received(&answer),
            [
                format!("x-jwt-payload: {payload}"),
                "x-jwt-roles: a,b".into(),
                "x-jwt-sub: me".into()
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_cookie_is_taken_out_and_other_cookies_stay() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, EXTRA).await;
    let (token, _) = token(&json!({}));
    let cookie = format!("a=b; access_token={token}; c=d");
    let answer = send(
        &verifier,
        "/",
        &[("cookie", &cookie), ("authorization", "Basic eDp5")],
    )
    .await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let lines = received(&answer);
    assert_eq!(
        lines[..2],
        ["authorization: Basic eDp5", "cookie: a=b; c=d"],
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nobody_can_claim_anything() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, EXTRA).await;
    let answer = send(
        &verifier,
        "/open",
        &[("x-jwt-sub", "root"), ("x-jwt-payload", "x")],
    )
    .await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert!(received(&answer).is_empty(), "{answer:?}");
}
