use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawUpstream, Sent, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;

async fn ask(verifier: &Verifier, path: &str, fields: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\
         Authorization: Bearer {}\r\n\r\n",
        tokens::good()
    );
    exchange_bytes(verifier.address(), request.as_bytes()).await
}

fn fields(count: usize) -> String {
    (0..count).map(|i| format!("X-{i}: v\r\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_have_as_many_fields_as_its_bytes_have_room_for() {
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for count in [101, 120, 4000] {
        let answer = ask(&verifier, "/", &fields(count)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{count}: {answer:?}");
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.values(&format!("x-{}", count - 1)), ["v"]);
    }
    // The shortest field there is.
    let answer = ask(&verifier, "/", &"X:\r\n".repeat(14_000)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_told_so() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    // Not much more than is permitted: what Envoy leaves unread resets the connection, and its
    // answer may be lost.
    let large = format!("X-Large: {}\r\n", "a".repeat(61_400));
    let large_target = format!("/{}", "a".repeat(61_400));
    for (path, fields) in [("/", &*large), ("/", &*fields(5700)), (&large_target, "")] {
        let answer = ask(&verifier, path, fields).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
        let reason = "jwtproxy: unable to verify request: its header section has more than 60 KiB";
        assert!(answer.contains(reason), "{answer:?}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_have_many_fields_and_large_ones() {
    let upstream = RawUpstream::start(|request| {
        let path = request.line.split(' ').nth(1).unwrap();
        let (kind, size) = path.trim_start_matches('/').split_once('/').unwrap();
        let size = size.parse().unwrap();
        let fields = match kind {
            "many" => fields(size),
            _ => format!("X-Large: {}\r\n", "a".repeat(size)),
        };
        Sent::Whole(format!(
            "HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"
        ))
    })
    .await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for path in ["/many/120", "/many/10000", "/large/70000", "/large/200000"] {
        let answer = ask(&verifier, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer:.200}");
        assert!(answer.ends_with("\r\n\r\nok"), "{path}");
    }
    for path in ["/many/30000", "/large/300000"] {
        let answer = ask(&verifier, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{path}: {answer:.200}");
        let reason = "or its header section has more than 256 KiB";
        assert!(answer.contains(reason), "{path}: {answer}");
    }
}
