use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::client::get_through;
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::signer::Signer;
use rustls::ServerConfig;
use std::sync::Arc;

/// What a client is told that asks for this server by name.
async fn answer(
    server: impl FnOnce(&TestAuthority) -> Arc<ServerConfig>,
    host: &str,
    extra: &str,
) -> (u16, String, String) {
    let servers = TestAuthority::new("servers");
    let upstream = HttpsUpstream::start(server(&servers)).await;
    let signer = Signer::start(&servers, extra).await;
    let url = format!("https://{host}:{}/", upstream.port());
    // In absolute-form, as some clients send https to a proxy.
    let answer = get_through(signer.address(), &url).await;
    (answer.code(), answer.body, signer.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_a_trusted_authority_is_believed_by_name_and_by_address() {
    for host in ["localhost", "127.0.0.1"] {
        let server = |servers: &TestAuthority| servers.server(&[host], &["http/1.1"]);
        let (code, body, _) = answer(server, host, "").await;
        assert_eq!(code, 200, "{body}");
        assert!(body.contains("Bearer ey"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_proves_nothing_is_502_with_the_reason() {
    let stranger = |_: &TestAuthority| TestAuthority::new("strangers").server(&["localhost"], &[]);
    let (code, body, _) = answer(stranger, "localhost", "").await;
    assert_eq!(code, 502);
    assert!(body.contains("UnknownIssuer"), "{body}");

    let other_name = |servers: &TestAuthority| servers.server(&["other.test"], &[]);
    let (code, body, _) = answer(other_name, "localhost", "").await;
    assert_eq!(code, 502);
    assert!(body.contains("not valid for name"), "{body}");

    // A name is no proof for an address.
    let by_name = |servers: &TestAuthority| servers.server(&["localhost"], &[]);
    let (code, body, _) = answer(by_name, "127.0.0.1", "").await;
    assert_eq!(
        (code, body.contains("not valid for name")),
        (502, true),
        "{body}"
    );

    let expired = |servers: &TestAuthority| servers.expired_server(&["localhost"]);
    let (code, body, _) = answer(expired, "localhost", "").await;
    assert_eq!(code, 502);
    assert!(body.contains("expired"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_skips_verification_is_warned() {
    let stranger = |_: &TestAuthority| TestAuthority::new("strangers").server(&["localhost"], &[]);
    let (code, body, log) = answer(stranger, "localhost", "insecure_skip_verify: true").await;
    assert_eq!(code, 200, "{body}");
    assert!(
        log.contains("WARN signer_proxy: insecure_skip_verify is on"),
        "{log}"
    );
}
