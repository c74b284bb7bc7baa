use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::curl::curl;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use transport::descriptors::DescriptorLimit;

/// As many systems have it.
const FEW_DESCRIPTORS: &str = "ulimit -n 1024";

/// Far more than fit.
const CONNECTIONS: usize = 2_000;

/// What a client says before it falls silent for ever.
const BEGINNINGS: [(&str, &[u8]); 7] = [
    ("nothing", b""),
    ("one byte", b"G"),
    ("an empty line", b"\r\n"),
    ("a request line", b"GET / HTTP/1.1\r\n"),
    ("a whole request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("an HTTP/2 preface", HTTP_2),
    ("half of a head in HTTP/2", HALF_A_HEAD),
];

const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// HEADERS of one byte, END_STREAM without END_HEADERS.
const HALF_A_HEAD: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x01\0\0\0\x01\x82";

fn yaml(upstream: &Upstream, registry: &TestRegistry, tls: &str) -> String {
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    {tls}
    verifier:
      upstream: "http://{}/"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    )
}

/// Opens them all, and says that on each of them.
async fn occupy(address: SocketAddr, beginning: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        // A verifier that does not even accept is what the old one became.
        let connecting = timeout(Duration::from_secs(5), TcpStream::connect(address)).await;
        if let Ok(Ok(mut stream)) = connecting {
            // Refused connections are closed.
            let _ = stream.write_all(beginning).await;
            open.push(stream);
        }
    }
    open
}

async fn good_request(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        tokens::good()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Waits until a request of another client succeeds.
async fn expect_service(beginning: &str, mut request: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !request().await {
        assert!(Instant::now() < deadline, "no service after {beginning}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_stall_a_verifier() {
    DescriptorLimit::raise();
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let yaml = yaml(&upstream, &registry, "");
    let jwtproxy = Jwtproxy::start_after(FEW_DESCRIPTORS, &yaml, &[], &[]).await;
    assert!(
        jwtproxy.log().contains("1024 file descriptors only"),
        "{}",
        jwtproxy.log()
    );
    let address = jwtproxy.verifiers[0];
    for (name, beginning) in BEGINNINGS {
        let connections = occupy(address, beginning).await;
        expect_service(name, async || {
            let answer = timeout(Duration::from_secs(5), good_request(address)).await;
            matches!(answer, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200 "))
        })
        .await;
        drop(connections);
    }
    jwtproxy.says("connections refused: all").await;
    jwtproxy
        .says("connections of the verifiers are in use")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_stall_a_verifier_with_tls() {
    DescriptorLimit::raise();
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let identity = ca.issue("api.example");
    let files = [
        ("server.key", identity.key.as_str()),
        ("server.crt", &identity.certificate),
        ("ca.pem", &ca.pem()),
    ];
    let tls = "key_file: \"$DIR/server.key\"\n    crt_file: \"$DIR/server.crt\"";
    let yaml = yaml(&upstream, &registry, tls);
    let jwtproxy = Jwtproxy::start_after(FEW_DESCRIPTORS, &yaml, &files, &[]).await;
    let address = jwtproxy.verifiers[0];
    let authority = jwtproxy.folder().join("ca.pem");
    let resolve = format!("api.example:{}:127.0.0.1", address.port());
    let url = format!("https://api.example:{}/", address.port());
    for (name, beginning) in [
        ("nothing", &b""[..]),
        ("one byte", b"\x16"),
        (
            "half of a ClientHello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
        ("no TLS", b"GET / HTTP/1.1\r\n"),
    ] {
        let connections = occupy(address, beginning).await;
        expect_service(name, async || {
            let bearer = format!("Authorization: Bearer {}", tokens::good());
            let authority = authority.to_str().unwrap();
            let arguments = [
                "--cacert",
                authority,
                "--resolve",
                &resolve,
                "--header",
                &bearer,
            ];
            let answer = curl(&[&arguments[..], &["--max-time", "5", &url]].concat()).await;
            answer.outcome.ends_with(" 200")
        })
        .await;
        drop(connections);
    }
    // Handshakes that are complete, and nothing after them.
    let authority_pem = ca.pem();
    let mut connections = Vec::new();
    for _ in 0..600 {
        let Ok(stream) = TcpStream::connect(address).await else {
            continue;
        };
        let handshake =
            jwtproxy_tests::tools::try_tls_client(stream, "api.example", authority_pem.as_bytes());
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(5), handshake).await {
            connections.push(stream);
        }
    }
    assert!(connections.len() > 300, "{}", connections.len());
    expect_service("complete handshakes", async || {
        let bearer = format!("Authorization: Bearer {}", tokens::good());
        let authority = authority.to_str().unwrap();
        let arguments = [
            "--cacert",
            authority,
            "--resolve",
            &resolve,
            "--header",
            &bearer,
        ];
        let answer = curl(&[&arguments[..], &["--max-time", "5", &url]].concat()).await;
        answer.outcome.ends_with(" 200")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_speaks_late_is_served() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let jwtproxy = Jwtproxy::start(&yaml(&upstream, &registry, ""), &[], &[]).await;
    let mut stream = TcpStream::connect(jwtproxy.verifiers[0]).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        tokens::good()
    );
    let (first, rest) = request.split_at(40);
    stream.write_all(first.as_bytes()).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
