//! How much the proxy takes, and from how many.

use crate::client::{Client, Wire};
use crate::message::{full, get, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use hyper::Response;
use signer_native::proxy::Settings;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn while_all_connections_have_requests_in_flight_more_wait_their_turn() {
    let proxy = RunningProxy::start_with(Settings {
        max_connections: 2,
        ..Settings::default()
    })
    .await;
    let (upstream, release) = Upstream::held().await;
    let url = upstream.url("/");
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let (url, address) = (url.clone(), proxy.address);
            tokio::spawn(async move { one(address, HERE, &url).await })
        })
        .collect();
    while upstream.connections() < 2 {
        tokio::task::yield_now().await;
    }
    let third = one(proxy.address, ELSEWHERE, &url);
    let mut third = std::pin::pin!(third);
    let answered = tokio::time::timeout(Duration::from_millis(200), &mut third).await;
    assert!(answered.is_err());
    release.send(true).unwrap();
    for client in busy {
        assert!(within(client).await.unwrap().starts_with("HTTP/1.1 200 "));
    }
    assert!(within(third).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_unused_connection_closes_for_a_new_one() {
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
    assert_eq!(third.send(get(&upstream.url("/"))).await.status(), 200);
    first.closed().await;
    assert_eq!(second.send(get(&upstream.url("/"))).await.status(), 200);
}

/// Silent, and some that drip: a header section that never ends.
#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_out() {
    let proxy = RunningProxy::start_with(Settings {
        max_connections: 40,
        ..Settings::default()
    })
    .await;
    let (upstream, release) = Upstream::held().await;
    let url = upstream.url("/");
    let in_flight = {
        let (url, address) = (url.clone(), proxy.address);
        tokio::spawn(async move { one(address, HERE, &url).await })
    };
    while upstream.connections() < 1 {
        tokio::task::yield_now().await;
    }
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = connect(proxy.address, HERE).await;
        if number % 2 == 0 {
            stream.write_all(b"GET http://a.te").await.unwrap();
        }
        silent.push(stream);
    }
    release.send(true).unwrap();
    for source in [ELSEWHERE, HERE] {
        for _ in 0..10 {
            let answer = one(proxy.address, source, &url).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
    let answer = within(in_flight).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
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

/// A connection from that address.
async fn connect(proxy: SocketAddr, source: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(source), 0).into()).unwrap();
    within(socket.connect(proxy)).await.unwrap()
}

/// The answer to a request on a connection of its own.
async fn one(proxy: SocketAddr, source: Ipv4Addr, url: &str) -> String {
    let mut stream = connect(proxy, source).await;
    let request = format!("GET {url} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

impl Upstream {
    /// One that answers once it is released.
    async fn held() -> (Self, watch::Sender<bool>) {
        let (release, released) = watch::channel(false);
        let upstream = Self::start(move |_| {
            let mut released = released.clone();
            async move {
                released.wait_for(|released| *released).await.unwrap();
                Response::new(full("released"))
            }
        });
        (upstream.await, release)
    }
}
