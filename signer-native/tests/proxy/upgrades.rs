//! Requests for another protocol: what follows them is that protocol or nothing, never a request.

use crate::client::Wire;
use crate::message::within;
use crate::running_proxy::RunningProxy;
use crate::upstream::{OneAnswer, Upstream, read_head};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// What a server behind another proxy would take for the next request.
const SMUGGLED: &str = "POST /smuggled HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\
     Content-Length: 3\r\n\r\nok!GET /smuggled HTTP/1.1\nHost: a.test\n\n";

#[tokio::test]
async fn behind_an_upgrade_that_is_not_accepted_nothing_is_a_request() {
    for upgrade in ["x", "h2c", "websocket", "websocket, x", "TLS/1.0", ""] {
        for (method, rest) in [
            ("GET", String::new()),
            ("POST", "Content-Length: 4\r\n\r\nbody".into()),
            (
                "POST",
                "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n".into(),
            ),
        ] {
            let rest = if rest.is_empty() { "\r\n".into() } else { rest };
            let proxy = RunningProxy::start().await;
            let (upstream, mut received) = Upstream::recording().await;
            let url = upstream.url("/first");
            let good = format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n");
            let mut client = Wire::connect(&proxy).await;
            client
                .write(&format!(
                    "{method} {url} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                     Upgrade: {upgrade}\r\n{rest}{good}{SMUGGLED}"
                ))
                .await;
            let answers = client.read_to_end().await;
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
            assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
            received.next().await;
            assert!(received.is_empty(), "{upgrade:?} {method}");
        }
    }
}

/// hyper would find an end of each of these bodies.
#[tokio::test]
async fn an_upgrade_does_not_make_a_malformed_body_pass() {
    for body in ["0000000000000000\r\n\r\n", "0\r\nX: 1\n\r\n\r\n"] {
        for upgrade in ["x", "websocket"] {
            let proxy = RunningProxy::start().await;
            let (upstream, received) = Upstream::recording().await;
            let url = upstream.url("/first");
            let mut client = Wire::connect(&proxy).await;
            client
                .write(&format!(
                    "GET {url} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                     Upgrade: {upgrade}\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"
                ))
                .await;
            let answers = client.read_to_end().await;
            assert!(answers.starts_with("HTTP/1.1 400 "), "{body:?}: {answers}");
            assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
            assert!(received.is_empty());
        }
    }
}

#[tokio::test]
async fn behind_a_switch_that_the_client_did_not_ask_for_nothing_is_a_request() {
    let proxy = RunningProxy::start().await;
    let upstream = OneAnswer::start("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n").await;
    let mut client = Wire::connect(&proxy).await;
    client
        .write(&format!(
            "GET http://{}/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\
             {SMUGGLED}",
            upstream.address
        ))
        .await;
    let answers = client.read_to_end().await;
    assert!(answers.starts_with("HTTP/1.1 502 "), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
}

#[tokio::test]
async fn behind_an_upgrade_that_is_accepted_the_bytes_are_no_requests() {
    // The client may send them before it has the answer.
    for early in [true, false] {
        let proxy = RunningProxy::start().await;
        let echo = websocket_echo().await;
        let mut client = Wire::connect(&proxy).await;
        let head = format!(
            "GET http://{echo}/ HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n"
        );
        if early {
            client.write(&format!("{head}{SMUGGLED}")).await;
        } else {
            client.write(&head).await;
        }
        let answer = client.read_head().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        if !early {
            client.write(SMUGGLED).await;
        }
        assert_eq!(client.read(SMUGGLED.len()).await, SMUGGLED);
        client.write("\n\0").await;
        assert_eq!(client.read(2).await, "\n\0");
    }
}

#[tokio::test]
async fn a_connect_with_content_is_refused() {
    for rest in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let proxy = RunningProxy::start().await;
        let mut client = Wire::connect(&proxy).await;
        client
            .write(&format!(
                "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n{rest}"
            ))
            .await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(
            answer.contains("a CONNECT must not have content"),
            "{answer}"
        );
    }
}

/// Switches for its one client, and then gives back what it gets.
async fn websocket_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = within(read_head(&mut stream)).await;
        assert!(head.to_ascii_lowercase().contains("upgrade: websocket\r\n"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    });
    address
}
