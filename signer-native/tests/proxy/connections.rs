//! Connections are kept, reused and given up.

use crate::client::{Client, Wire};
use crate::message::{get, text, within};
use crate::running_proxy::{RunningProxy, serve};
use crate::upstream::Upstream;
use signer_native::proxy::{Parts, Settings};
use std::future::pending;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

#[tokio::test]
async fn requests_on_one_connection_share_one_upstream_connection() {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    for _ in 0..5 {
        let response = client.send(get(&upstream.url("/"))).await;
        assert_eq!(text(response).await, "received");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_upstream_request_with_it() {
    let proxy = RunningProxy::start().await;
    let (events, mut seen) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let events = events.clone();
        async move {
            events.send("arrived").unwrap();
            let _cancelled = SendOnDrop(events);
            pending().await
        }
    })
    .await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .await;
    assert_eq!(within(seen.recv()).await, Some("arrived"));
    drop(client);
    assert_eq!(within(seen.recv()).await, Some("cancelled"));
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_and_let_go() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "GET {url} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        ))
        .await;
    let response = client.read_to_end().await;
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nreceived"), "{response}");
    assert_eq!(received.next().await.version(), hyper::Version::HTTP_11);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_header_section_is_let_go() {
    let proxy = RunningProxy::start_with(Settings {
        header_read_timeout: Duration::from_millis(20),
        ..Settings::default()
    })
    .await;
    for beginning in ["", "GET http://a.test/ HTTP/1.1\r\nHost: a."] {
        let mut client = Wire::connect(&proxy).await;
        client.write(beginning).await;
        client.read_to_end().await;
    }
}

#[tokio::test]
async fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (_shutdown, signal) = oneshot::channel();
    let proxy = tokio::spawn(serve(
        listener,
        Parts::default(),
        Settings::default(),
        signal,
    ));
    let (upstream, _received) = Upstream::recording().await;

    let stream = UnixStream::connect(&path).await.unwrap();
    let mut client = Client::over(stream).await;
    let response = client.send(get(&upstream.url("/"))).await;
    assert_eq!(text(response).await, "received");
    proxy.abort();
}

struct SendOnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("cancelled");
    }
}
