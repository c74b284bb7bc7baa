//! CONNECT where the policy says that the bytes are none of our business.

use crate::client::Wire;
use crate::message::within;
use crate::running_proxy::RunningProxy;
use signer_native::policy::{Action, HostPattern, Policy, Rule};
use signer_native::proxy::{Parts, Settings};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[tokio::test]
async fn bytes_pass_untouched_in_both_directions() {
    let (proxy, server) = proxy_and_server(Settings::default()).await;
    let (mut client, mut server) = tunnel(&proxy, &server).await;
    client.write("\0 no HTTP at all\n").await;
    let mut arrived = [0; 17];
    within(server.read_exact(&mut arrived)).await.unwrap();
    assert_eq!(&arrived, b"\0 no HTTP at all\n");
    server.write_all(b"220 hello").await.unwrap();
    drop(server);
    assert_eq!(client.read_to_end().await, "220 hello");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_502() {
    let (proxy, server) = proxy_and_server(Settings::default()).await;
    let address = server.local_addr().unwrap();
    drop(server);
    let mut client = Wire::connect(&proxy).await;
    client
        .write(&format!(
            "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"
        ))
        .await;
    let answer = client.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn a_tunnel_that_ends_in_time_is_not_cut_by_the_shutdown() {
    let (mut proxy, server) = proxy_and_server(Settings::default()).await;
    let (mut client, mut server) = tunnel(&proxy, &server).await;
    proxy.shut_down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!proxy.has_ended());
    client.write("last words").await;
    let mut arrived = [0; 10];
    within(server.read_exact(&mut arrived)).await.unwrap();
    drop(server);
    client.read_to_end().await;
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn a_tunnel_that_does_not_end_is_cut_by_the_shutdown_timeout() {
    let settings = Settings {
        shutdown_timeout: Duration::from_millis(50),
        ..Settings::default()
    };
    let (mut proxy, server) = proxy_and_server(settings).await;
    let (mut client, _server) = tunnel(&proxy, &server).await;
    proxy.shut_down();
    proxy.end().await;
    client.read_to_end().await;
}

#[tokio::test]
async fn a_tunnel_takes_the_place_of_a_connection_until_its_end() {
    let settings = Settings {
        max_connections: 1,
        ..Settings::default()
    };
    let (proxy, server) = proxy_and_server(settings).await;
    let (first, first_at_server) = tunnel(&proxy, &server).await;
    let mut second = pin!(tunnel(&proxy, &server));
    let opened = timeout(Duration::from_millis(200), &mut second).await;
    assert!(opened.is_err());
    drop((first, first_at_server));
    within(second).await;
}

async fn proxy_and_server(settings: Settings) -> (RunningProxy, TcpListener) {
    let parts = Parts {
        policy: Policy::new(vec![Rule {
            host: HostPattern::parse("*").unwrap(),
            port: None,
            action: Action::Tunnel,
            beside_registry: false,
        }]),
        ..Parts::default()
    };
    let proxy = RunningProxy::start_from(parts, settings).await;
    (proxy, TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// The client's end and the server's.
async fn tunnel(proxy: &RunningProxy, server: &TcpListener) -> (Wire, TcpStream) {
    let address = server.local_addr().unwrap();
    let mut client = Wire::connect(proxy).await;
    client
        .write(&format!(
            "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n"
        ))
        .await;
    let head = client.read_head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let (stream, _) = within(server.accept()).await.unwrap();
    (client, stream)
}
