//! What clients and servers do that cannot be changed.

use crate::client::{Client, Wire, send};
use crate::connections::{http2_inside_tunnel, interceptor};
use crate::message::{empty, full, get, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::{OneAnswer, Upstream, read_head};
use http_body_util::BodyExt as _;
use hyper::Request;
use signer_native::proxy::{Parts, Settings};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn an_http_1_0_client_is_told_one_thing_about_its_connection() {
    for connection in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
        let proxy = RunningProxy::start().await;
        let (upstream, _received) = Upstream::recording().await;
        let url = upstream.url("/");
        let mut client = Wire::connect(&proxy).await;
        client
            .write(&format!("GET {url} HTTP/1.0\r\n{connection}\r\n"))
            .await;
        let answer = client.read_to_end().await.to_ascii_lowercase();
        assert_eq!(answer.matches("connection:").count(), 1, "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_response_with_thousands_of_fields_arrives() {
    let proxy = RunningProxy::start().await;
    let fields: String = (0..4000)
        .map(|number| format!("X-{number}: v\r\n"))
        .collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
    let server = OneAnswer::start(answer.leak()).await;
    let mut client = Wire::connect(&proxy).await;
    let url = server.url("/");
    client
        .write(&format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(head.matches("\r\nX-").count(), 4000);
}

#[tokio::test]
async fn a_request_with_thousands_of_fields_arrives() {
    let proxy = RunningProxy::start().await;
    let server = OneAnswer::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let fields: String = (0..4000)
        .map(|number| format!("X-{number}: v\r\n"))
        .collect();
    let mut client = Wire::connect(&proxy).await;
    let url = server.url("/");
    client
        .write(&format!(
            "GET {url} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"
        ))
        .await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let received = server.received().await;
    assert_eq!(received.matches("\r\nX-").count(), 4000);
}

#[tokio::test]
async fn what_is_too_large_is_named() {
    let proxy = RunningProxy::start().await;
    let field = "x".repeat(500 << 10);
    let answer = format!("HTTP/1.1 200 OK\r\nX-Large: {field}\r\n\r\n");
    let server = OneAnswer::start(answer.leak()).await;
    let response = send(&proxy, get(&server.url("/"))).await;
    assert_eq!(response.status(), 502);
    let reason = text(response).await;
    assert!(
        reason.contains("the header section of the response"),
        "{reason}"
    );

    let mut client = Wire::connect(&proxy).await;
    let field = "x".repeat(70_000);
    client
        .write(&format!(
            "GET http://a.test/ HTTP/1.1\r\nX: {field}\r\n\r\n"
        ))
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(
        answer.contains("the header section of the request"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_too_large_is_named_over_http_2_as_well() {
    let proxy = RunningProxy::start_from(
        Parts {
            interceptor: Some(interceptor()),
            ..Parts::default()
        },
        Settings::default(),
    )
    .await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = http2_inside_tunnel(&proxy, upstream.address).await;
    let request = Request::get(upstream.url("/"))
        .header("x-large", "x".repeat(100_000))
        .body(empty())
        .unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 431);
    let reason = text(response).await;
    assert!(reason.contains("limits.header_size"), "{reason}");
}

/// What arrives of this target at a server.
async fn target_at_server(target: &str) -> String {
    let proxy = RunningProxy::start().await;
    let server = OneAnswer::start("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let url = server.url(target);
    let mut client = Wire::connect(&proxy).await;
    client
        .write(&format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .await;
    let answer = client.read_head().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
    let received = server.received().await;
    let target = received.strip_prefix("GET ").unwrap();
    target.split_once(" HTTP/1.1\r\n").unwrap().0.to_owned()
}

#[tokio::test]
async fn unusual_bytes_in_urls_pass() {
    for target in ["/{a}|\\^[]\"'%zz?{a}|\\^[]`'%zz&a=b", "/?", "//a//b/../c"] {
        assert_eq!(target_at_server(target).await, target);
    }
    assert_eq!(target_at_server("/?q={\"a\":1}").await, "/?q={%22a%22:1}");
    assert_eq!(target_at_server("/<a>`?<a>`").await, "/%3Ca%3E%60?%3Ca%3E`");
    assert_eq!(target_at_server("/é?é").await, "/%C3%A9?%C3%A9");
}

#[tokio::test]
async fn no_refusal_is_without_a_reason() {
    let proxy = RunningProxy::start().await;
    for (request, reason) in [
        (
            "GET http://a.test/a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "target",
        ),
        ("GET http://a<b.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ("GET http://é.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        (
            "GET http://a.test/ HTTP/2.0\r\nHost: a\r\n\r\n",
            "HTTP/1.0 and HTTP/1.1",
        ),
        ("G T http://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "target"),
        ("G@T http://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
        ("GET\r\nHost: a\r\n\r\n", "begins with"),
        (
            "GET http://a.test/ HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
            "control",
        ),
    ] {
        let mut client = Wire::connect(&proxy).await;
        client.write(request).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert!(
            answer.contains("unable to sign request: "),
            "{request:?}: {answer}"
        );
        assert!(answer.contains(reason), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_gets_its_answer() {
    let proxy = RunningProxy::start().await;
    let upstream = Upstream::start(async |_| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        hyper::Response::new(full("late"))
    })
    .await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    let url = upstream.url("/");
    let request = format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(5), client.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nlate"), "{answer}");
}

/// The server answers, and resets the connection while the client is still sending.
#[tokio::test]
async fn an_early_answer_arrives_while_the_body_is_sent() {
    for _ in 0..5 {
        let proxy = RunningProxy::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            let answer =
                "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Unread, so that this is a reset.
        });
        let client = TcpStream::connect(proxy.address).await.unwrap();
        let (mut from, mut to) = client.into_split();
        let head = format!(
            "POST http://{address}/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8000000\r\n\r\n"
        );
        let sending = tokio::spawn(async move {
            to.write_all(head.as_bytes()).await.unwrap();
            let _ = to.write_all(&[b'x'; 8_000_000]).await;
        });
        let mut answer = String::new();
        within(from.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("large"), "{answer}");
        sending.abort();
    }
}

#[tokio::test]
async fn a_response_that_is_cut_off_arrives_as_far_as_it_came() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let proxy = RunningProxy::start().await;
        let body = if head.ends_with("100") {
            "begun"
        } else {
            "5\r\nbegun\r\n5\r\n"
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        let server = OneAnswer::start(answer.leak()).await;
        let mut client = Client::connect(&proxy).await;
        let response = client.send(get(&server.url("/"))).await;
        let mut body = response.into_body();
        let first = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "begun");
        assert!(within(body.frame()).await.unwrap().is_err());
    }
}

/// Only WebSocket means anything, in a list too; what comes instead of a 101 arrives whole.
#[tokio::test]
async fn an_answer_that_does_not_switch_arrives_whole() {
    for offer in [
        "websocket",
        "websocket, x",
        "h2c, websocket",
        "TLS/1.2",
        "x",
    ] {
        let proxy = RunningProxy::start().await;
        let server = OneAnswer::start(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
        )
        .await;
        let mut client = Wire::connect(&proxy).await;
        let url = server.url("/");
        client
            .write(&format!(
                "GET {url} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                 Upgrade: {offer}\r\n\r\n"
            ))
            .await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("whole"), "{answer}");
        let received = server.received().await.to_ascii_lowercase();
        let passed = received.contains("\r\nupgrade: websocket\r\n");
        assert_eq!(passed, offer.contains("websocket"), "{received}");
        assert_eq!(received.matches("upgrade:").count(), usize::from(passed));
    }
}
