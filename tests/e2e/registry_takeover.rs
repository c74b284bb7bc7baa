use jwt_core::testing::TestSigner;
use jwtproxy_tests::authority::TestAuthority;
use jwtproxy_tests::client::{exchange_bytes, get};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::keys::{ISSUER, KeyWorld, ask_until};
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::signer::Signer;
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::{Approval, KeyState};
use std::net::SocketAddr;
use std::process::Command;

const REASON: &str = "jwtproxy: unable to sign request: ";

/// A signer with the preshared key `k1` of `svc`, and more YAML for `signer` and `signer_proxy`.
async fn signer(of_signer: &str, of_proxy: &str) -> Jwtproxy {
    Jwtproxy::start(&yaml(of_signer, of_proxy), &as_str(&files()), &[]).await
}

fn files() -> [(&'static str, String); 3] {
    let authority = TestAuthority::new("the signer's authority");
    [
        ("service.key", TestSigner::SERVICE_PRIVATE_PEM.into()),
        ("ca.key", authority.key()),
        ("ca.crt", authority.certificate()),
    ]
}

fn as_str<'a>(files: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    files
        .iter()
        .map(|(name, content)| (*name, content.as_str()))
        .collect()
}

fn yaml(of_signer: &str, of_proxy: &str) -> String {
    format!(
        r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    ca_key_file: "$DIR/ca.key"
    ca_crt_file: "$DIR/ca.crt"
    {of_proxy}
    signer:
      issuer: svc
      {of_signer}
      private_key: {{type: preshared, options: {{key_id: k1, private_key_path: "$DIR/service.key"}}}}
"#
    )
}

fn knows(registry: &str) -> String {
    format!("registries: [{registry:?}]")
}

/// The request that makes a stranger's key one of the service, or takes the service's own away.
fn attack(method: &str, origin: &str, key_id: &str, more: &str) -> String {
    let body = match method {
        "PUT" => TestSigner::stranger()
            .public_key()
            .to_jwk(key_id)
            .to_string(),
        _ => String::new(),
    };
    let expiration = jwtproxy_tests::tokens::now() + 3600;
    format!(
        "{method} {origin}/services/svc/keys/{key_id}?expiration={expiration} HTTP/1.1\r\n\
         Host: whatever.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n{more}\r\n{body}",
        body.len()
    )
}

/// Whether the registry has been left as it was.
fn assert_untouched(registry: &TestRegistry) {
    let state = |key_id: &str| registry.store().get("svc", key_id).map(|key| key.state);
    assert_eq!(state("k1"), Some(KeyState::Approved));
    assert_eq!(state("evil"), None);
}

fn assert_refused(answer: &str, asked: &str) {
    assert!(answer.starts_with("HTTP/1.1 403 "), "{asked}: {answer}");
    assert!(answer.contains(REASON), "{asked}: {answer}");
    assert!(answer.contains("key registry"), "{asked}: {answer}");
}

/// However a client writes the host of a registry on this machine.
const SPELLINGS: [&str; 15] = [
    "127.0.0.1",
    "localhost",
    "LocalHost",
    "localhost.",
    "a.localhost",
    "127.0.0.2",
    "127.255.255.254",
    "0.0.0.0",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0.0.0.0]",
    "user:password@127.0.0.1",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_signer_does_not_become_the_service() {
    let registry = TestRegistry::start().await;
    let signer = signer(&knows(&registry.url()), "").await;
    let (address, port) = (signer.signer.unwrap(), registry.address().port());
    let ask = async |request: String| exchange_bytes(address, request.as_bytes()).await;
    for (method, key_id) in [("PUT", "evil"), ("DELETE", "k1"), ("GET", "k1")] {
        for host in SPELLINGS {
            let origin = format!("http://{host}:{port}");
            let answer = ask(attack(method, &origin, key_id, "")).await;
            assert_refused(&answer, &format!("{method} {origin}"));
        }
        // By the other scheme as well, which a proxy in front of the registry may take.
        let origin = format!("https://127.0.0.1:{port}");
        let answer = ask(attack(method, &origin, key_id, "")).await;
        assert_refused(&answer, &origin);
    }
    assert_untouched(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_a_resolver_takes_for_the_registry_are_not_hosts() {
    let registry = TestRegistry::start().await;
    let signer = signer(&knows(&registry.url()), "").await;
    let (address, port) = (signer.signer.unwrap(), registry.address().port());
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.%31",
        "%6cocalhost",
        "localhost%2e",
        "[::1%25lo]",
        "[::127.0.0.1%25lo]",
        "localhost,",
    ] {
        let origin = format!("http://{host}:{port}");
        let answer = exchange_bytes(address, attack("PUT", &origin, "evil", "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{origin}: {answer}");
    }
    // The deprecated form of an IPv4 address within IPv6.
    let origin = format!("http://[::127.0.0.1]:{port}");
    let answer = exchange_bytes(address, attack("PUT", &origin, "evil", "").as_bytes()).await;
    assert_refused(&answer, &origin);
    assert_untouched(&registry);
}

/// The name of this machine is no loopback name, and yet it leads here.
#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_the_registry_is_recognised_by_its_address() {
    let registry = TestRegistry::start().await;
    let signer = signer(&knows(&registry.url()), "").await;
    let (address, port) = (signer.signer.unwrap(), registry.address().port());
    let output = Command::new("uname").arg("-n").output().unwrap();
    let name = String::from_utf8(output.stdout).unwrap();
    let origin = format!("http://{}:{port}", name.trim());
    let answer = exchange_bytes(address, attack("PUT", &origin, "evil", "").as_bytes()).await;
    // A name that nothing is known of leads nowhere.
    let unknown = answer.starts_with("HTTP/1.1 502 ") && answer.contains("looked up");
    if !unknown {
        assert_refused(&answer, &origin);
        assert!(answer.contains("has the address of"), "{answer}");
    }
    assert_untouched(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_or_an_upgrade_to_the_registry_is_refused_as_well() {
    let registry = TestRegistry::start().await;
    let upstream = Upstream::start().await;
    let signer = signer(&knows(&registry.url()), "").await;
    let (address, port) = (signer.signer.unwrap(), registry.address().port());
    for host in SPELLINGS.iter().filter(|host| !host.contains('@')) {
        let connect = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        assert_refused(&exchange_bytes(address, connect.as_bytes()).await, &connect);
    }
    let websocket = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request = attack("GET", registry.url().trim_end_matches('/'), "k1", websocket);
    let request = request.replace("Connection: close", "Connection: Upgrade");
    assert_refused(&exchange_bytes(address, request.as_bytes()).await, &request);
    // Inside a tunnel to another server, no request is for the registry.
    let origin = registry.url();
    let other = upstream.address();
    let inside =
        attack("PUT", "", "evil", "").replace("whatever.test", &format!("127.0.0.1:{port}"));
    let absolute = attack("PUT", origin.trim_end_matches('/'), "evil", "");
    for request in [inside, absolute] {
        let both = format!("CONNECT {other} HTTP/1.1\r\nHost: {other}\r\n\r\n{request}");
        let answer = exchange_bytes(address, both.as_bytes()).await;
        assert!(answer.contains("HTTP/1.1 421 "), "{request}: {answer}");
    }
    assert_untouched(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_neither_signs_for_the_registry_nor_with_its_audience() {
    let registry = TestRegistry::start().await;
    let port = registry.address().port();
    let rules = format!(
        "hosts: [{{host: localhost, audience: billing}}, {{host: 127.0.0.0/8, port: {port}}}, \
         {{host: '*', claims: {{a: b}}}}]"
    );
    let running = signer(&knows(&registry.url()), &rules).await;
    for host in SPELLINGS {
        let origin = format!("http://{host}:{port}");
        let request = attack("DELETE", &origin, "k1", "");
        let answer = exchange_bytes(running.signer.unwrap(), request.as_bytes()).await;
        assert_refused(&answer, &origin);
    }
    assert_untouched(&registry);
    for audience in [
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/path?query"),
        format!("HTTP://LOCALHOST.:{port}/"),
        format!("https://[::1]:{port}"),
        format!("http://user@127.0.0.1:{port}"),
    ] {
        let rules = format!("hosts: [{{host: api.test, audience: {audience:?}}}]");
        let yaml = yaml(&knows(&registry.url()), &rules);
        let refused = Jwtproxy::run(&yaml, &as_str(&files())).await;
        assert!(!refused.status.success());
        let expected = "hosts[0].audience";
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("key registry"),
            "{}",
            refused.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_to_the_registry_without_a_token_changes_nothing_there() {
    let registry = TestRegistry::start().await;
    let port = registry.address().port();
    let rules = format!("hosts: [{{host: 127.0.0.1, port: {port}, action: pass}}]");
    let signer = signer(&knows(&registry.url()), &rules).await;
    let origin = registry.url();
    let origin = origin.trim_end_matches('/');
    let ask = |method, key_id| {
        let request = attack(method, origin, key_id, "");
        let address = signer.signer.unwrap();
        async move { exchange_bytes(address, request.as_bytes()).await }
    };
    let answer = ask("GET", "k1").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (method, key_id) in [("PUT", "evil"), ("DELETE", "k1")] {
        let answer = ask(method, key_id).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
    }
    // The rule holds for what leads to that address; nothing is signed in any spelling.
    for host in SPELLINGS {
        let request = attack("DELETE", &format!("http://{host}:{port}"), "k1", "");
        let answer = exchange_bytes(signer.signer.unwrap(), request.as_bytes()).await;
        let refused = answer.starts_with("HTTP/1.1 403 ") && answer.contains("key registry");
        let unsigned = answer.contains("expected one header");
        // The registry listens on one of the addresses only.
        let unreachable = answer.starts_with("HTTP/1.1 502 ");
        assert!(refused || unsigned || unreachable, "{host}: {answer}");
    }
    assert_untouched(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_the_registry_that_goes_through_a_parent_proxy() {
    let registry = TestRegistry::start().await;
    let port = registry.address().port();
    let parent = "hosts: [{host: '*', action: pass}]";
    let parent = Signer::start(&TestAuthority::new("nobody"), parent).await;
    let signer = signer(
        &knows(&registry.url()),
        &format!("parent_proxy: \"http://{}\"", parent.address()),
    )
    .await;
    for host in SPELLINGS {
        let origin = format!("http://{host}:{port}");
        let request = attack("PUT", &origin, "evil", "");
        let answer = exchange_bytes(signer.signer.unwrap(), request.as_bytes()).await;
        assert_refused(&answer, &origin);
    }
    assert_untouched(&registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_knows_the_registry_of_its_own_keys_and_goes_on_calling_it() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Automatic).await,
    );
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    ask_until(&signer, &url, 200).await;
    let active = world.active().unwrap();
    let gate: SocketAddr = world
        .gate
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .unwrap();
    for host in SPELLINGS {
        let origin = format!("http://{host}:{}", gate.port());
        let request = attack("DELETE", &origin, &active, "");
        let answer = exchange_bytes(signer.signer.unwrap(), request.as_bytes()).await;
        assert_refused(&answer, &origin);
    }
    assert!(world.registry.get(ISSUER, &active).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_knows_the_registries_of_the_verifiers_beside_it() {
    let registry = TestRegistry::start().await;
    let upstream = Upstream::start().await;
    let verifier = format!(
        r#"
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "http://{}/"
      audience: "http://api.test"
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    );
    let yaml = yaml(
        "",
        "hosts: [{host: '127.0.0.1', audience: 'http://api.test'}]",
    ) + &verifier;
    let jwtproxy = Jwtproxy::start(&yaml, &as_str(&files()), &[]).await;
    let (signer, port) = (jwtproxy.signer.unwrap(), registry.address().port());
    for host in SPELLINGS {
        let origin = format!("http://{host}:{port}");
        let request = attack("PUT", &origin, "evil", "");
        let answer = exchange_bytes(signer, request.as_bytes()).await;
        assert_refused(&answer, &origin);
    }
    assert_untouched(&registry);
    // The verifier itself is a destination like any other, and its registry is there for it.
    let url = format!("http://{}/", jwtproxy.verifiers[0]);
    let answer = jwtproxy_tests::client::get_through(signer, &url).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(get(registry.address(), "/healthz", None).await.code(), 200);
}
