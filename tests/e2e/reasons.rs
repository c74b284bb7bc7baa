use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawUpstream, Sent, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::{Verifier, free_address};

/// Sends a request and expects an error, whose body says this.
async fn expect(verifier: &Verifier, request: &[u8], status: u16, reason: &str) {
    let answer = exchange_bytes(verifier.address(), request).await;
    let shown = String::from_utf8_lossy(request);
    let shown: String = shown.chars().take(80).collect();
    let line = format!(" {status} ");
    assert_eq!(answer.get(8..13), Some(&*line), "{shown:?}: {answer:?}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("jwtproxy: "), "{shown:?}: {answer:?}");
    assert!(body.contains(reason), "{shown:?}: {answer:?}");
}

fn with_token(start: &str) -> Vec<u8> {
    let token = tokens::good();
    format!(
        "{start} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_cannot_read_is_told_why() {
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for request in [
        with_token("GET /?q=\u{e9}"),
        with_token("GET /caf\u{e9}"),
        with_token("GET / /"),
        with_token("G\u{e9}T /"),
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec(),
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec(),
    ] {
        let reason = "unable to verify request: it is not valid HTTP";
        expect(&verifier, &request, 400, reason).await;
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_but_common_characters_pass() {
    let (upstream, registry) = (
        RawUpstream::start(|_| ok("ok")).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    for (target, arrives) in [
        ("/?q={\"a\":1}", "/?q={\"a\":1}"),
        ("/?a=<b>&c=`d`|e^f", "/?a=<b>&c=`d`|e^f"),
        ("/a%20b?c=%C3%A9", "/a%20b?c=%C3%A9"),
        ("/?a=b?c=d/../e//f", "/?a=b?c=d/../e//f"),
        // The normal form of a path has these escaped.
        ("/<a>/`b`/{c}/\"e\"", "/%3Ca%3E/%60b%60/%7Bc%7D/%22e%22"),
    ] {
        let request = with_token(&format!("GET {target}"));
        let answer = exchange_bytes(verifier.address(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer:?}");
        let line = upstream.received().pop().unwrap().line;
        assert_eq!(line, format!("GET {arrives} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_is_named_as_the_cause() {
    let upstream = RawUpstream::start(|request| match request.line.contains("/nonsense") {
        true => Sent::ThenClose("nonsense\r\n\r\n".into()),
        false => Sent::ThenClose(String::new()),
    })
    .await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    let request = with_token("GET /nonsense");
    expect(
        &verifier,
        &request,
        502,
        "the upstream's answer is not valid HTTP",
    )
    .await;
    for start in ["GET /closes", "POST /closes"] {
        let reason = "no answer from the upstream";
        expect(&verifier, &with_token(start), 503, reason).await;
    }
    let absent = Verifier::start_before(free_address(), &registry, "").await;
    expect(
        &absent,
        &with_token("GET /"),
        503,
        "no answer from the upstream",
    )
    .await;
}
