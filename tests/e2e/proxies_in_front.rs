use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawRequest, RawUpstream, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;

/// What a stranger may say, or a proxy in front.
const SAID: &str = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.7\r\n\
                    X-Forwarded-Host: app.example\r\nX-Forwarded-Port: 443\r\n\
                    X-Real-IP: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n";

/// The same in names that an upstream could take for those; no proxy writes them.
const DISGUISED: &str = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Host: evil\r\n\
                         X_Forwarded-Proto: evil\r\nX_Real_IP: 6.6.6.6\r\nX-Real_IP: 6.6.6.6\r\n\
                         X-Forwarded-Client_Cert: evil\r\nX-Envoy-External-Address: 6.6.6.6\r\n\
                         X-Envoy-Original-Path: /evil\r\nX_Envoy_Internal: true\r\n";

async fn started(extra: &str) -> (RawUpstream, TestRegistry, Verifier) {
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, extra).await;
    (upstream, registry, verifier)
}

async fn arrived(upstream: &RawUpstream, verifier: &Verifier, said: &str) -> RawRequest {
    let token = tokens::good();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n{said}\
         Authorization: Bearer {token}\r\n\r\n"
    );
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    upstream.received().pop().unwrap()
}

/// The names of fields that speak of the way of a request.
fn names(request: &RawRequest) -> Vec<&str> {
    let names = request
        .fields
        .iter()
        .filter_map(|line| line.split(':').next());
    let mut names: Vec<_> = names
        .filter(|name| {
            let of_way = ["forwarded", "real", "envoy"];
            of_way.iter().any(|part| name.contains(part))
        })
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_stranger_says_of_its_way_arrives() {
    let (upstream, _registry, verifier) = started("").await;
    for said in ["", SAID, DISGUISED, &format!("{SAID}{DISGUISED}")] {
        let request = arrived(&upstream, &verifier, said).await;
        assert_eq!(names(&request), ["x-forwarded-for", "x-forwarded-proto"]);
        assert_eq!(request.values("x-forwarded-proto"), ["http"]);
        let [address] = request.values("x-forwarded-for")[..] else {
            panic!("{request:?}")
        };
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
        assert_ne!(address, "203.0.113.7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trusted_proxy_says_arrives() {
    let (upstream, _registry, verifier) = started("trusted_hops: 1").await;
    let request = arrived(&upstream, &verifier, &format!("{SAID}{DISGUISED}")).await;
    assert_eq!(request.values("x-forwarded-proto"), ["https"]);
    assert_eq!(request.values("x-forwarded-host"), ["app.example"]);
    assert_eq!(request.values("x-real-ip"), ["203.0.113.7"]);
    let addresses = request.values("x-forwarded-for").join(",");
    assert!(addresses.starts_with("203.0.113.7,"), "{addresses}");
    assert_eq!(
        names(&request),
        [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-real-ip",
        ]
    );
    // A proxy that says nothing leaves it to us.
    let request = arrived(&upstream, &verifier, "").await;
    assert_eq!(request.values("x-forwarded-proto"), ["http"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_page_sends_back_to_where_the_client_was() {
    const LOGIN: &str = "auth_redirect_url: https://login.example/";
    for (extra, said, url) in [
        ("", SAID, "http%3A%2F%2Finside%2Fx%3Fy"),
        ("trusted_hops: 1", SAID, "https%3A%2F%2Fapp.example%2Fx%3Fy"),
        ("trusted_hops: 1", "", "http%3A%2F%2Finside%2Fx%3Fy"),
        (
            "trusted_hops: 1\npublic_base_path: /base/",
            SAID,
            "https%3A%2F%2Fapp.example%2Fbase%2Fx%3Fy",
        ),
        (
            "public_base_path: base",
            "",
            "http%3A%2F%2Finside%2Fbase%2Fx%3Fy",
        ),
        ("public_base_path: /", "", "http%3A%2F%2Finside%2Fx%3Fy"),
    ] {
        let (_upstream, _registry, verifier) = started(&format!("{LOGIN}\n{extra}")).await;
        let request =
            format!("GET /x?y HTTP/1.1\r\nHost: inside\r\nConnection: close\r\n{said}\r\n");
        let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
        let location = format!("location: https://login.example/?redirectUrl={url}\r\n");
        assert!(answer.contains(&location), "{extra}: {answer:?}");
    }
}
