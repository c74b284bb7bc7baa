use jwtproxy_tests::certificates::TestCa;
use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens::{self, AUDIENCE};
use jwtproxy_tests::upstream::Upstream;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `nobody`, who owns nothing here.
const OTHER_USER: u32 = 65534;

/// A verifier with a certificate, so that there are secrets, and one on a unix socket.
fn yaml(upstream: &Upstream, registry: &TestRegistry) -> String {
    let verifier = format!(
        "verifier:
      upstream: \"http://{}/\"
      audience: {AUDIENCE}
      key_server: {{type: keyregistry, options: {{registry: \"{}\"}}}}",
        upstream.address(),
        registry.url()
    );
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    key_file: "$DIR/server.key"
    crt_file: "$DIR/server.crt"
    {verifier}
  - listen_addr: "unix:$DIR/verifier.sock"
    socket_permission: 0600
    {verifier}
"#
    )
}

/// Everything in a folder, itself included.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(tree(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Whether a shell command of another user succeeds. Only root can become another user; else the
/// modes that the caller looks at have to suffice.
fn other_user_can(command: &str, path: &Path) -> bool {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return false;
    }
    let status = Command::new("sh")
        .args(["-c", command, "sh"])
        .arg(path)
        .uid(OTHER_USER)
        .gid(OTHER_USER)
        .current_dir("/")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    status.unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_cannot_list_read_or_replace_the_files_of_envoy() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let identity = TestCa::new().issue("api.example");
    let files = [
        ("server.key", identity.key.as_str()),
        ("server.crt", &identity.certificate),
    ];
    let yaml = yaml(&upstream, &registry);
    for umask in ["000", "022", "077"] {
        let preparation = format!("umask {umask}");
        let mut jwtproxy = Jwtproxy::start_after(&preparation, &yaml, &files, &[]).await;
        let admin = jwtproxy.admin_socket();
        let folder = admin.parent().unwrap();
        let found = tree(folder);
        // The folder, the secrets with one file, bootstrap, module and socket.
        assert_eq!(found.len(), 6, "{found:?}");
        for path in &found {
            let (metadata, own) = (
                fs::metadata(path).unwrap(),
                fs::metadata("/proc/self").unwrap(),
            );
            let mode = metadata.permissions().mode() & 0o7777;
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "umask {umask}: {}", path.display());
            assert_eq!(metadata.uid(), own.uid(), "{}", path.display());
            for attempt in [
                "ls \"$1\"",
                "cat \"$1\"",
                "rm -rf \"$1\"",
                "mv \"$1\" \"$1.old\"",
                "ln -sfn /dev/null \"$1\"",
                "echo > \"$1\"",
                "mkdir \"$1/new\"",
                "chmod 777 \"$1\"",
            ] {
                let done = other_user_can(attempt, path);
                assert!(!done, "umask {umask}: {attempt} {}", path.display());
            }
        }
        let socket = jwtproxy.folder().join("verifier.sock");
        for socket in [&admin, &socket] {
            let connect =
                "exec curl -sf --max-time 10 --unix-socket \"$1\" http://envoy/quitquitquit";
            assert!(!other_user_can(connect, socket), "{}", socket.display());
        }
        let mode = fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "umask {umask}");
        let bearer = format!("Bearer {}", tokens::good());
        let answer = client::get_at_socket(&socket, "/", Some(&bearer)).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
        jwtproxy.terminate().await;
        assert!(jwtproxy.ended().await.success(), "{}", jwtproxy.log());
        assert!(!folder.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_not_reloaded_from_a_folder_that_others_can_write_to() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let ca = TestCa::new();
    let (one, two) = (ca.issue("one.example"), ca.issue("two.example"));
    let files = [
        ("server.key", one.key.as_str()),
        ("server.crt", &one.certificate),
    ];
    let jwtproxy = Jwtproxy::start(&yaml(&upstream, &registry), &files, &[]).await;
    let secrets = jwtproxy.admin_socket().with_file_name("secrets");
    fs::set_permissions(&secrets, Permissions::from_mode(0o777)).unwrap();
    fs::write(jwtproxy.folder().join("server.key"), &two.key).unwrap();
    fs::write(jwtproxy.folder().join("server.crt"), &two.certificate).unwrap();
    jwtproxy.says("other users have access to it").await;
    assert!(!secrets.join("changed").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tmpdir_that_is_not_safe_is_refused() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let identity = TestCa::new().issue("api.example");
    let files = [
        ("server.key", identity.key.as_str()),
        ("server.crt", &identity.certificate),
    ];
    let outer = tempfile::tempdir().unwrap();
    let create = |name: &str, mode| {
        let folder = outer.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let long = create(&"a".repeat(100), 0o755);
    let open = create("open", 0o777);
    let file = outer.path().join("file");
    fs::write(&file, "").unwrap();
    for (tmpdir, problem) in [
        (open.as_str(), "other users can replace what is in it"),
        (&long, "a shorter folder in TMPDIR"),
        ("/no/such/folder", "No such file or directory"),
        (file.to_str().unwrap(), "Not a directory"),
    ] {
        let environment = [("TMPDIR", tmpdir)];
        let yaml = yaml(&upstream, &registry).replace("unix:$DIR/verifier.sock", "127.0.0.1:0");
        let finished = Jwtproxy::run_with(&yaml, &files, &environment).await;
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        let said = &finished.stderr;
        assert!(said.contains(problem), "{problem:?} is not in\n{said}");
    }
}
