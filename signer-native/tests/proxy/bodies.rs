//! Bodies pass as they come, in both directions.

use crate::client::{Wire, send};
use crate::message::{empty, full, get, next_chunk, request, streamed, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::{OneAnswer, Upstream};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request, Response};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_request_body_arrives_while_the_client_sends_it() {
    let proxy = RunningProxy::start().await;
    let (chunks, mut received) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        let chunks = chunks.clone();
        async move {
            let mut body = request.into_body();
            for _ in 0..2 {
                chunks.send(next_chunk(&mut body).await).unwrap();
            }
            Response::new(empty())
        }
    })
    .await;
    let (mut sender, body) = streamed();
    let request = request("POST", &upstream.url("/"), body);
    let response = tokio::spawn(async move { send(&proxy, request).await });

    sender.send_data(Bytes::from("first")).await.unwrap();
    assert_eq!(within(received.recv()).await.unwrap(), "first");
    sender.send_data(Bytes::from("last")).await.unwrap();
    assert_eq!(within(received.recv()).await.unwrap(), "last");
    drop(sender);
    assert_eq!(within(response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_response_body_arrives_while_the_server_sends_it() {
    let proxy = RunningProxy::start().await;
    let (mut sender, body) = streamed();
    let body = Arc::new(Mutex::new(Some(body)));
    let upstream = Upstream::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Response::new(body) }
    })
    .await;
    let mut response = send(&proxy, get(&upstream.url("/"))).await.into_body();

    sender.send_data(Bytes::from("first")).await.unwrap();
    assert_eq!(next_chunk(&mut response).await, "first");
    sender.send_data(Bytes::from("last")).await.unwrap();
    assert_eq!(next_chunk(&mut response).await, "last");
    drop(sender);
    assert!(within(response.frame()).await.is_none());
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let proxy = RunningProxy::start().await;
    let upstream = Upstream::start(async |request: Request<Incoming>| {
        assert_eq!(request.headers()["te"], "trailers");
        let body = request.into_body().collect().await.unwrap();
        let mut response = Response::new(with_trailers(body.trailers().unwrap().clone()));
        announce_trailers(response.headers_mut());
        response
    })
    .await;
    let sum = HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())]);
    let mut request = request("POST", &upstream.url("/"), with_trailers(sum.clone()));
    announce_trailers(request.headers_mut());
    request
        .headers_mut()
        .insert("TE", "trailers".parse().unwrap());

    let response = send(&proxy, request).await.into_body();
    let body = within(response.collect()).await.unwrap();
    assert_eq!(body.trailers(), Some(&sum));
}

#[tokio::test]
async fn a_get_keeps_its_chunked_body() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "GET {url} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\n\r\n"
        ))
        .await;
    let received = received.next().await;
    assert_eq!(received.into_body().to_bytes(), "body");
}

#[tokio::test]
async fn a_head_response_keeps_the_length_of_what_get_would_give() {
    let proxy = RunningProxy::start().await;
    let upstream = Upstream::start(async |_| Response::new(full("twelve bytes"))).await;
    let response = send(&proxy, request("HEAD", &upstream.url("/"), empty())).await;
    assert_eq!(response.headers()["content-length"], "12");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "POST {url} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\
             Expect: 100-continue\r\n\r\n"
        ))
        .await;
    let interim = client.read_head().await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    client.write("body").await;
    let received = received.next().await;
    assert_eq!(received.into_body().to_bytes(), "body");
}

/// RFC 9112 §11.1, response splitting: whoever believes the length sees a second response.
#[tokio::test]
async fn a_response_with_two_framings_leaves_with_one() {
    let proxy = RunningProxy::start().await;
    let upstream = OneAnswer::start(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\nbody\r\n0\r\n\r\n",
    )
    .await;
    let response = send(&proxy, get(&upstream.url("/"))).await;
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(text(response).await, "body");
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_complete() {
    let proxy = RunningProxy::start().await;
    let upstream =
        OneAnswer::start("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbo").await;
    let response = send(&proxy, get(&upstream.url("/"))).await;
    assert!(within(response.into_body().collect()).await.is_err());
}

fn with_trailers(trailers: HeaderMap) -> crate::message::Body {
    full("content")
        .with_trailers(async { Some(Ok(trailers)) })
        .boxed_unsync()
}

fn announce_trailers(headers: &mut HeaderMap) {
    headers.insert("Trailer", "x-sum".parse().unwrap());
    headers.insert("Transfer-Encoding", "chunked".parse().unwrap());
}
