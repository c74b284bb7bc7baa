//! What is no request for this proxy gets a reason, and goes nowhere.

use crate::client::Wire;
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_request_in_origin_form_is_refused() {
    assert_refused("GET / HTTP/1.1", "400").await;
}

#[tokio::test]
async fn a_request_in_asterisk_form_is_refused() {
    assert_refused("OPTIONS * HTTP/1.1", "400").await;
}

#[tokio::test]
async fn without_an_authority_a_connect_is_refused() {
    assert_refused("CONNECT {upstream} HTTP/1.1", "403").await;
}

#[tokio::test]
async fn a_connect_without_a_port_is_refused() {
    assert_refused("CONNECT a.test HTTP/1.1", "400").await;
}

#[tokio::test]
async fn another_scheme_is_refused() {
    assert_refused("GET ftp://{upstream}/ HTTP/1.1", "400").await;
}

#[tokio::test]
async fn a_number_that_would_be_taken_for_an_address_is_refused() {
    assert_refused("GET http://2130706433/ HTTP/1.1", "400").await;
    assert_refused("CONNECT 127.1:443 HTTP/1.1", "400").await;
}

#[tokio::test]
async fn a_second_host_is_refused() {
    assert_refused("GET http://{upstream}/ HTTP/1.1\r\nHost: b.test", "400").await;
}

#[tokio::test]
async fn a_body_in_an_unknown_transfer_coding_is_refused() {
    let start = "POST http://{upstream}/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked";
    assert_refused(start, "400").await;
}

/// Sends a request that begins with `start` and names the upstream wherever it can.
async fn assert_refused(start: &str, status: &str) {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let authority = upstream.address.to_string();
    let start = start.replace("{upstream}", &authority);
    let mut client = Wire::connect(&proxy).await;
    client
        .write(&format!(
            "{start}\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        ))
        .await;

    let response = client.read_to_end().await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain\r\n"), "{head}");
    let prefix = "jwtproxy: unable to sign request: ";
    assert!(
        body.starts_with(prefix) && body.len() > prefix.len(),
        "{body}"
    );
    assert_eq!(upstream.connections(), 0);
}
