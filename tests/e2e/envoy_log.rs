use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE, good_claims};
use jwtproxy_tests::upstream::Upstream;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn yaml(upstream: &Upstream, registry: &TestRegistry) -> String {
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "http://{}/"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    )
}

/// A token whose header, claims and signature are not of our making.
fn token(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    let encode = |part: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.AAAA", encode(header), encode(claims))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_forge_lines_of_the_log_or_command_the_terminal() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let arguments = ["--log-level", "debug"];
    let jwtproxy = Jwtproxy::start_with(&yaml(&upstream, &registry), &[], &arguments, &[]).await;
    let hostile = "\u{1b}[31m\u{9b}2J\r\nerror FORGED\u{202e}\u{7}\0";
    for (issuer, kid) in [(hostile, "k1"), ("svc", hostile), (hostile, hostile)] {
        let mut claims = good_claims();
        claims["iss"] = json!(issuer);
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid});
        let token = token(&header, &claims);
        let answer = client::get_with_token(jwtproxy.verifiers[0], &token).await;
        assert_ne!(answer.code(), 200, "{answer:?}");
    }
    for path in ["/%1b[31m%0aerror%20FORGED", "/\u{e9}\u{202e}FORGED"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client::exchange_bytes(jwtproxy.verifiers[0], request.as_bytes()).await;
    }
    let header =
        b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Odd: \xff\xfe\x80\r\n\r\n";
    client::exchange_bytes(jwtproxy.verifiers[0], header).await;
    jwtproxy.says("refused \"/last\"").await;
    for line in jwtproxy.log().lines() {
        let forged = line.trim_start().starts_with("error FORGED");
        assert!(!forged && !line.chars().any(is_dangerous), "{line:?}");
    }
}

fn is_dangerous(character: char) -> bool {
    character.is_control() || character == '\u{202e}'
}

/// What Envoy and the libraries in it can write, before the real one takes over.
const BABBLING_ENVOY: &str = r#"#!/bin/sh
printf 'warning \377\376 not UTF-8\n\000 \033[31m raw\nwarning still heard\n' >&2
(head -c 30000000 /dev/zero | tr '\0' a >&2; printf '\nwarning after the long line\n' >&2) &
exec "$REAL_ENVOY" "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn envoys_log_survives_lines_that_are_not_utf_8_and_lines_without_end() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("envoy");
    fs::write(&script, BABBLING_ENVOY).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let real = envoy::locate().unwrap();
    let environment = [
        ("ENVOY_PATH", script.to_str().unwrap()),
        ("REAL_ENVOY", real.to_str().unwrap()),
    ];
    let jwtproxy = Jwtproxy::start_with(&yaml(&upstream, &registry), &[], &[], &environment).await;
    jwtproxy.says("\u{fffd}\u{fffd} not UTF-8").await;
    jwtproxy.says("still heard").await;
    jwtproxy.says("more bytes)").await;
    jwtproxy.says("after the long line").await;
    // It goes on for as long as Envoy runs.
    let accepted = client::get_with_token(jwtproxy.verifiers[0], &tokens::good()).await;
    assert_eq!(accepted.code(), 200, "{accepted:?}");
    let refused = client::get(jwtproxy.verifiers[0], "/refused", None).await;
    assert_eq!(refused.code(), 403, "{refused:?}");
    jwtproxy.says("refused \"/refused\"").await;
    assert!(jwtproxy.peak_memory() < 200 << 20);
    assert!(!jwtproxy.log().contains('\u{1b}'));
}
