use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use jwtproxy_tests::client::{Answer, Prepared, exchange_bytes};
use jwtproxy_tests::own_envoy::OwnEnvoy;
use jwtproxy_tests::raw_upstream::{RawUpstream, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use std::net::SocketAddr;
use std::path::Path;

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

/// What is open, and what each of these might become behind it.
const ODD_PATHS: [&str; 30] = [
    "/static/..;/admin",
    "/static/..;x=y/admin",
    "/static/..%3b/admin",
    "/static/..%3B/admin",
    "/static/.;/../admin",
    "/static/%252e%252e/admin",
    "/static/%25252e%25252e/admin",
    "/static/.%252e/admin",
    "/static/%252e%252e%252fadmin",
    "/static/%c0%ae%c0%ae/admin",
    "/static/%c0%2e%c0%2e/admin",
    "/static/%e0%80%ae%e0%80%ae/admin",
    "/static/..%c0%afadmin",
    "/static/..%252fadmin",
    "/static/..%255cadmin",
    "/static/..%ef%bc%8fadmin",
    "/static/%ef%bc%8e%ef%bc%8e/admin",
    "/static/%u002e%u002e/admin",
    "/static/..%20/admin",
    "/static/.../admin",
    "/static/%00",
    "/static/x%0d%0aHost:%20admin",
    "/static/x%0a",
    "/static/%09",
    "/static/%1f",
    "/static/%7f",
    "/static/%c2%85",
    "/static/%e2%80%8b",
    "/static/a%3fb",
    "/static/%",
];

/// Written as they are, since a client's library would put some of them right.
async fn get_raw(address: SocketAddr, path: &[u8]) -> String {
    let head = b" HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
    let request = [b"GET ", path, head].concat();
    let answer = exchange_bytes(address, &request).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_servers_may_read_otherwise_needs_a_token() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let extra = "excludes: [\"/static/.*\", \"/.*[.]css\"]";
    let verifier = Verifier::start(&upstream, &registry, extra).await;
    for path in ODD_PATHS {
        let status = get_raw(verifier.address(), path.as_bytes()).await;
        assert!(status == "403" || status == "400", "{path}: {status}");
    }
    for path in [
        b"/admin;.css".as_slice(),
        b"/admin%00.css",
        b"/admin%3f.css",
        b"/admin%23.css",
        b"/admin#.css",
        b"/static/caf\xc3\xa9",
        b"/static/\x80",
        b"/static/\x01",
        b"/static/.\t./admin",
        b"/static/%2\te%2e/admin",
        b"/static/.\t.\\admin",
    ] {
        let status = get_raw(verifier.address(), path).await;
        let shown = path.escape_ascii();
        assert!(status == "403" || status == "400", "{shown}: {status}");
    }
    assert!(upstream.received().is_empty());
    for path in [
        "/static/a%20b",
        "/static/caf%C3%A9",
        "/static/.well-known/x",
        "/static/@scope/x(1)~.js?../%2e%2e/;",
        "/a/b.css",
    ] {
        let status = get_raw(verifier.address(), path.as_bytes()).await;
        assert_eq!(status, "200", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_needs_a_token() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "excludes: [\"/.*\"]").await;
    for (length, status) in [(4096, "200"), (4097, "403"), (50_000, "403")] {
        let path = format!("/{}", "a".repeat(length - 1));
        assert_eq!(get_raw(verifier.address(), path.as_bytes()).await, status);
    }
}

/// What counts is the path that the upstream gets: Envoy makes it normal before the filter sees it,
/// where it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn an_exempt_path_is_the_one_that_the_upstream_gets() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "excludes: [/healthz]").await;
    let spellings = [
        "/healthz",
        "//healthz",
        "/x/../healthz",
        "/./healthz",
        "///x/%2e%2E//healthz",
    ];
    for path in spellings {
        assert_eq!(
            get_raw(verifier.address(), path.as_bytes()).await,
            "200",
            "{path}"
        );
    }
    let received = upstream.received();
    assert_eq!(received.len(), spellings.len());
    for request in received {
        assert_eq!(request["path"], "/healthz");
    }

    // An Envoy that hands paths on as they come.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/examples/http_filters.yaml");
    let example = std::fs::read_to_string(example).unwrap();
    let as_they_come = |bootstrap: String| {
        let bootstrap = bootstrap.replace("normalize_path: true", "normalize_path: false");
        let bootstrap = bootstrap.replace("merge_slashes: true", "merge_slashes: false");
        bootstrap.replace("max_ttl: 5m", "excludes: [/healthz, \"/static/.*\"]")
    };
    let (api, registry) = (upstream.address(), registry.address());
    let envoy = OwnEnvoy::start_changed(&example, api, registry, as_they_come).await;
    assert_eq!(get_raw(envoy.address(), b"/healthz").await, "200");
    let odd = [
        "/static/../admin",
        "/static/%2e%2e/admin",
        "/static/..\\admin",
        "/static//x",
    ];
    for path in spellings[1..].iter().chain(&odd).chain(&ODD_PATHS) {
        let status = get_raw(envoy.address(), path.as_bytes()).await;
        assert!(status == "403" || status == "400", "{path}: {status}");
    }
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

    let (one, other) = (tokens::good(), tokens::good());
    let two = format!("access_token={one}; access_token={other}");
    let answer = send(&verifier, "GET", "/", &[("cookie", &two)]).await;
    assert_eq!(answer.code(), 403);
    assert!(answer.body.contains("more than one token"), "{answer:?}");
    assert_eq!(
        answer.headers["www-authenticate"],
        "Bearer error=\"invalid_request\""
    );
    let same = format!("access_token={one}; access_token={one}");
    let answer = send(&verifier, "GET", "/", &[("cookie", &same)]).await;
    assert_eq!(answer.code(), 200, "{answer:?}");

    let without_cookies = Verifier::start(&upstream, &registry, "").await;
    let answer = send(&without_cookies, "GET", "/", &[("cookie", &two)]).await;
    assert_eq!(answer.code(), 403, "{answer:?}");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_beside_a_good_authorization_is_not_looked_at_and_does_not_arrive() {
    let upstream = RawUpstream::start(|_| ok("ok")).await;
    let registry = TestRegistry::start().await;
    let cookies = "cookies_enabled: true";
    let verifier = Verifier::start_before(upstream.address(), &registry, cookies).await;
    let stale = tokens::with_claim("exp", 1.into());
    for name in [
        "access_token",
        "Access_Token",
        "access_token ",
        "access%5Ftoken",
    ] {
        let token = tokens::good();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Cookie: a=b; {name}={stale}; c=d\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        let request = upstream.received().pop().unwrap();
        assert_eq!(request.values("cookie"), ["a=b; c=d"], "{name}");
        assert_eq!(request.values("authorization").len(), 1);
    }
    let token = tokens::good();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {stale}\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer:?}");
}
