use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawUpstream, Sent};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn token() -> String {
    format!("Authorization: Bearer {}\r\n", tokens::good())
}

async fn started(text: &'static str) -> (RawUpstream, TestRegistry, Verifier) {
    let upstream = RawUpstream::start(move |_| Sent::Whole(text.to_owned())).await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    (upstream, registry, verifier)
}

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_served_and_connection_says_one_thing() {
    for answer in [PLAIN, CHUNKED] {
        let (_upstream, _registry, verifier) = started(answer).await;
        for connection in ["", "Connection: close\r\n", "Connection: keep-alive\r\n"] {
            let keeps = answer == PLAIN && connection.contains("keep-alive");
            let request = format!("GET / HTTP/1.0\r\nHost: x\r\n{connection}{}\r\n", token());
            let mut stream = TcpStream::connect(verifier.address()).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            if keeps {
                while !text.ends_with("\r\n\r\nok") {
                    text.push(char::from(stream.read_u8().await.unwrap()));
                }
                // What it says is true.
                let again = format!("GET / HTTP/1.0\r\nHost: x\r\n{}\r\n", token());
                stream.write_all(again.as_bytes()).await.unwrap();
                let mut rest = String::new();
                stream.read_to_string(&mut rest).await.unwrap();
                assert!(rest.starts_with("HTTP/1.0 200 "), "{rest:?}");
            } else {
                stream.read_to_string(&mut text).await.unwrap();
            }
            assert!(text.starts_with("HTTP/1.0 200 "), "{text:?}");
            assert!(text.ends_with("\r\n\r\nok"), "{text:?}");
            let said: Vec<_> = text
                .lines()
                .filter(|l| l.starts_with("connection: "))
                .collect();
            let expected = if keeps { "keep-alive" } else { "close" };
            assert_eq!(said, [format!("connection: {expected}")], "{text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_without_host_is_one_for_the_audience() {
    let (upstream, _registry, verifier) = started(PLAIN).await;
    let request = format!("GET /healthz HTTP/1.0\r\n{}\r\n", token());
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?}");
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.values("host"), ["api.example"]);
    // HTTP/1.1 demands Host (RFC 9112 §3.2).
    let request = format!("GET / HTTP/1.1\r\n{}\r\n", token());
    let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_verified_like_any_request() {
    let (upstream, _registry, verifier) = started(PLAIN).await;
    let before = upstream.received().len();
    let forged = format!("Authorization: Bearer {}\r\n", tokens::forged());
    for authorization in ["", &forged] {
        for target in ["/", "http://other.example/"] {
            let request = format!("GET {target} HTTP/1.0\r\nHost: x\r\n{authorization}\r\n");
            let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.0 403 "), "{answer:?}");
            assert!(answer.contains("jwtproxy: unable to verify"), "{answer:?}");
        }
    }
    assert_eq!(upstream.received().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_http_1_0_arrives() {
    let (upstream, _registry, verifier) = started(PLAIN).await;
    let request = format!(
        "POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 4\r\n{}\r\nbody",
        token()
    );
    let exchange = exchange_bytes(verifier.address(), request.as_bytes());
    let answer = timeout(Duration::from_secs(30), exchange).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?}");
    assert_eq!(upstream.received().pop().unwrap().body, "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_only_its_end_delimits_arrives() {
    let upstream =
        RawUpstream::start(|_| Sent::ThenClose("HTTP/1.1 200 OK\r\n\r\nto the end".into())).await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for version in ["1.0", "1.1"] {
        let request = format!(
            "GET / HTTP/{version}\r\nHost: x\r\nConnection: close\r\n{}\r\n",
            token()
        );
        let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
        assert!(answer.contains("to the end"), "{answer:?}");
    }
}
