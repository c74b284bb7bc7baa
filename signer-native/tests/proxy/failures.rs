//! When the upstream does not answer, the proxy does: 502 and a reason without secrets.

use crate::client::{Client, Wire, send};
use crate::message::{get, text};
use crate::running_proxy::RunningProxy;
use crate::upstream::{OneAnswer, Upstream};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_refused_connection_is_502() {
    let proxy = RunningProxy::start().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let url = format!("http://user:secret@{address}/?token=secret");
    let reason = bad_gateway(&proxy, &url).await;
    assert!(reason.contains("Connection refused"), "{reason}");
    assert!(reason.contains(&address.to_string()), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_502() {
    let proxy = RunningProxy::start().await;
    let upstream = OneAnswer::start("").await;
    let reason = bad_gateway(&proxy, &upstream.url("/")).await;
    assert!(reason.contains("no answer from"), "{reason}");
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http_is_502() {
    let proxy = RunningProxy::start().await;
    let upstream = OneAnswer::start("220 mail.test ESMTP\r\n\r\n").await;
    let reason = bad_gateway(&proxy, &upstream.url("/")).await;
    assert!(reason.contains("no answer from"), "{reason}");
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_502() {
    let proxy = RunningProxy::start().await;
    let upstream =
        OneAnswer::start("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await;
    let reason = bad_gateway(&proxy, &upstream.url("/")).await;
    assert!(reason.contains("switched protocols"), "{reason}");
}

#[tokio::test]
async fn a_transfer_coding_that_nobody_asked_for_is_502() {
    let proxy = RunningProxy::start().await;
    let upstream =
        OneAnswer::start("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
            .await;
    let reason = bad_gateway(&proxy, &upstream.url("/")).await;
    assert!(reason.contains("transfer coding \"gzip\""), "{reason}");
}

#[tokio::test]
async fn a_request_body_that_is_no_chunked_body_is_the_clients_fault() {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "POST {url} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
        ))
        .await;
    let response = client.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(
        response.contains("the request body broke off"),
        "{response}"
    );
}

#[tokio::test]
async fn a_failure_leaves_the_clients_connection_usable() {
    let proxy = RunningProxy::start().await;
    let failing = OneAnswer::start("").await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.send(get(&failing.url("/"))).await.status(), 502);
    assert_eq!(client.send(get(&upstream.url("/"))).await.status(), 200);
}

/// The reason in the 502 that a GET of `url` gets.
async fn bad_gateway(proxy: &RunningProxy, url: &str) -> String {
    let response = send(proxy, get(url)).await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["content-type"], "text/plain");
    let body = text(response).await;
    let reason = body.strip_prefix("jwtproxy: unable to sign request: ");
    reason.unwrap().to_owned()
}
