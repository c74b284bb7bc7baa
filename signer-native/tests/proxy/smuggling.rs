//! Requests whose end two servers would find at different places (RFC 9112 §11.2), byte for byte.

use crate::client::Wire;
use crate::message::empty;
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Request, Response};

#[tokio::test]
async fn both_lengths_are_refused() {
    refused("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    refused("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn several_lengths_are_refused() {
    refused("Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody").await;
    refused("Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody").await;
    refused("Content-Length: 4, 4\r\n\r\nbody").await;
}

#[tokio::test]
async fn odd_lengths_are_refused() {
    for length in ["+4", "-4", "0x4", "4 4", "", "4;", "\u{0664}"] {
        refused(&format!("Content-Length: {length}\r\n\r\nbody")).await;
    }
}

#[tokio::test]
async fn odd_transfer_codings_are_refused() {
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked\r\nTransfer-Encoding: identity",
        "\x0bchunked",
        "",
    ] {
        refused(&format!("Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn folded_fields_are_refused() {
    refused("X-Folded: one\r\n two\r\n\r\n").await;
    refused("X-Folded: one\r\n\tContent-Length: 4\r\n\r\nbody").await;
    refused(" X-First: one\r\n\r\n").await;
}

#[tokio::test]
async fn whitespace_before_the_colon_is_refused() {
    refused("Content-Length : 4\r\n\r\nbody").await;
    refused("Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn other_line_ends_are_refused() {
    refused("X: 1\nContent-Length: 4\r\n\r\nbody").await;
    refused("X: 1\rContent-Length: 4\r\n\r\nbody").await;
    refused("X: 1\r\nContent-Length: 4\n\nbody").await;
    refused("X: \0\r\n\r\n").await;
}

#[tokio::test]
async fn a_second_request_is_judged_by_itself() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "POST {url} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\n\r\n\
             POST {url} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
        ))
        .await;
    let answers = client.read_to_end().await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(
        answers.contains("\r\n\r\nreceivedHTTP/1.1 400 "),
        "{answers}"
    );
    assert_eq!(received.next().await.into_body().to_bytes(), "body");
}

/// A chunked body whose last chunk hides a request: what is behind the end is a request like any
/// other, with a token of its own, never a part of the body.
#[tokio::test]
async fn what_follows_a_body_is_a_request_of_its_own() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "POST {url}1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\nGET {url}2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        ))
        .await;
    client.read_to_end().await;
    let (first, second) = (received.next().await, received.next().await);
    assert_eq!((first.uri().path(), second.uri().path()), ("/1", "/2"));
    assert_ne!(
        first.headers()["authorization"],
        second.headers()["authorization"]
    );
}

/// hyper reads both bodies to an end.
#[tokio::test]
async fn what_follows_a_malformed_chunked_body_is_no_request() {
    for body in ["0000000000000000\r\n\r\n", "0\r\nX: 1\n\r\n\r\n"] {
        let proxy = RunningProxy::start().await;
        let upstream = Upstream::start(async |request: Request<Incoming>| {
            let _ = request.into_body().collect().await;
            Response::new(empty())
        })
        .await;
        let mut client = Wire::connect(&proxy).await;
        let url = upstream.url("/");
        client
            .write(&format!(
                "POST {url}1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
                 POST {url}2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\
                 Content-Length: 2\r\nConnection: close\r\n\r\nok"
            ))
            .await;
        let answers = client.read_to_end().await;
        assert!(answers.starts_with("HTTP/1.1 400 "), "{body:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
}

/// Sends a POST that goes on with `rest`.
async fn refused(rest: &str) {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!("POST {url} HTTP/1.1\r\nHost: a.test\r\n{rest}"))
        .await;
    let response = client.read_to_end().await;
    assert!(
        response.starts_with("HTTP/1.1 400 "),
        "{rest:?}: {response}"
    );
    assert!(
        response.contains("jwtproxy: unable to sign request: "),
        "{rest:?}: {response}"
    );
    assert_eq!(upstream.connections(), 0, "{rest:?}");
}
