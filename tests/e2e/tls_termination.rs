use jwtproxy_tests::certificates::{Identity, TestCa};
use jwtproxy_tests::curl::{Curl, curl};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn yaml(upstream: &Upstream, registry: &TestRegistry) -> String {
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    key_file: "$DIR/server.key"
    crt_file: "$DIR/server.crt"
    verifier:
      upstream: "http://{}/"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    )
}

/// A running verifier that shows this certificate, and the authority's in `$DIR/ca.pem`.
async fn start(
    upstream: &Upstream,
    registry: &TestRegistry,
    ca: &TestCa,
    identity: &Identity,
) -> Jwtproxy {
    let files = [
        ("server.key", identity.key.as_str()),
        ("server.crt", &identity.certificate),
        ("ca.pem", &ca.pem()),
    ];
    Jwtproxy::start(&yaml(upstream, registry), &files, &[]).await
}

/// `GET /path` by that name, with a good token.
async fn get(jwtproxy: &Jwtproxy, host: &str, arguments: &[&str]) -> Curl {
    let port = jwtproxy.verifiers[0].port();
    let ca = jwtproxy.folder().join("ca.pem");
    let resolve = format!("{host}:{port}:127.0.0.1");
    let bearer = format!("Authorization: Bearer {}", tokens::good());
    let url = format!("https://{host}:{port}/path");
    let mut all = vec!["--cacert", ca.to_str().unwrap(), "--resolve", &resolve];
    all.extend(["--header", &bearer, &url]);
    all.extend(arguments);
    curl(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_choose_the_protocol_and_old_tls_is_refused() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let jwtproxy = start(&upstream, &registry, &ca, &ca.issue("api.example")).await;
    for (arguments, outcome) in [
        (["--http2", "--tlsv1.3"], "2 200"),
        (["--http1.1", "--tlsv1.3"], "1.1 200"),
        (["--http2", "--tls-max=1.2"], "2 200"),
    ] {
        let arguments: Vec<_> = arguments.iter().flat_map(|a| a.split('=')).collect();
        let answer = get(&jwtproxy, "api.example", &arguments).await;
        assert_eq!(answer.outcome, outcome, "{arguments:?}: {}", answer.stderr);
        assert!(
            answer.body.contains("\"path\": \"/path\""),
            "{}",
            answer.body
        );
    }
    // OpenSSL speaks 1.1 only where its own security level permits.
    let old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
    let answer = get(&jwtproxy, "api.example", &old).await;
    assert_eq!(answer.outcome, "0 000", "{answer:?}");
    assert!(
        answer.stderr.contains("alert protocol version"),
        "{answer:?}"
    );
    let plain = format!("http://{}/", jwtproxy.verifiers[0]);
    assert_ne!(curl(&[&plain]).await.exit, 0);
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_http_2_needs_no_upgrade() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = jwtproxy_tests::verifier::Verifier::start(&upstream, &registry, "").await;
    let url = format!("http://{}/", verifier.address());
    let bearer = format!("Authorization: Bearer {}", tokens::good());
    let arguments = [&url, "--http2-prior-knowledge", "--header", &bearer];
    let answer = curl(&arguments).await;
    assert_eq!(answer.outcome, "2 200", "{}", answer.stderr);
    let refused = curl(&arguments).await;
    assert_eq!(refused.outcome, "2 403", "{}", refused.stderr);
}

/// Waits until the verifier shows a certificate for this name.
async fn wait_for_certificate(jwtproxy: &Jwtproxy, host: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = get(jwtproxy, host, &["--http1.1"]).await;
        if answer.outcome == "1.1 200" {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{}\n{}",
            answer.stderr,
            jwtproxy.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until that has been said.
async fn wait_for_log(jwtproxy: &Jwtproxy, words: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !jwtproxy.log().contains(words) {
        assert!(Instant::now() < deadline, "{}", jwtproxy.log());
        sleep(Duration::from_millis(50)).await;
    }
}

fn write(folder: &Path, identity: &Identity) {
    fs::write(folder.join("server.key"), &identity.key).unwrap();
    fs::write(folder.join("server.crt"), &identity.certificate).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_shown_without_a_restart() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let jwtproxy = start(&upstream, &registry, &ca, &ca.issue("one.example")).await;
    wait_for_certificate(&jwtproxy, "one.example").await;
    // Written over the old ones.
    write(jwtproxy.folder(), &ca.issue("two.example"));
    wait_for_certificate(&jwtproxy, "two.example").await;
    // Moved into their place.
    let new = jwtproxy.folder().join("new");
    fs::create_dir(&new).unwrap();
    write(&new, &ca.issue("three.example"));
    for name in ["server.key", "server.crt"] {
        fs::rename(new.join(name), jwtproxy.folder().join(name)).unwrap();
    }
    wait_for_certificate(&jwtproxy, "three.example").await;
    // Half of a pair: the old one stays.
    let four = ca.issue("four.example");
    fs::write(jwtproxy.folder().join("server.crt"), &four.certificate).unwrap();
    wait_for_log(&jwtproxy, "but the old one stays in use: the private key").await;
    wait_for_certificate(&jwtproxy, "three.example").await;
    fs::write(jwtproxy.folder().join("server.key"), &four.key).unwrap();
    wait_for_certificate(&jwtproxy, "four.example").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_serve_are_mistakes() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let (one, two) = (ca.issue("one.example"), ca.issue("two.example"));
    let yaml = yaml(&upstream, &registry);
    let key_file = "verifier_proxies[0].key_file: ";
    let crt_file = "verifier_proxies[0].crt_file: ";
    let whole = "verifier_proxies[0]: ";
    for (yaml, key, certificate, place, problem) in [
        (
            yaml.as_str(),
            two.key.as_str(),
            one.certificate.as_str(),
            whole,
            "the private key is not that",
        ),
        (
            &yaml,
            "",
            &one.certificate,
            key_file,
            "unencrypted PRIVATE KEY",
        ),
        (
            &yaml,
            &one.key,
            "no PEM",
            crt_file,
            "expected PEM with a CERTIFICATE",
        ),
        (
            &yaml.replace("server.crt", "missing.crt"),
            &one.key,
            &one.certificate,
            crt_file,
            "No such file",
        ),
        (
            &yaml.replace("key_file: \"$DIR/server.key\"", ""),
            &one.key,
            &one.certificate,
            key_file,
            "missing",
        ),
        (
            &yaml.replace("crt_file: \"$DIR/server.crt\"", ""),
            &one.key,
            &one.certificate,
            crt_file,
            "missing",
        ),
    ] {
        let files = [("server.key", key), ("server.crt", certificate)];
        let finished = Jwtproxy::run(yaml, &files).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        let named = |line: &str| line.contains(place) && line.contains(problem);
        assert!(
            finished.stderr.lines().any(named),
            "{place}{problem}\n{}",
            finished.stderr
        );
    }
}
