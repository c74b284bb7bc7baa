use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::client;
use jwtproxy_tests::front::{Front, Hello};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::net::SocketAddr;

/// A verifier for each of these upstreams.
fn yaml(upstreams: &[String], registry: &str) -> String {
    let mut yaml = "\njwtproxy:\n  verifier_proxies:\n".to_owned();
    for upstream in upstreams {
        yaml += &format!(
            r#"
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "{upstream}"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: "{registry}"}}}}
"#
        );
    }
    yaml
}

const TRUST_CA_PEM: &[(&str, &str)] = &[("SSL_CERT_FILE", "$DIR/ca.pem")];

async fn get(verifier: SocketAddr, path: &str) -> client::Answer {
    let bearer = format!("Bearer {}", tokens::good());
    client::get(verifier, path, Some(&bearer)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_called_by_name_and_must_prove_it() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let (ca, other_ca) = (TestCa::new(), TestCa::new());
    let named = Front::tls(upstream.address(), &ca.issue("localhost")).await;
    let numbered = Front::tls(upstream.address(), &ca.issue("127.0.0.1")).await;
    let stranger = Front::tls(upstream.address(), &other_ca.issue("localhost")).await;
    let yaml = yaml(
        &[
            format!("https://LOCALHOST:{}/base/", named.port()),
            format!("https://127.0.0.1:{}/", numbered.port()),
            // The certificate is good, but somebody else's.
            format!("https://127.0.0.1:{}/", named.port()),
            format!("https://localhost:{}/", numbered.port()),
            // Nobody we trust has signed it.
            format!("https://localhost:{}/", stranger.port()),
        ],
        &registry.url(),
    );
    let jwtproxy = Jwtproxy::start_with(&yaml, &[("ca.pem", &ca.pem())], &[], TRUST_CA_PEM).await;
    let [by_name, by_number, refused @ ..] = &jwtproxy.verifiers[..] else {
        panic!("{}", jwtproxy.log())
    };

    let answer = get(*by_name, "/path?query=1").await;
    assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
    assert_eq!(answer.json()["path"], "/base/path?query=1");
    let hello = |server_name: Option<&str>| Hello {
        server_name: server_name.map(ToOwned::to_owned),
        protocol: Some("http/1.1".to_owned()),
    };
    assert_eq!(named.hellos(), [hello(Some("localhost"))]);
    let answer = get(*by_number, "/").await;
    assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
    assert_eq!(numbered.hellos(), [hello(None)]);

    for verifier in refused {
        let answer = get(*verifier, "/").await;
        assert_eq!(answer.code(), 503, "{answer:?}");
    }
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_registry_must_prove_who_it_is() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let (ca, other_ca) = (TestCa::new(), TestCa::new());
    let trusted = Front::tls(registry.address(), &ca.issue("localhost")).await;
    let stranger = Front::tls(registry.address(), &other_ca.issue("localhost")).await;
    let upstreams = [format!("http://{}/", upstream.address())];
    for (front, status) in [(&trusted, 200), (&stranger, 503)] {
        let registry = format!("https://localhost:{}/", front.port());
        let yaml = yaml(&upstreams, &registry);
        let files = [("ca.pem", ca.pem())];
        let files = files.each_ref().map(|(name, pem)| (*name, pem.as_str()));
        let jwtproxy = Jwtproxy::start_with(&yaml, &files, &[], TRUST_CA_PEM).await;
        let answer = get(jwtproxy.verifiers[0], "/").await;
        assert_eq!(answer.code(), status, "{answer:?}\n{}", jwtproxy.log());
    }
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_trusted_certificates_https_is_a_mistake() {
    let yaml = yaml(&["https://localhost/".into()], "https://localhost:1/");
    let none = [("SSL_CERT_FILE", "$DIR/missing.pem")];
    let finished = Jwtproxy::run_with(&yaml, &[], &none).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    for place in ["upstream", "key_server.options.registry"] {
        let words = format!("{place}: found \"https://localhost");
        assert!(finished.stderr.contains(&words), "{}", finished.stderr);
    }
    assert!(
        finished.stderr.contains("set SSL_CERT_FILE"),
        "{}",
        finished.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_be_a_socket_or_one_of_the_addresses_of_a_name() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("upstream.sock");
    let _front = Front::unix(upstream.address(), &socket);
    let yaml = yaml(
        &[
            format!("unix:{}", socket.display()),
            // Often ::1 as well, where nobody listens.
            format!("http://localhost:{}", upstream.address().port()),
        ],
        &registry.url(),
    );
    let jwtproxy = Jwtproxy::start(&yaml, &[], &[]).await;
    for verifier in &jwtproxy.verifiers {
        for _ in 0..8 {
            let answer = get(*verifier, "/path").await;
            assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
            assert_eq!(answer.json()["path"], "/path");
        }
    }
}
