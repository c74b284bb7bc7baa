use jwt_core::testing::TestSigner;
use jwtproxy_tests::client::{self, Prepared};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const SIGNER: &str = r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    signer:
      issuer: svc
      private_key: {type: preshared, options: {key_id: k1, private_key_path: "$DIR/key"}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_in_the_file_is_named_in_one_run() {
    let yaml = r#"
other_program: {anything: goes}
jwtproxy:
  signer_proxy:
    listen_addr: 8080
    ca_key_file: ca.key
    signer:
      isuer: svc
      expiration_time: 5 minutes
      private_key: {type: preshared, options: {key_id: k1, private_key_path: $DIR/key}}
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: localhost:9090
      max_ttl: -5m
      excludes: ["healthz"]
      key_server: {type: keyregistry, options: {registry: "ftp://registry"}}
      nonce_storage: {type: redis}
  - verifier:
      upstream: http://localhost/
      audience: x
      key_server:
        type: preshared
        options: {issuer: svc, key_id: k1, public_key_path: $DIR/missing.pub}
"#;
    let finished = Jwtproxy::run(yaml, &[("key", "no key")]).await;
    assert_eq!(finished.status.code(), Some(1));
    for words in [
        "config.yaml: the configuration has mistakes:",
        "jwtproxy.signer_proxy.listen_addr: found 8080, expected an address",
        "jwtproxy.signer_proxy.ca_crt_file: missing: it goes together with ca_key_file",
        "jwtproxy.signer_proxy.signer.issuer: missing",
        "jwtproxy.signer_proxy.signer.isuer: unknown key; did you mean \"issuer\"?",
        "jwtproxy.signer_proxy.signer.expiration_time: found \"5 minutes\", expected a duration",
        "jwtproxy.signer_proxy.signer.private_key.options.private_key_path: found",
        "jwtproxy.verifier_proxies[0].verifier.upstream: found \"localhost:9090\", expected a URL",
        "jwtproxy.verifier_proxies[0].verifier.audience: missing",
        "jwtproxy.verifier_proxies[0].verifier.max_ttl: found \"-5m\"",
        "jwtproxy.verifier_proxies[0].verifier.excludes[0]: found \"healthz\", expected a path",
        "jwtproxy.verifier_proxies[0].verifier.key_server.options.registry: found",
        "jwtproxy.verifier_proxies[0].verifier.nonce_storage.type: found \"redis\"",
        "jwtproxy.verifier_proxies[1].verifier.key_server.options.public_key_path: found",
    ] {
        assert!(
            finished.stderr.contains(words),
            "{words:?} is not in\n{}",
            finished.stderr
        );
    }
    assert!(
        !finished.stderr.contains("other_program"),
        "{}",
        finished.stderr
    );
    assert!(
        !finished.stderr.contains("listening"),
        "{}",
        finished.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_configuration_is_refused() {
    for (yaml, words) in [
        ("", "expected a mapping"),
        ("other_program: {}", "nothing to run"),
        ("jwtproxy: {}", "nothing to run"),
        (
            "jwtproxy: {signer_proxy: {enabled: false, listen_addr: 7}}",
            "nothing to run",
        ),
        ("jwtproxy: [1, 2]", "expected a mapping"),
        ("jwtproxy: {signer_proxy: true}", "expected a mapping"),
        ("jwtproxy:\n  signer_proxy: {\n", "not valid YAML"),
        ("jwtproxy: {a: 1}\njwtproxy: {b: 2}", "not valid YAML"),
    ] {
        let finished = Jwtproxy::run(yaml, &[]).await;
        assert_eq!(
            finished.status.code(),
            Some(1),
            "{yaml}: {}",
            finished.stderr
        );
        assert!(
            finished.stderr.contains(words),
            "{yaml}: {}",
            finished.stderr
        );
        assert!(
            finished.stderr.contains("config.yaml"),
            "{yaml}: {}",
            finished.stderr
        );
    }
    let finished = Jwtproxy::run_file(Path::new("no/such/file.yaml")).await;
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished
            .stderr
            .contains("no/such/file.yaml: cannot be read"),
        "{}",
        finished.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let signer = SIGNER.replace("127.0.0.1:0", &address);
    let verifier = format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "{address}"
    verifier:
      upstream: http://127.0.0.1:1/
      audience: x
      key_server: {{type: keyregistry, options: {{registry: "http://127.0.0.1:1/"}}}}
"#
    );
    for (yaml, who) in [(signer, "signer_proxy"), (verifier, "verifier_proxies[0]")] {
        let finished = Jwtproxy::run(&yaml, &[("key", TestSigner::SERVICE_PRIVATE_PEM)]).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        let words = format!("{who}: cannot listen on {address}");
        assert!(
            finished.stderr.contains(&words),
            "{words:?} is not in\n{}",
            finished.stderr
        );
    }
}

/// A verifier that trusts `svc`/`k1`, and this much time for its end.
fn verifier(upstream: &Upstream, registry: &TestRegistry, shutdown_timeout: &str) -> String {
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    shutdown_timeout: {shutdown_timeout}
    verifier:
      upstream: "http://{}/"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_where_the_verifiers_metrics_are() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let jwtproxy = Jwtproxy::start(&verifier(&upstream, &registry, "1m"), &[], &[]).await;
    let log = jwtproxy.log();
    let (_, rest) = log.split_once("curl --unix-socket ").expect("a command");
    let (socket, _) = rest
        .split_once(" http://envoy/stats/prometheus")
        .expect("a URL");
    let metrics = client::get_at_socket(Path::new(socket), "/stats/prometheus", None).await;
    assert!(metrics.body.contains("jwtproxy_accepted"), "{metrics:?}");
}

/// Waits until the upstream has that many requests.
async fn wait_for_requests(upstream: &Upstream, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while upstream.received().len() < count {
        assert!(Instant::now() < deadline, "the request does not arrive");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_requests_in_flight_finish_and_new_ones_are_not_taken() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let mut jwtproxy = Jwtproxy::start(&verifier(&upstream, &registry, "1m"), &[], &[]).await;
    let address = jwtproxy.verifiers[0];
    let bearer = format!("Bearer {}", tokens::good());
    let request = client::request(address, "/slow", Some(&bearer));
    let slow = tokio::spawn(Prepared::new(address, request).await.send());
    wait_for_requests(&upstream, 1).await;

    jwtproxy.terminate().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "new connections are still taken");
        sleep(Duration::from_millis(10)).await;
    }
    upstream.release();
    assert_eq!(slow.await.unwrap().code(), 200);
    assert!(jwtproxy.ended().await.success(), "{}", jwtproxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_timeout_bounds_the_end_and_a_second_signal_is_sooner() {
    for (shutdown_timeout, signals) in [("100ms", 1), ("1h", 2)] {
        let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
        let yaml = verifier(&upstream, &registry, shutdown_timeout);
        let mut jwtproxy = Jwtproxy::start(&yaml, &[], &[]).await;
        let address = jwtproxy.verifiers[0];
        let bearer = format!("Bearer {}", tokens::good());
        let request = client::request(address, "/slow", Some(&bearer));
        let _slow = tokio::spawn(Prepared::new(address, request).await.send());
        wait_for_requests(&upstream, 1).await;
        jwtproxy.terminate().await;
        if signals == 2 {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !jwtproxy.log().contains("a second signal ends at once") {
                assert!(Instant::now() < deadline, "the first signal is not heard");
                sleep(Duration::from_millis(10)).await;
            }
            jwtproxy.terminate().await;
        }
        assert!(jwtproxy.ended().await.success(), "{}", jwtproxy.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_envoy_dies_jwtproxy_ends_with_an_error() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let mut jwtproxy = Jwtproxy::start(&verifier(&upstream, &registry, "1m"), &[], &[]).await;
    jwtproxy.kill_envoy().await;
    assert_eq!(jwtproxy.ended().await.code(), Some(1));
    assert!(
        jwtproxy.log().contains("Envoy has ended unexpectedly"),
        "{}",
        jwtproxy.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_envoy_dies_the_signers_requests_finish() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let verifier = verifier(&upstream, &registry, "1m");
    let yaml = SIGNER.to_owned() + verifier.trim_start().trim_start_matches("jwtproxy:\n");
    let files = [("key", TestSigner::SERVICE_PRIVATE_PEM)];
    let mut jwtproxy = Jwtproxy::start(&yaml, &files, &[]).await;
    let url = format!("http://{}/slow", upstream.address());
    let signer = jwtproxy.signer.unwrap();
    let slow = tokio::spawn(async move { client::get_through(signer, &url).await });
    wait_for_requests(&upstream, 1).await;

    jwtproxy.kill_envoy().await;
    jwtproxy.says("shutting down").await;
    upstream.release();
    assert_eq!(slow.await.unwrap().code(), 200);
    assert_eq!(jwtproxy.ended().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_jwtproxy_leaves_no_envoy_behind() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let jwtproxy = Jwtproxy::start(&verifier(&upstream, &registry, "1m"), &[], &[]).await;
    let address = jwtproxy.verifiers[0];
    drop(jwtproxy);
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "Envoy is still there");
        sleep(Duration::from_millis(10)).await;
    }
}
