use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use jwtproxy_tests::client::{Answer, Prepared};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;

async fn send(verifier: &Verifier, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "api.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Default::default()).unwrap();
    Prepared::new(verifier.address(), request)
        .await
        .send()
        .await
}

const PREFLIGHT: [(&str, &str); 2] = [
    ("origin", "https://app.example"),
    ("access-control-request-method", "PUT"),
];

#[tokio::test(flavor = "multi_thread")]
async fn excluded_paths_need_no_token_and_nothing_else_gets_in_by_them() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "excludes: [/healthz, \"/static/.*\"]";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    for path in [
        "/healthz",
        "/healthz?verbose",
        "/static/a/b.css",
        "//static/x",
        "/x/../healthz",
    ] {
        // Envoy has made the last two normal before the filter sees them.
        let answer = send(&verifier, "GET", path, &[]).await;
        assert_eq!(answer.code(), 200, "{path}: {answer:?}");
    }
    for path in [
        "/",
        "/healthz/",
        "/healthzz",
        "/static",
        "/static/../admin",
        "/static/%2e%2e/admin",
        "/static/..%2fadmin",
        "/static/..%5cadmin",
        "/static/..\\admin",
        "/static/a%2fb",
    ] {
        let answer = send(&verifier, "GET", path, &[]).await;
        assert_eq!(answer.code(), 403, "{path}: {answer:?}");
    }
    // A preflight is no reason to let a path in that is not excluded.
    assert_eq!(
        send(&verifier, "OPTIONS", "/admin", &PREFLIGHT)
            .await
            .code(),
        403
    );
    assert_eq!(
        send(&verifier, "OPTIONS", "/static/x", &PREFLIGHT)
            .await
            .code(),
        200
    );
    verifier.expect_metric("jwtproxy_exempt", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_pass_where_the_configuration_says_so() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "allow_cors_preflight: true").await;
    assert_eq!(
        send(&verifier, "OPTIONS", "/admin", &PREFLIGHT)
            .await
            .code(),
        200
    );
    assert_eq!(send(&verifier, "OPTIONS", "/admin", &[]).await.code(), 403);
    assert_eq!(
        send(&verifier, "PUT", "/admin", &PREFLIGHT).await.code(),
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_redirected_and_others_are_refused() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "auth_redirect_url: https://login.example/start?client=1";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    let expected = "https://login.example/start?client=1\
                    &redirectUrl=http%3A%2F%2Fapi.example%2Fa%2520b%3Fc%3Dd%26e";
    let forged = format!("Bearer {}", tokens::forged());
    for fields in [
        vec![],
        vec![("authorization", "Bearer x")],
        vec![("authorization", &*forged)],
    ] {
        let answer = send(&verifier, "GET", "/a%20b?c=d&e", &fields).await;
        assert_eq!(answer.code(), 302, "{answer:?}");
        assert_eq!(answer.headers["location"], expected);
    }
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(send(&verifier, "GET", "/", &websocket).await.code(), 403);
    assert_eq!(
        send(&verifier, "OPTIONS", "/", &PREFLIGHT).await.code(),
        403
    );
    let good = format!("Bearer {}", tokens::good());
    assert_eq!(
        send(&verifier, "GET", "/", &[("authorization", &good)])
            .await
            .code(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_as_a_password_or_where_enabled_in_a_cookie() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "auth_cookies_enabled: true").await;
    let basic = format!(
        "Basic {}",
        STANDARD.encode(format!("oauth2:{}", tokens::good()))
    );
    let answer = send(&verifier, "GET", "/", &[("authorization", &basic)]).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    let cookie = format!("a=b; access_token={}; c=d", tokens::good());
    let answer = send(&verifier, "GET", "/", &[("cookie", &cookie)]).await;
    assert_eq!(answer.code(), 200, "{answer:?}");

    let (bearer, cookie) = (tokens::good(), tokens::good());
    let two = [
        ("authorization", &*format!("Bearer {bearer}")),
        ("cookie", &*format!("access_token={cookie}")),
    ];
    let answer = send(&verifier, "GET", "/", &two).await;
    assert_eq!(answer.code(), 403);
    assert!(answer.body.contains("more than one token"), "{answer:?}");
    assert_eq!(
        answer.headers["www-authenticate"],
        "Bearer error=\"invalid_request\""
    );
    let same = [two[0], ("cookie", &*format!("access_token={bearer}"))];
    assert_eq!(send(&verifier, "GET", "/", &same).await.code(), 200);

    let without_cookies = Verifier::start(&upstream, &registry, "").await;
    let answer = send(&without_cookies, "GET", "/", &two[1..]).await;
    assert_eq!(answer.code(), 403, "{answer:?}");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}
