//! Which fields pass, and how.

use crate::client::{Client, Wire, send};
use crate::message::{empty, get, request, text};
use crate::running_proxy::RunningProxy;
use crate::upstream::{OneAnswer, Upstream};
use hyper::{HeaderMap, Response};

const HOP_BY_HOP: [(&str, &str); 6] = [
    ("Connection", "X-Nominated, keep-alive"),
    ("X-Nominated", "for one hop"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic dXNlcjpwYXNz"),
    ("Proxy-Authenticate", "Basic realm=\"other\""),
];

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_end_at_the_proxy() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut request = get(&upstream.url("/"));
    add(request.headers_mut(), &HOP_BY_HOP);
    add(request.headers_mut(), &[("TE", "gzip"), ("X-Other", "1")]);
    assert_eq!(send(&proxy, request).await.status(), 200);

    let received = received.next().await;
    assert_none_of_them(received.headers());
    assert!(!received.headers().contains_key("te"));
    assert_eq!(received.headers()["x-other"], "1");
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_end_at_the_proxy() {
    let proxy = RunningProxy::start().await;
    let upstream = Upstream::start(async |_| {
        let mut response = Response::new(empty());
        add(response.headers_mut(), &HOP_BY_HOP);
        add(response.headers_mut(), &[("X-Other", "1")]);
        response
    })
    .await;
    let response = send(&proxy, get(&upstream.url("/"))).await;
    assert_none_of_them(response.headers());
    assert_eq!(response.headers()["x-other"], "1");
}

#[tokio::test]
async fn an_upgrade_to_something_unknown_is_not_passed_on() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    let mut upgrade = get(&upstream.url("/"));
    let fields = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    add(upgrade.headers_mut(), &fields);
    assert_eq!(text(client.send(upgrade).await).await, "received");

    let received = received.next().await;
    assert!(!received.headers().contains_key("upgrade"));
    assert!(!received.headers().contains_key("connection"));
    // What follows might not be meant as a request.
    client.closed().await;
}

#[tokio::test]
async fn the_origin_server_sees_its_own_host_and_an_origin_form_target() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let authority = upstream.address;
    for (sent, arrives) in [
        ("/a%2Fb/../c//d?x=%20y&z=|", "/a%2Fb/../c//d?x=%20y&z=|"),
        ("", "/"),
        ("?query", "/?query"),
    ] {
        let url = format!("http://user:secret@{authority}{sent}");
        send(&proxy, request("POST", &url, empty())).await;
        let received = received.next().await;
        assert_eq!(received.method(), "POST");
        assert_eq!(received.uri(), arrives);
        assert_eq!(received.headers()["host"], authority.to_string());
        assert!(!format!("{received:?}").contains("secret"));
    }
}

#[tokio::test]
async fn names_keep_their_case_and_reasons_their_words() {
    let proxy = RunningProxy::start().await;
    let upstream = OneAnswer::start(
        "HTTP/1.1 299 Quite Fine\r\nx-LOWER-and-Upper: 1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "GET {url} HTTP/1.1\r\nhOST: a.test\r\nX-oDD: 1\r\n\r\n"
        ))
        .await;

    let response = client.read_head().await;
    assert!(
        response.starts_with("HTTP/1.1 299 Quite Fine\r\n"),
        "{response}"
    );
    assert!(
        response.contains("\r\nx-LOWER-and-Upper: 1\r\n"),
        "{response}"
    );
    let request = upstream.received().await;
    assert!(request.contains("\r\nX-oDD: 1\r\n"), "{request}");
    assert!(
        request.contains("\r\nAuthorization: Bearer ey"),
        "{request}"
    );
}

fn add(headers: &mut HeaderMap, fields: &[(&'static str, &str)]) {
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
}

fn assert_none_of_them(headers: &HeaderMap) {
    for (name, _) in HOP_BY_HOP {
        assert!(!headers.contains_key(name), "{name} passed the proxy");
    }
}
