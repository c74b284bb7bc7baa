use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawUpstream, Sent, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;
use std::time::Duration;
use tokio::time::sleep;

async fn ask(verifier: &Verifier, method: &str, fields: &str, body: &str) -> String {
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\
         Authorization: Bearer {}\r\n\r\n{body}",
        body.len(),
        tokens::good()
    );
    exchange_bytes(verifier.address(), request.as_bytes()).await
}

/// One that closes without an answer on the second request of each connection, as servers do when
/// the request crosses the end of the idle time.
async fn closes_reused_connections() -> RawUpstream {
    RawUpstream::start(|request| match request.number {
        0 => ok("ok"),
        _ => Sent::ThenClose(String::new()),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_connection_that_ends_is_not_noticed_by_safe_requests() {
    let (upstream, registry) = (
        closes_reused_connections().await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for method in ["GET", "GET", "OPTIONS", "GET", "GET", "OPTIONS"] {
        let answer = ask(&verifier, method, "", "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{method}: {answer:?}");
    }
    // The token is used once, however often the request is sent.
    let received = upstream.received();
    assert!(received.iter().any(|request| request.number == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_may_have_acted_on_is_never_sent_again() {
    let (upstream, registry) = (
        RawUpstream::start(|_| Sent::ThenClose(String::new())).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    let invitation = "X-Envoy-Retry-On: reset,5xx,gateway-error\r\nX-Envoy-Max-Retries: 5\r\n\
                      X-Envoy-Hedge-On-Per-Try-Timeout: true\r\n";
    for method in ["POST", "PATCH", "PUT", "DELETE"] {
        for (fields, body) in [("", "order"), ("", ""), (invitation, "order")] {
            let before = upstream.received().len();
            let answer = ask(&verifier, method, fields, body).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
            sleep(Duration::from_millis(300)).await;
            assert_eq!(upstream.received().len(), before + 1, "{method} {body:?}");
        }
    }
    // Nor on a connection that was used before.
    let (upstream, registry) = (
        closes_reused_connections().await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    ask(&verifier, "GET", "", "").await;
    let answer = ask(&verifier, "POST", "", "order").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    sleep(Duration::from_millis(300)).await;
    let received = upstream.received();
    let posts = received.iter().filter(|r| r.line.starts_with("POST "));
    assert_eq!(posts.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let upstream = RawUpstream::start(|_| {
        Sent::ThenClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeg".into())
    })
    .await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    let answer = ask(&verifier, "GET", "", "").await;
    assert!(answer.ends_with("\r\n\r\nbeg"), "{answer:?}");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_an_upstream_end_before_it_ends_them() {
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    ask(&verifier, "POST", "", "1").await;
    // Node, Apache and others wait for 5 s.
    sleep(Duration::from_millis(4900)).await;
    ask(&verifier, "POST", "", "2").await;
    let connections: Vec<_> = upstream.received().iter().map(|r| r.connection).collect();
    assert_eq!(connections, [0, 1]);
}
