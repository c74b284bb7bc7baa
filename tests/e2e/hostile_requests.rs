use jwtproxy_tests::client::{self, exchange_bytes};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;

/// Each is sent as it is; none may get through, and none may bring the filter down.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_odd_gets_through_or_brings_the_filter_down() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let good = tokens::good();
    let huge = "a".repeat(50_000);
    let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let requests: Vec<(&str, Vec<u8>)> = vec![
        (
            "bytes that are no text",
            [
                head.as_bytes(),
                b"Authorization: Bearer \xff\xfe.\x80.\xc3\r\n\r\n",
            ]
            .concat(),
        ),
        (
            "an empty value",
            format!("{head}Authorization:\r\n\r\n").into(),
        ),
        (
            "a huge token",
            format!("{head}Authorization: Bearer {huge}\r\n\r\n").into(),
        ),
        (
            "two headers",
            format!("{head}Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n\r\n")
                .into(),
        ),
        (
            "a good token after a bad one",
            format!("{head}Authorization: Bearer x\r\nAuthorization: Bearer {good}\r\n\r\n").into(),
        ),
        (
            "a good token before a bad one",
            format!("{head}Authorization: Bearer {good}\r\nAuthorization: Bearer x\r\n\r\n").into(),
        ),
        (
            "a header of another name",
            format!("{head}X-Authorization: Bearer {good}\r\n\r\n").into(),
        ),
        (
            "no host",
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into(),
        ),
        ("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n".into()),
        (
            "a tunnel",
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n".into(),
        ),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00".to_vec()),
    ];
    for (what, bytes) in requests {
        let answer = exchange_bytes(verifier.address(), &bytes).await;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(status.starts_with('4'), "{what}: {answer:?}");
    }
    assert!(upstream.received().is_empty());
    // None of these has used the token up, and the filter is still there.
    assert_eq!(
        client::get_with_token(verifier.address(), &good)
            .await
            .code(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_while_their_key_is_fetched_take_nothing_with_them() {
    let (upstream, mut registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = Verifier::start(&upstream, &registry, "").await;
    registry.go_down().await;
    for _ in 0..50 {
        let request = client::request(
            verifier.address(),
            "/",
            Some(&format!("Bearer {}", tokens::good())),
        );
        let prepared = client::Prepared::new(verifier.address(), request).await;
        let sending = tokio::spawn(prepared.send());
        tokio::task::yield_now().await;
        sending.abort();
    }
    registry.come_back().await;
    let mut code = 503;
    for _ in 0..100 {
        code = client::get_with_token(verifier.address(), &tokens::good())
            .await
            .code();
        if code != 503 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(code, 200);
}
