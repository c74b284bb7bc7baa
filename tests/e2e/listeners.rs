use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A verifier on this socket, and one that is not enabled and could not run.
fn yaml(upstream: &Upstream, registry: &TestRegistry, socket: &str, permission: &str) -> String {
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - enabled: false
    listen_addr: "nowhere at all"
  - listen_addr: "unix:{socket}"
    socket_permission: {permission}
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
async fn a_unix_socket_has_its_permission_serves_and_goes_with_the_process() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("verifier.sock");
    // Left behind by a process that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    let yaml = yaml(&upstream, &registry, &socket.to_string_lossy(), "0640");
    let mut jwtproxy = Jwtproxy::start(&yaml, &[], &["--workers", "2"]).await;
    let words = format!("verifier listening on unix:{}", socket.display());
    assert!(jwtproxy.log().contains(&words), "{}", jwtproxy.log());
    assert_eq!(mode(&socket), 0o640);

    let refused = client::get_at_socket(&socket, "/path", None).await;
    assert_eq!(refused.code(), 403, "{refused:?}");
    let bearer = format!("Bearer {}", tokens::good());
    let accepted = client::get_at_socket(&socket, "/path", Some(&bearer)).await;
    assert_eq!(accepted.code(), 200, "{accepted:?}");
    assert_eq!(accepted.json()["path"], "/path");

    jwtproxy.terminate().await;
    assert!(jwtproxy.ended().await.success(), "{}", jwtproxy.log());
    assert!(!socket.exists());
}

fn mode(socket: &Path) -> u32 {
    let found = std::fs::metadata(socket).unwrap();
    assert!(found.file_type().is_socket());
    found.permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_somebody_uses_and_a_file_that_is_none_are_left_alone() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let folder = tempfile::tempdir().unwrap();
    let (live, file) = (folder.path().join("live"), folder.path().join("file"));
    let _somebody = UnixListener::bind(&live).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let missing = folder.path().join("no/such/folder/socket");
    for (path, problem) in [
        (&live, "address in use"),
        (&file, "it is no socket"),
        (&missing, "No such file or directory"),
    ] {
        let yaml = yaml(&upstream, &registry, &path.to_string_lossy(), "0755");
        let finished = Jwtproxy::run(&yaml, &[]).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        let named = format!("cannot listen on unix:{}: ", path.display());
        for words in [named.as_str(), problem] {
            let said = &finished.stderr;
            assert!(said.contains(words), "{words:?} is not in\n{said}");
        }
    }
    assert!(std::os::unix::net::UnixStream::connect(&live).is_ok());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_with_urls_and_keys_of_the_fork_starts() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let yaml = format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: http://127.0.0.1:0
    verifier:
      upstream: "ws://{}/"
      audience: {AUDIENCE}
      cookie_path: /app
      public_base_path: /app
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
"#,
        upstream.address(),
        registry.url()
    );
    let jwtproxy = Jwtproxy::start(&yaml, &[], &[]).await;
    let bearer = format!("Bearer {}", tokens::good());
    let answer = client::get(jwtproxy.verifiers[0], "/path", Some(&bearer)).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    for words in ["cookie_path has no effect", "set trusted_hops"] {
        assert!(jwtproxy.log().contains(words), "{}", jwtproxy.log());
    }

    let secure = yaml.replace("http://127.0.0.1:0", "https://127.0.0.1:0");
    let finished = Jwtproxy::run_with(&secure, &[], &[]).await;
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let words = "\"listen_addr\": https takes \"key_file\" and \"crt_file\"";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
}
