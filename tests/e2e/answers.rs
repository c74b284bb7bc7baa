use jwtproxy_tests::client::exchange_bytes;
use jwtproxy_tests::raw_upstream::{RawUpstream, Sent};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::verifier::Verifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn request(start: &str, fields: &str) -> Vec<u8> {
    let token = tokens::good();
    format!("{start} HTTP/1.1\r\nHost: x\r\n{fields}Authorization: Bearer {token}\r\n\r\n").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_http_1_1_pass_both_ways() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                          2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    let upstream = RawUpstream::start(|_| Sent::Whole(ANSWER.into())).await;
    let registry = TestRegistry::start().await;
    let claims = "claim_to_headers: [{claim_name: iss, header_name: x-issuer}]";
    let verifier = Verifier::start_before(upstream.address(), &registry, claims).await;
    let head = request(
        "POST /",
        "Connection: close\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
    );
    let trailers = b"4\r\nbody\r\n0\r\nX-Sum: 5\r\nX-Issuer: me\r\nAuthorization: x\r\n\
                     Cookie: access_token=x\r\nX_Issuer: me\r\n\r\n";
    let answer = exchange_bytes(verifier.address(), &[&head, &trailers[..]].concat()).await;
    assert!(answer.ends_with("\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer:?}");
    let received = upstream.received().pop().unwrap();
    assert_eq!(received.body, "body");
    assert_eq!(received.values("te"), ["trailers"]);
    // What is verified, or set by the verifier, does not come from there.
    assert_eq!(received.trailers, ["x-sum: 5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_arrives_as_far_as_it_came_and_is_an_error() {
    let upstream = RawUpstream::start(|request| {
        let framing = match request.line.contains("/chunked") {
            true => "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
            false => "Content-Length: 100\r\n\r\nsome",
        };
        Sent::ThenClose(format!("HTTP/1.1 200 OK\r\n{framing}"))
    })
    .await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    let answer = exchange_bytes(verifier.address(), &request("GET /length", "")).await;
    assert!(answer.contains("content-length: 100\r\n"), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\nsome"), "{answer:?}");
    let answer = exchange_bytes(verifier.address(), &request("GET /chunked", "")).await;
    // Without the last chunk.
    assert!(answer.ends_with("\r\n\r\n4\r\nsome\r\n"), "{answer:?}");
}

/// Answers 413 to a head and closes, without reading the body.
async fn refuses_bodies() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\
                               Connection: close\r\n\r\nlarge";
                stream.write_all(answer).await?;
                stream.shutdown().await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_of_the_upstream_arrives() {
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(refuses_bodies().await, &registry, "").await;
    for _ in 0..3 {
        let mut stream = TcpStream::connect(verifier.address()).await.unwrap();
        let head = request("POST /", "Content-Length: 1000000\r\n");
        stream.write_all(&head).await.unwrap();
        stream.write_all(&[b'x'; 10_000]).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:?}");
        assert!(answer.ends_with("\r\n\r\nlarge"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_are_left_out_and_the_answer_arrives() {
    let upstream = RawUpstream::start(|_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
        Sent::Whole(format!(
            "{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        ))
    })
    .await;
    let registry = TestRegistry::start().await;
    let verifier = Verifier::start_before(upstream.address(), &registry, "").await;
    let request = request("GET /", "Connection: close\r\n");
    let answer = exchange_bytes(verifier.address(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert!(answer.ends_with("\r\n\r\nok"), "{answer:?}");
}
