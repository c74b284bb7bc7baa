use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawRequest, RawUpstream, Sent, ok};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;

async fn before(
    script: impl Fn(&RawRequest) -> Sent + Send + Sync + 'static,
) -> (RawUpstream, TestRegistry, Verifier) {
    let (upstream, registry) = (
        RawUpstream::start(script).await,
        TestRegistry::start().await,
    );
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    (upstream, registry, verifier)
}

/// What a request with these fields gets.
async fn ask(verifier: &Verifier, start: &str, fields: &str, body: &str) -> String {
    let request = format!(
        "{start} HTTP/1.1\r\nHost: x\r\n{fields}Authorization: Bearer {}\r\n\r\n{body}",
        tokens::good()
    );
    exchange_bytes(verifier.address(), request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_offer_but_websocket_is_ignored() {
    let (upstream, _registry, verifier) = before(|_| ok("content")).await;
    for offer in [
        "TLS/1.2",
        "tls/1.0, HTTP/2.0",
        "h2c",
        "other",
        "websocket/13",
        "websockets",
        "web",
        "xwebsocket",
        "connect-udp, IRC/6.9",
        "\u{e9}",
    ] {
        for (start, length, body) in [
            ("GET /", "", ""),
            ("POST /", "Content-Length: 4\r\n", "body"),
        ] {
            let fields = format!("Connection: Upgrade, close\r\nUpgrade: {offer}\r\n{length}");
            let answer = ask(&verifier, start, &fields, body).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{offer}: {answer:?}");
            assert!(answer.ends_with("\r\n\r\ncontent"), "{offer}: {answer:?}");
            let received = upstream.received().pop().unwrap();
            assert_eq!(received.body, body, "{offer}");
            assert!(received.values("upgrade").is_empty(), "{received:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_offer_spares_no_token() {
    let (upstream, _registry, verifier) = before(|_| ok("content")).await;
    for offer in ["TLS/1.2", "websocket", "x, websocket"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {offer}\r\n\
             Connection: close\r\n\r\n"
        );
        let answer = exchange_bytes(verifier.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer:?}");
        assert!(answer.contains("jwtproxy: unable to verify"), "{answer:?}");
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_websocket_in_it_is_a_websocket() {
    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                            Upgrade: websocket\r\n\r\nframes";
    let (upstream, _registry, verifier) = before(|_| Sent::ThenClose(SWITCHED.into())).await;
    for offer in [
        "Upgrade: websocket, x\r\n",
        "Upgrade: x/1 ,\tWebSocket\r\n",
        "Upgrade: WEBSOCKET\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        let answer = ask(
            &verifier,
            "GET /",
            &format!("Connection: Upgrade\r\n{offer}"),
            "",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{offer}: {answer:?}");
        assert!(answer.ends_with("\r\n\r\nframes"), "{offer}: {answer:?}");
        let received = upstream.received().pop().unwrap();
        let [upgrade] = received.values("upgrade")[..] else {
            panic!("{received:?}")
        };
        assert!(upgrade.eq_ignore_ascii_case("websocket"), "{upgrade}");
    }
    let twice = "Connection: Upgrade\r\nUpgrade: websocket, websocket\r\n";
    let answer = ask(&verifier, "GET /", twice, "").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    assert!(answer.contains("must name websocket once"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_other_than_101_is_whole_or_an_error_with_a_reason() {
    let (_upstream, _registry, verifier) = before(|request| {
        let status = request.line.split(['/', ' ']).nth(2).unwrap();
        let head = format!("HTTP/1.1 {status} X\r\nLocation: /there\r\nContent-Encoding: x\r\n");
        let body = match request.line.contains("chunked") {
            true => "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            false => "Content-Length: 4\r\n\r\nbody",
        };
        Sent::Whole(format!("{head}{body}"))
    })
    .await;
    for framing in ["length", "chunked"] {
        for status in [400, 401, 403, 404, 426, 500, 503] {
            let start = format!("GET /{status}/{framing}");
            let answer = ask(
                &verifier,
                &start,
                "Connection: Upgrade\r\nUpgrade: websocket\r\n",
                "",
            )
            .await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer:?}"
            );
            assert!(answer.contains("body"), "{answer:?}");
        }
        // Envoy loses the bodies of these.
        for (status, expected) in [(200, 502), (201, 502), (302, 302)] {
            let start = format!("GET /{status}/{framing}");
            let answer = ask(
                &verifier,
                &start,
                "Connection: Upgrade\r\nUpgrade: websocket\r\n",
                "",
            )
            .await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {expected} ")),
                "{answer:?}"
            );
            let reason = format!("did not accept the WebSocket handshake; it answered {status}\n");
            assert!(answer.ends_with(&reason), "{answer:?}");
            assert!(answer.contains("location: /there"), "{answer:?}");
            assert!(!answer.contains("content-encoding"), "{answer:?}");
        }
    }
}
