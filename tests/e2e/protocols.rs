use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::received::{claims, values};
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::tools::{self, curl, python, run};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

const BOTH: [&str; 2] = ["h2", "http/1.1"];

/// A server that offers these protocols, and a signer that believes it.
async fn server_and_signer(alpn: &[&str]) -> (HttpsUpstream, Signer) {
    let servers = TestAuthority::new("servers");
    let tls = servers.server(&["localhost"], alpn);
    let upstream = HttpsUpstream::start(tls).await;
    (upstream, Signer::start(&servers, "").await)
}

/// curl's output for a path of that server.
async fn fetch(upstream: &HttpsUpstream, signer: &Signer, path: &str, more: &[&str]) -> String {
    let url = format!("https://localhost:{}{path}", upstream.port());
    let arguments = [more, &[url.as_str()]].concat();
    let authority = signer.authority();
    let said = curl(&signer.url(), authority.to_str().unwrap(), &arguments).await;
    said.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_speaks_its_own_version() {
    for (server, at_server) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let (upstream, signer) = server_and_signer(&[server]).await;
        for (client, at_client) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let show = ["-o", "/dev/null", "-w", "%{http_version}", client];
            let version = fetch(&upstream, &signer, "/", &show).await;
            assert_eq!(version, at_client, "{server}");
            let received = upstream.received().pop().unwrap();
            assert_eq!(received["version"], at_server, "{client}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_from_and_to_http_2() {
    let (upstream, signer) = server_and_signer(&BOTH).await;
    let with_trailers = ["--http2", "-i", "-H", "TE: trailers"];
    let answer = fetch(&upstream, &signer, "/trailers", &with_trailers).await;
    assert!(answer.ends_with("contentgrpc-status: 0\r\n"), "{answer}");
    let received = upstream.received().pop().unwrap();
    assert_eq!(values(&received, "te"), ["trailers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_are_sent() {
    let (upstream, signer) = server_and_signer(&BOTH).await;
    for version in ["--http2", "--http1.1"] {
        let show = ["-N", version, "-w", "%{time_starttransfer} %{time_total}"];
        let answer = fetch(&upstream, &signer, "/events", &show).await;
        let (events, times) = answer.split_once("data: 3\n\n").unwrap();
        assert_eq!(events, "data: 1\n\ndata: 2\n\n");
        let (first, all) = times.split_once(' ').unwrap();
        let (first, all): (f64, f64) = (first.parse().unwrap(), all.parse().unwrap());
        assert!(all - first > 0.5, "buffered: {times}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_uploads_and_downloads_pass_at_constant_memory() {
    const SIZE: usize = 300 << 20;
    let (upstream, mut signer) = server_and_signer(&BOTH).await;
    for version in ["--http2", "--http1.1"] {
        let show = ["-o", "/dev/null", "-w", "%{size_download}", version];
        let size = fetch(&upstream, &signer, &format!("/size/{SIZE}"), &show).await;
        assert_eq!(size, SIZE.to_string());
    }
    let peak = signer.process().peak_memory();
    assert!(peak < 100 << 20, "{peak} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_http_2_come_as_one_to_http_1() {
    let (upstream, signer) = server_and_signer(&["http/1.1"]).await;
    let two = ["--http2", "-H", "Cookie: a=1", "-H", "Cookie: b=2"];
    fetch(&upstream, &signer, "/", &two).await;
    let received = upstream.received().pop().unwrap();
    assert_eq!(values(&received, "cookie"), ["a=1; b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_inside_a_tunnel_and_without_one() {
    let (tls_upstream, signer) = server_and_signer(&BOTH).await;
    let plain_upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;

    // wss, as tungstenite would after a CONNECT.
    let host = format!("localhost:{}", tls_upstream.port());
    let stream = connect(&signer, &host).await.unwrap();
    let authority = std::fs::read(signer.authority()).unwrap();
    let stream = tools::tls_client(stream, "localhost", &authority).await;
    echo_through(stream, &format!("wss://{host}/ws")).await;
    let received = tls_upstream.received().pop().unwrap();
    assert_eq!(claims(&received)["aud"], format!("https://{host}"));

    // ws in a tunnel: so most WebSocket clients use a proxy.
    let host = format!("127.0.0.1:{}", plain_upstream.port());
    let stream = connect(&signer, &host).await.unwrap();
    echo_through(stream, &format!("ws://{host}/ws")).await;
    let received = plain_upstream.received().pop().unwrap();
    assert_eq!(claims(&received)["aud"], format!("http://{host}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_in_absolute_form() {
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let signer = Signer::start(&TestAuthority::new("servers"), "").await;
    let program = r#"
import base64, os, socket, sys
proxy_port, target = int(sys.argv[1]), sys.argv[2]
sock = socket.create_connection(("127.0.0.1", proxy_port), timeout=20)
key = base64.b64encode(os.urandom(16)).decode()
sock.sendall((f"GET http://{target}/ws HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\n"
    f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
file = sock.makefile("rb")
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += file.readline()
assert head.startswith(b"HTTP/1.1 101 "), head
mask = os.urandom(4)
payload = b"hello"
sock.sendall(b"\x81" + bytes([0x80 | len(payload)]) + mask
    + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
assert file.read(7) == b"\x81\x05hello"
print("fine")
"#;
    let port = signer.address().port().to_string();
    let target = format!("127.0.0.1:{}", upstream.port());
    assert_eq!(python(program, &[&port, &target]).await.ok().trim(), "fine");
    let received = upstream.received().pop().unwrap();
    assert_eq!(claims(&received)["aud"], format!("http://{target}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_literals_are_hosts() {
    let Ok(probe) = tokio::net::TcpListener::bind("[::1]:0").await else {
        // A machine without IPv6 has nothing to show here.
        return;
    };
    drop(probe);
    let servers = TestAuthority::new("servers");
    let tls = servers.server(&["::1"], &BOTH);
    let secure = HttpsUpstream::start_at("[::1]:0", Some(tls)).await;
    let plain = HttpsUpstream::start_plain("[::1]:0").await;
    let signer = Signer::start(&servers, "").await;
    let authority = signer.authority();
    for (upstream, scheme) in [(&secure, "https"), (&plain, "http")] {
        let url = format!("{scheme}://[::1]:{}", upstream.port());
        let arguments = ["-g", &url];
        let said = curl(&signer.url(), authority.to_str().unwrap(), &arguments).await;
        said.ok();
        let received = upstream.received().pop().unwrap();
        assert_eq!(claims(&received)["aud"], url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_waits_for_100_continue_passes() {
    let (upstream, signer) = server_and_signer(&BOTH).await;
    for version in ["--http1.1", "--http2"] {
        let upload = ["-H", "Expect: 100-continue", "-d", "content", version];
        fetch(&upstream, &signer, "/", &upload).await;
        let received = upstream.received().pop().unwrap();
        assert_eq!(received["body"], "content");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_of_one_connection_are_all_signed_once() {
    let (upstream, signer) = server_and_signer(&BOTH).await;
    let url = format!("https://localhost:{}/#[1-50]", upstream.port());
    let authority = signer.authority();
    let arguments = [
        "--http2",
        "-Z",
        "--parallel-max",
        "50",
        "-o",
        "/dev/null",
        &url,
    ];
    curl(&signer.url(), authority.to_str().unwrap(), &arguments)
        .await
        .ok();
    let received = upstream.received();
    let ids: std::collections::HashSet<_> = received
        .iter()
        .map(|received| claims(received)["jti"].to_string())
        .collect();
    assert_eq!((received.len(), ids.len()), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openssl_client_may_speak_http_1_0() {
    let (upstream, signer) = server_and_signer(&["http/1.1"]).await;
    let (proxy, connect) = (
        signer.address().to_string(),
        format!("localhost:{}", upstream.port()),
    );
    let authority = signer.authority();
    let mut arguments = vec!["s_client", "-quiet", "-proxy", &proxy, "-connect", &connect];
    arguments.extend(["-CAfile", authority.to_str().unwrap()]);
    arguments.extend(["-verify_return_error", "-servername", "localhost"]);
    let said = run("openssl", &arguments, "GET /x HTTP/1.0\r\n\r\n").await;
    assert!(said.stdout.starts_with("HTTP/1.0 200 "), "{said:?}");
    let received = upstream.received().pop().unwrap();
    assert_eq!(values(&received, "host"), [connect]);
}

/// A CONNECT, as far as its answer.
async fn connect(signer: &Signer, host: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(signer.address()).await?;
    let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    Ok(stream)
}

async fn echo_through(stream: impl tools::Stream, url: &str) {
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    for text in ["hello", "again"] {
        tools::send(&mut socket, Message::text(text)).await.unwrap();
        let echo = tools::receive(&mut socket).await.unwrap();
        assert_eq!(echo, Message::text(text));
    }
}
