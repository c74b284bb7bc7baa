use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jwt_core::testing::TestSigner;
use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::gate::wait_until;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::tools::try_tls_client_with;
use jwtproxy_tests::upstream::Upstream;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use transport::descriptors::DescriptorLimit;

/// The source that says nothing, and one that works.
const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const WORKING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const PATIENCE: Duration = Duration::from_secs(60);

/// A signer with a soft and a hard limit of file descriptors, which is asked for a name and not an address.
async fn signer(soft: u32, hard: u32) -> (Jwtproxy, Upstream, String) {
    let (signer, _, upstream, url) = signer_and_authority(soft, hard).await;
    (signer, upstream, url)
}

async fn signer_and_authority(soft: u32, hard: u32) -> (Jwtproxy, TestAuthority, Upstream, String) {
    let upstream = Upstream::start().await;
    let authority = TestAuthority::new("the signer's authority");
    let yaml = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    ca_key_file: "$DIR/ca.key"
    ca_crt_file: "$DIR/ca.crt"
    signer:
      issuer: svc
      private_key:
        type: preshared
        options: {key_id: k1, private_key_path: "$DIR/service.key"}
"#;
    let files = [
        ("service.key", TestSigner::SERVICE_PRIVATE_PEM),
        ("ca.key", &authority.key()),
        ("ca.crt", &authority.certificate()),
    ];
    let limits = format!("ulimit -S -n {soft} && ulimit -H -n {hard}");
    let signer = Jwtproxy::start_after(&limits, yaml, &files, &[]).await;
    let url = format!("http://localhost:{}/", upstream.address().port());
    (signer, authority, upstream, url)
}

async fn connect(to: SocketAddr, source: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from(source), 0).into()).unwrap();
    timeout(PATIENCE, socket.connect(to))
        .await
        .unwrap()
        .unwrap()
}

/// That many connections, on each of which this is sent.
async fn flood(signer: &Jwtproxy, number: usize, sent: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..number {
        let mut stream = connect(signer.signer.unwrap(), SILENT).await;
        // It may have been closed for a later one.
        let _ = stream.write_all(sent.as_bytes()).await;
        streams.push(stream);
    }
    streams
}

/// A server that takes connections, says nothing on them, and counts them.
async fn silent_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, connections)
}

async fn others_are_served(signer: &Jwtproxy, url: &str) {
    are_served(&[WORKING, WORKING, WORKING, SILENT], signer, url).await;
}

async fn are_served(sources: &[Ipv4Addr], signer: &Jwtproxy, url: &str) {
    for &source in sources {
        let mut stream = connect(signer.signer.unwrap(), source).await;
        let request = format!("GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
        read.expect("an answer").unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{answer}\n{}",
            signer.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_limit_of_descriptors_becomes_the_hard_one() {
    let (signer, _upstream, url) = signer(64, 4096).await;
    signer
        .says("limits.connections is 10000, but the 4096 file descriptors of the process")
        .await;
    DescriptorLimit::raise();
    let _silent = flood(&signer, 200, "").await;
    others_are_served(&signer, &url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_silent_sockets_keep_no_other_client_out() {
    DescriptorLimit::raise();
    let (signer, _upstream, url) = signer(1024, 1024).await;
    let _silent = flood(&signer, 2_000, "").await;
    others_are_served(&signer, &url).await;
    assert!(!signer.log().contains("cannot accept"), "{}", signer.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_do_not_end_keep_no_other_client_out() {
    DescriptorLimit::raise();
    let (signer, _upstream, url) = signer(256, 256).await;
    let mut dripping = flood(&signer, 400, "GET http://a.test/ HTTP/1.1\r\n").await;
    for byte in "X: abc".chars() {
        for stream in &mut dripping {
            let _ = stream.write_all(byte.to_string().as_bytes()).await;
        }
        others_are_served(&signer, &url).await;
    }
}

/// Each of them has delivered a complete CONNECT.
#[tokio::test(flavor = "multi_thread")]
async fn tunnels_whose_handshake_does_not_end_keep_no_other_client_out() {
    DescriptorLimit::raise();
    let (signer, _upstream, url) = signer(256, 256).await;
    let connect = "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test\r\n\r\n";
    for begun in [
        "",
        "\x16",
        "\x16\x03\x01\x02\x00\x01\x00",
        "GET / HT",
        "PRI * HTTP/2.0\r\n",
    ] {
        let _tunnels = flood(&signer, 200, &format!("{connect}{begun}")).await;
        others_are_served(&signer, &url).await;
    }
}

/// One connection of a client carries them all (HTTP/2), and each waits in a TLS handshake with the
/// server.
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_servers_that_do_not_answer_leave_descriptors_and_places_to_other_clients() {
    DescriptorLimit::raise();
    let (signer, authority, _upstream, url) = signer_and_authority(256, 256).await;
    let (server, connections) = silent_server().await;
    let host = format!("localhost:{}", server.port());
    let mut requests = ask_over_http2(&signer, &authority, &host, 150).await;
    // Three quarters of 128 places.
    wait_until("connections", || connections.load(Ordering::SeqCst) >= 96).await;
    are_served(&[WORKING; 5], &signer, &url).await;
    while let Some(answer) = requests.join_next().await {
        let status = answer.unwrap();
        assert!(matches!(status, 502 | 503), "{status}");
    }
    let log = signer.log();
    assert!(
        log.contains("of the 128 connections that this proxy"),
        "{log}"
    );
    assert!(!log.contains("Too many open files"), "{log}");
}

/// So many requests to this host at once, over one connection to the signer. Gives the statuses.
async fn ask_over_http2(
    signer: &Jwtproxy,
    authority: &TestAuthority,
    host: &str,
    number: usize,
) -> JoinSet<u16> {
    let mut stream = connect(signer.signer.unwrap(), SILENT).await;
    let connect = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    let authority = authority.certificate();
    let tls = try_tls_client_with(stream, "localhost", authority.as_bytes(), &["h2"]).await;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(tls.unwrap()));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut requests = JoinSet::new();
    for _ in 0..number {
        let request = Request::get(format!("https://{host}/")).body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.unwrap());
        requests.spawn(async move { answer.await.unwrap().status().as_u16() });
    }
    requests
}
