use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Request;
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{Answer, Prepared, exchange_bytes};
use jwtproxy_tests::raw_upstream::{RawUpstream, ok};
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
                "x-jwt-evil: x%0D%0Ax-jwt-sub: root".into(),
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
        &[
            ("x-jwt-sub", "root"),
            ("X-JWT-ROLES", "admin"),
            ("x_jwt_sub", "root"),
            ("x-jwt_roles", "admin"),
            ("x-jwt-payload", "x"),
            ("x_jwt_payload", "x"),
        ],
    )
    .await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert!(received(&answer).is_empty(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_arrives_as_no_string_does() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, EXTRA).await;
    let mut seen = Vec::new();
    for roles in [
        json!(["a", "b"]),
        json!("a,b"),
        json!(["a,b", "c"]),
        json!("a%2Cb"),
        json!("J\u{fc}rgen"),
    ] {
        let (token, _) = token(&json!({ "roles": roles }));
        let bearer = format!("Bearer {token}");
        let answer = send(&verifier, "/", &[("authorization", &bearer)]).await;
        let line = received(&answer).pop().unwrap();
        seen.push(line);
    }
    assert_eq!(
        seen,
        [
            "x-jwt-roles: a,b",
            "x-jwt-roles: a%2Cb",
            "x-jwt-roles: a%2Cb,c",
            "x-jwt-roles: a%252Cb",
            "x-jwt-roles: J%C3%BCrgen",
        ]
    );
}

/// They go on unless configured otherwise, since they may be the upstream's own.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_verified_stop_here_if_so_configured() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let forged = format!("Bearer {}", tokens::forged());
    let two = format!("{forged},{forged}");
    for (configured, goes_on) in [("", true), ("forward_unverified: false", false)] {
        let extra = format!("excludes: [/open]\ncookies_enabled: true\n{configured}");
        let verifier = Verifier::start(&upstream, &registry, &extra).await;
        for authorization in [forged.as_str(), two.as_str(), "Basic eDp5", "bearer\tx"] {
            let fields = [
                ("authorization", authorization),
                ("cookie", "a=b; access_token=x"),
            ];
            let answer = send(&verifier, "/open", &fields).await;
            assert_eq!(answer.code(), 200, "{answer:?}");
            let expected = match goes_on {
                true => vec![
                    format!("authorization: {authorization}"),
                    "cookie: a=b; access_token=x".into(),
                ],
                false => vec!["cookie: a=b".into()],
            };
            assert_eq!(received(&answer), expected);
        }
        // What is verified is not concerned.
        let (token, _) = token(&json!({}));
        let bearer = format!("Bearer {token}");
        let answer = send(&verifier, "/", &[("authorization", &bearer)]).await;
        assert_eq!(received(&answer), [format!("authorization: {bearer}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_inside_an_object_has_a_field_of_its_own() {
    let extra = "claim_to_headers:\n- {claim_name: realm_access.roles, header_name: x-roles}\n\
                 - {claim_name: \"https://idp.example/org\", header_name: x-org}";
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, extra).await;
    let mut claims = tokens::good_claims();
    claims["realm_access"] = json!({"roles": ["a", "b"]});
    claims["https://idp.example/org"] = "acme".into();
    let token = TestSigner::service().sign(&claims);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Roles: admin\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.values("x-roles"), ["a,b"]);
    assert_eq!(received.values("x-org"), ["acme"]);
}
