use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::client::{exchange_bytes, get, get_through};
use jwtproxy_tests::https_upstream::HttpsUpstream;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::received::values;
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::tools::run;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// However a client writes this machine; the last is its own name.
fn spellings() -> Vec<String> {
    let output = Command::new("uname").arg("-n").output().unwrap();
    let name = String::from_utf8(output.stdout).unwrap();
    let fixed = [
        "127.0.0.1",
        "0.0.0.0",
        "[::ffff:0.0.0.0]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "[::1]",
        "127.0.0.2",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
    ];
    let fixed = fixed.iter().map(ToString::to_string);
    fixed.chain([name.trim().to_owned()]).collect()
}

fn get_request(host: &str, port: u16) -> String {
    format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n")
}

fn connect_request(host: &str, port: u16) -> String {
    format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")
}

/// With this YAML in `signer_proxy`.
async fn signer(extra: &str) -> Signer {
    Signer::start(&TestAuthority::new("nobody"), extra).await
}

/// The name of this machine may lead nowhere where the test runs.
fn assert_denied(answer: &str, asked: &str) {
    let denied = answer.starts_with("HTTP/1.1 403 ") && answer.contains("denies requests");
    let unknown = answer.contains("looked up");
    assert!(denied || unknown, "{asked}: {answer}");
}

/// A server that nothing shall reach.
struct Unreached(TcpListener);

impl Unreached {
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn assert_unreached(&self) {
        let error = self.0.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_of_loopback_holds_for_all_that_leads_there() {
    let server = Unreached::start();
    for denied in ["127.0.0.1", "127.0.0.0/8", "::1", "localhost"] {
        // Plain requests, tunnels, and what is intercepted.
        for others in ["sign", "tunnel"] {
            let rules = format!(
                "hosts: [{{host: '{denied}', action: deny}}, {{host: '*', action: {others}}}]"
            );
            let signer = signer(&rules).await;
            for host in spellings() {
                let request = get_request(&host, server.port());
                let answer = exchange_bytes(signer.address(), request.as_bytes()).await;
                assert_denied(&answer, &request);
                let connect = connect_request(&host, server.port());
                let both = format!(
                    "{connect}GET / HTTP/1.1\r\nHost: {host}:{}\r\n\
                     Connection: close\r\n\r\n",
                    server.port()
                );
                let answer = exchange_bytes(signer.address(), both.as_bytes()).await;
                let answer = answer
                    .strip_prefix("HTTP/1.1 200 OK\r\n")
                    .unwrap_or(&answer);
                let (_, inside) = answer.split_once("\r\n\r\n").unwrap();
                let answer = if inside.starts_with("HTTP/") {
                    inside
                } else {
                    answer
                };
                assert_denied(answer, &connect);
            }
        }
    }
    server.assert_unreached();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_begun_early_to_a_denied_address() {
    let server = Unreached::start();
    let signer = signer("hosts: [{host: 127.0.0.1, action: deny}]").await;
    let name = spellings().pop().unwrap();
    let connect = format!("{name}:{}", server.port());
    let proxy = signer.address().to_string();
    let arguments = ["s_client", "-quiet", "-proxy", &proxy, "-connect", &connect];
    let arguments = [&arguments[..], &["-servername", &name]].concat();
    let request = format!("GET / HTTP/1.1\r\nHost: {connect}\r\nConnection: close\r\n\r\n");
    let said = run("openssl", &arguments, &request).await;
    assert_denied(&said.stdout, &connect);
    server.assert_unreached();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_decides_for_the_names_that_lead_into_it() {
    let upstream = HttpsUpstream::start_plain("127.0.0.1:0").await;
    let rules = "hosts: [{host: 127.0.0.0/8, action: pass}, {host: '*', action: deny}]";
    let signer = signer(rules).await;
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/", upstream.port());
        let answer = get_through(signer.address(), &url).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
        let received = upstream.received().pop().unwrap();
        assert!(values(&received, "authorization").is_empty());
    }
    let answer = get_through(signer.address(), "http://192.0.2.1/").await;
    assert_eq!(answer.code(), 403, "{answer:?}");
}

fn admin_of(signer: &Signer) -> SocketAddr {
    let log = signer.log();
    let (_, rest) = log.split_once("signer admin listening on ").unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_address_is_not_served_through_the_signer() {
    let running = signer("admin_addr: '0.0.0.0:0'").await;
    let port = admin_of(&running).port();
    let direct: SocketAddr = ([127, 0, 0, 1], port).into();
    assert_eq!(get(direct, "/healthz", None).await.code(), 200);
    for host in spellings() {
        for request in [get_request(&host, port), connect_request(&host, port)] {
            let more =
                format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
            let request = match request.starts_with("CONNECT") {
                true => request + &more,
                false => request,
            };
            let answer = exchange_bytes(running.address(), request.as_bytes()).await;
            let refused = answer.contains("HTTP/1.1 403 ") && answer.contains("admin address");
            let unknown = answer.contains("looked up");
            assert!(refused || unknown, "{request}: {answer}");
        }
    }
    // A rule for all ports of that host, or for all hosts, does not name it.
    for rules in ["{host: 127.0.0.1}", "{host: '*', action: pass}"] {
        let running = signer(&format!("admin_addr: '127.0.0.1:0'\nhosts: [{rules}]")).await;
        let port = admin_of(&running).port();
        let answer = get_through(running.address(), &format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(answer.code(), 403, "{rules}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_names_the_admin_address_leads_there() {
    // The port must be known beforehand; at this address no other test takes it.
    let free = TcpListener::bind("127.0.0.77:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let rules = format!(
        "admin_addr: '127.0.0.77:{port}'\n\
         hosts: [{{host: 127.0.0.77, port: {port}, action: pass}}]"
    );
    let running = signer(&rules).await;
    let url = format!("http://127.0.0.77:{port}/healthz");
    let answer = get_through(running.address(), &url).await;
    assert_eq!((answer.code(), answer.body.trim()), (200, "alive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signer_does_not_lead_to_itself_on_any_address() {
    let yaml = r#"
jwtproxy:
  signer_proxy:
    listen_addr: ":0"
    signer:
      issuer: svc
      private_key: {type: preshared, options: {key_id: k1, private_key_path: "$DIR/key"}}
"#;
    let key = jwt_core::testing::TestSigner::SERVICE_PRIVATE_PEM;
    let running = Jwtproxy::start(yaml, &[("key", key)], &[]).await;
    let port = running.signer.unwrap().port();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    for host in spellings() {
        let request = get_request(&host, port);
        let answer = exchange_bytes(address, request.as_bytes()).await;
        let refused = answer.starts_with("HTTP/1.1 400 ") && answer.contains("this proxy itself");
        assert!(refused || answer.contains("looked up"), "{host}: {answer}");
    }
    let warned = "is reachable from other machines and proxy_authentication is not set";
    assert!(running.log().contains(warned), "{}", running.log());
    let on_loopback = signer("").await;
    assert!(!on_loopback.log().contains(warned));
    let with_password = "proxy_authentication: {username: user, password: secret}";
    let yaml = yaml.replace(
        "    signer:\n",
        &format!("    {with_password}\n    signer:\n"),
    );
    let with_password = Jwtproxy::start(&yaml, &[("key", key)], &[]).await;
    assert!(!with_password.log().contains(warned));
}

#[tokio::test(flavor = "multi_thread")]
async fn link_local_addresses_are_not_reached() {
    let running = signer("hosts: [{host: '*', action: pass}, {host: 0.0.0.0/0}]").await;
    for host in [
        "169.254.169.254",
        "169.254.170.2",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ] {
        for request in [get_request(host, 80), connect_request(host, 80)] {
            let answer = exchange_bytes(running.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{request}: {answer}");
            assert!(answer.contains("link-local"), "{request}: {answer}");
        }
    }
}

/// How many certificates were made.
async fn made(admin: SocketAddr) -> u64 {
    let metrics = get(admin, "/metrics", None).await.body;
    let (_, rest) = metrics
        .split_once("\njwtproxy_leaf_cache_misses_total ")
        .unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_the_handshake_cost_no_certificates() {
    let running = signer("admin_addr: '127.0.0.1:0'\nhosts: [{host: denied.test, action: deny}]");
    let running = running.await;
    let admin = admin_of(&running);
    let proxy = running.address().to_string();
    let request = "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";
    for number in 0..5 {
        let name = format!("random-{number}.test");
        let arguments = ["s_client", "-proxy", &proxy, "-connect", "api.test:443"];
        let arguments = [&arguments[..], &["-ign_eof", "-servername", &name]].concat();
        let said = run("openssl", &arguments, request).await;
        // The certificate is the one of the CONNECT's host, and no request is served.
        assert!(said.stdout.contains("HTTP/1.1 421 "), "{said:?}");
        let names = run("openssl", &["x509", "-noout", "-text"], &said.stdout)
            .await
            .ok();
        assert!(names.contains("DNS:api.test\n"), "{names}");
        assert!(!names.contains("random"), "{names}");
    }
    assert_eq!(made(admin).await, 1);
    for _ in 0..5 {
        let connect = connect_request("denied.test", 443);
        let answer = exchange_bytes(running.address(), connect.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert_eq!(made(admin).await, 1);
}
