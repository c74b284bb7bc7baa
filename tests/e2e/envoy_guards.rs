use hyper::Request;
use jwtproxy_tests::client::{self, Prepared, exchange_bytes};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_is_no_forward_proxy() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for target in [
        "GET http://other.example/",
        "GET https://other.example/",
        "GET http://127.0.0.1:1/",
        "CONNECT other.example:443",
        "OPTIONS *",
    ] {
        let request = format!(
            "{target} HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n\r\n",
            tokens::good()
        );
        let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer:?}");
        let reason = "jwtproxy: unable to verify request: this is no forward proxy";
        assert!(answer.contains(reason), "{target}: {answer:?}");
    }
    assert!(upstream.received().is_empty());
    // Another host's name alone changes nothing: there is one upstream.
    let request = format!(
        "GET /path HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        tokens::good()
    );
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert_eq!(upstream.received()[0]["path"], "/path");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_not_waited_for() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let exchange = exchange_bytes(verifier.address(), b"GET / HTTP/1.1\r\nHost: x\r\n");
    let answer = timeout(Duration::from_secs(30), exchange).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_waits_for_the_key_without_being_held() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let body = "a".repeat(5_000_000);
    // The first request, whose key is yet to be fetched.
    let request = Request::post("/")
        .header("host", "x")
        .header("authorization", format!("Bearer {}", tokens::good()))
        .body(body.clone().into())
        .unwrap();
    let answer = Prepared::new(verifier.address(), request)
        .await
        .send()
        .await;
    assert_eq!(answer.code(), 200, "{:?}", answer.headers);
    assert_eq!(upstream.received()[0]["body"], body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_gets_the_path_that_was_judged() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for (sent, arrives) in [
        ("/a/../b", "/b"),
        ("/a/./b/", "/a/b/"),
        ("//a///b", "/a/b"),
        ("/%61", "/a"),
        ("/a/%2e%2e/b", "/b"),
        ("/a%2Fb%5cc", "/a%2Fb%5cc"),
        ("/../../etc", "/etc"),
    ] {
        let bearer = format!("Bearer {}", tokens::good());
        let answer = client::get(verifier.address(), sent, Some(&bearer)).await;
        assert_eq!(answer.code(), 200, "{sent}: {answer:?}");
        assert_eq!(answer.json()["path"], arrives, "{sent}");
    }
}

/// A filter that fails at every request; the real one is not known to, whatever it is sent.
const CRASHING_FILTER: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 1)
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_crashes_is_a_closed_door() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let module = wat::parse_str(CRASHING_FILTER).unwrap();
    let verifier = Verifier::start_with_filter(&upstream, &registry, module.into()).await;
    let reloaded = async || {
        let path = "/stats?filter=wasm.jwtproxy.vm_reload_success";
        let stats = verifier.ask_admin(path).await;
        !stats.trim_end().ends_with(": 0")
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    // The crash itself, the time without a filter, and the filter that was started anew.
    while !reloaded().await {
        assert!(Instant::now() < deadline, "the filter is not started anew");
        let answer = client::get_with_token(verifier.address(), &tokens::good()).await;
        assert_eq!(answer.code(), 503, "{answer:?}");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(upstream.received().is_empty());
}
