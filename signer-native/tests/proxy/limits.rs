//! How much the proxy takes, and from how many.

use crate::client::{Client, Wire};
use crate::message::{get, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use signer_native::proxy::Settings;
use std::time::Duration;

#[tokio::test]
async fn more_connections_than_there_is_room_for_wait_their_turn() {
    let proxy = RunningProxy::start_with(Settings {
        max_connections: 2,
        ..Settings::default()
    })
    .await;
    let (upstream, _received) = Upstream::recording().await;
    let mut first = Client::connect(&proxy).await;
    let mut second = Client::connect(&proxy).await;
    for client in [&mut first, &mut second] {
        text(client.send(get(&upstream.url("/"))).await).await;
    }
    let mut third = Client::connect(&proxy).await;
    let url = upstream.url("/");
    let mut waiting = tokio::spawn(async move { third.send(get(&url)).await.status() });
    let answered = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(answered.is_err());
    drop(first);
    assert_eq!(within(waiting).await.unwrap(), 200);
}

#[tokio::test]
async fn a_large_header_section_is_431() {
    let proxy = RunningProxy::start_with(Settings {
        max_header_size: 8 << 10,
        ..Settings::default()
    })
    .await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let (url, large) = (upstream.url("/"), "x".repeat(16 << 10));
    client
        .write(&format!(
            "GET {url} HTTP/1.1\r\nHost: a.test\r\nX: {large}\r\n\r\n"
        ))
        .await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_connection_on_which_nothing_passes_is_let_go() {
    let proxy = RunningProxy::start_with(Settings {
        idle_timeout: Duration::from_millis(100),
        ..Settings::default()
    })
    .await;
    let upstream = Upstream::start(|_| std::future::pending()).await;
    let mut client = Client::connect(&proxy).await;
    let answer = client.try_send(get(&upstream.url("/"))).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn slow_clients_do_not_hold_others_up() {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = Wire::connect(&proxy).await;
        client
            .write("POST http://a.test/ HTTP/1.1\r\nHost: a.")
            .await;
        slow.push(client);
    }
    let mut quick = Client::connect(&proxy).await;
    let response = quick.send(get(&upstream.url("/"))).await;
    assert_eq!(text(response).await, "received");
}
