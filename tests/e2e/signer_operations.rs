use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::client::{self, get_through};
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::received::values;
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::tools::{self, curl};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

fn address_after(log: &str, words: &str) -> SocketAddr {
    let (_, rest) = log.split_once(words).unwrap();
    rest.split([',', ' ', '\n'])
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_tells_how_the_signer_is() {
    let servers = TestAuthority::new("servers");
    let tls = servers.server(&["localhost"], &["h2"]);
    let upstream = HttpsUpstream::start(tls).await;
    let signer = Signer::start(&servers, "admin_addr: 127.0.0.1:0").await;
    let admin = address_after(&signer.log(), "admin listening on ");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client::get(admin, path, None).await.code(), 200);
    }
    let url = format!("https://localhost:{}/", upstream.port());
    let authority = signer.authority();
    for _ in 0..2 {
        let said = curl(&signer.url(), authority.to_str().unwrap(), &[&url]).await;
        said.ok();
    }
    get_through(signer.address(), "http://127.0.0.1:1/").await;
    let metrics = client::get(admin, "/metrics", None).await.body;
    for line in [
        "jwtproxy_requests_total{outcome=\"Signed\"} 2\n",
        "jwtproxy_requests_total{outcome=\"Intercepted\"} 2\n",
        "jwtproxy_requests_total{outcome=\"Failed\"} 1\n",
        "jwtproxy_signing_seconds_count 3\n",
        "jwtproxy_upstream_seconds_count 2\n",
        "jwtproxy_upstream_connections 1\n",
        "jwtproxy_leaf_cache_hits_total 1\n",
        "jwtproxy_leaf_cache_misses_total 1\n",
        "# EOF\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    // It is not a way around: the proxy's own port knows none of it.
    assert_eq!(
        client::get(signer.address(), "/metrics", None).await.code(),
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_context_passes_unchanged() {
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let signer = Signer::start(&TestAuthority::new("servers"), "").await;
    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (parent_field, state_field) = (format!("traceparent: {parent}"), "tracestate: a=1,b=2");
    let fields = ["-H", &parent_field, "-H", state_field, &url];
    let said = curl(&signer.url(), "/dev/null", &fields).await;
    said.ok();
    let received = upstream.received().pop().unwrap();
    assert_eq!(values(&received, "traceparent"), [parent]);
    assert_eq!(values(&received, "tracestate"), ["a=1,b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_json_where_it_is_told_so() {
    let servers = TestAuthority::new("servers");
    let arguments = ["-log-format", "json", "-log-level", "debug"];
    let signer = Signer::start_with(&servers, "", &arguments).await;
    get_through(signer.address(), "http://127.0.0.1:1/?hidden=1").await;
    let log = signer.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let failed = lines
        .iter()
        .find(|line| line["message"] == "request failed");
    assert_eq!(failed.unwrap()["target"], "http://127.0.0.1:1/", "{log}");
    assert!(!log.contains("hidden"), "{log}");
}

const UNIX: &str = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "unix:$DIR/signer.sock"
    socket_permission: 0620
    signer:
      issuer: svc
      private_key: {type: preshared, options: {key_id: k1, private_key_path: "$DIR/key"}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_has_its_permission_and_is_replaced_only_when_stale() {
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let key = jwt_core::testing::TestSigner::SERVICE_PRIVATE_PEM;
    let mut jwtproxy = Jwtproxy::start(UNIX, &[("key", key)], &[]).await;
    let socket = jwtproxy.folder().join("signer.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o620);

    let url = format!("http://127.0.0.1:{}/", upstream.port());
    let request = format!("GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let config = jwtproxy.folder().join("config.yaml");
    let second = Jwtproxy::run_file(&config).await;
    assert_eq!(second.status.code(), Some(1));
    assert!(
        second.stderr.contains("cannot listen on unix:"),
        "{}",
        second.stderr
    );

    jwtproxy.terminate().await;
    assert!(jwtproxy.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_may_finish_after_sigterm_until_the_timeout() {
    for (timeout, ends_by_itself) in [("1m", true), ("100ms", false)] {
        let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
        let extra = format!("shutdown_timeout: {timeout}");
        let mut signer = Signer::start(&TestAuthority::new("servers"), &extra).await;
        let host = format!("127.0.0.1:{}", upstream.port());
        let mut stream = TcpStream::connect(signer.address()).await.unwrap();
        let connect = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(connect.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let (mut socket, _) = client_async(format!("ws://{host}/ws"), stream)
            .await
            .unwrap();
        signer.process().terminate().await;
        if ends_by_itself {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tools::send(&mut socket, Message::text("still here"))
                .await
                .unwrap();
            let echo = tools::receive(&mut socket).await.unwrap();
            assert_eq!(echo, Message::text("still here"));
            drop(socket);
        } else {
            assert!(tools::receive(&mut socket).await.is_none());
        }
        assert!(signer.process().ended().await.success());
    }
}
