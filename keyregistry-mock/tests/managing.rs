//! The commands that manage the keys of a registry that runs, and TLS as curl sees it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod process;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_core::testing::TestSigner;
use keyregistry_mock::jwk::PublicJwk;
use process::{Process, command, stderr};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

const TOKEN: &str = "a token that nobody guesses";

/// A registry with an admin listener, and the files of those who manage it.
struct World {
    process: Process,
    folder: TempDir,
}

impl World {
    fn new(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN.replace(' ', "-") + "\n").unwrap();
        let mut args = vec!["--admin-listen", "127.0.0.1:0", "--admin-token-file"];
        args.push(token.to_str().unwrap());
        args.extend(extra);
        Self {
            process: Process::start(&args),
            folder,
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        let admin = format!("http://{}/", self.process.admin.as_ref().unwrap());
        command(&[name, "--admin", &admin, "--token-file"])
            .arg(self.folder.path().join("token"))
            .args(args)
            .output()
            .unwrap()
    }

    /// What a command that succeeds says.
    fn said(&self, name: &str, args: &[&str]) -> String {
        let output = self.run(name, args);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self, path: &str) -> String {
        let answer = self.process.get(path);
        answer.split(' ').nth(1).unwrap().to_owned()
    }
}

#[test]
fn keys_are_imported_listed_shown_approved_and_revoked() {
    let seed = r#"{"services": {"svc": {"keys": [
        {"kid": "p", "state": "pending", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}]}}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.json");
    std::fs::write(&file, seed).unwrap();
    let world = World::new(&["--seed", file.to_str().unwrap()]);
    let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#).unwrap();
    let thumbprint = jwk.thumbprint();
    let line = format!("svc\tp\tpending\t-\t{thumbprint}\t-\t-\n");
    assert_eq!(world.said("list", &[]), line);

    let pem = TestSigner::service().public_pem() + "# until May\n";
    let pem = world.file("k.pem", &pem);
    let pem = pem.to_str().unwrap();
    let imported = world.said("import", &["--service", "a/b", pem]);
    let kid = imported.trim_end();
    assert_eq!(kid, TestSigner::service().public_key().thumbprint());
    assert_eq!(world.status(&format!("/services/a%2Fb/keys/{kid}")), "200");
    let until = ["--kid=-k", "--expires", "9999999999"];
    world.said("import", &[&["--service", "a/b", pem], &until[..]].concat());
    let listed = world.said("list", &["--service", "a/b", "--state", "approved"]);
    assert!(
        listed.contains(&format!("a/b\t-k\tapproved\t9999999999\t{kid}\t-\t-\n")),
        "{listed}"
    );
    let shown = world.said("show", &["a/b", kid]);
    assert!(
        shown.contains("\"jwk\":{") && shown.contains(kid),
        "{shown}"
    );

    assert_eq!(world.status("/services/svc/keys/p"), "409");
    let approved = world.said("approve", &["svc", "p", "--thumbprint", &thumbprint]);
    assert!(approved.contains(&thumbprint), "{approved}");
    world.said("approve", &["svc", "p", "--thumbprint", &thumbprint]);
    assert_eq!(world.status("/services/svc/keys/p"), "200");
    world.said("revoke", &["svc", "p"]);
    assert_eq!(world.status("/services/svc/keys/p"), "404");
    let refused = world.run("approve", &["svc", "p", "--thumbprint", &thumbprint]);
    assert!(!refused.status.success());
}

/// A registry whose key `p` of `svc` awaits approval, and the key's thumbprint.
fn with_pending_key() -> (World, String) {
    let seed = r#"{"services": {"svc": {"keys": [
        {"kid": "p", "state": "pending", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}]}}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.json");
    std::fs::write(&file, seed).unwrap();
    let world = World::new(&["--seed", file.to_str().unwrap()]);
    let jwk = PublicJwk::parse(r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#).unwrap();
    (world, jwk.thumbprint())
}

#[test]
fn an_approval_without_the_thumbprint_of_the_key_is_refused() {
    let (world, thumbprint) = with_pending_key();
    let output = world.run("approve", &["svc", "p"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("give --thumbprint"), "{output:?}");
    let other = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    let output = world.run("approve", &["svc", "p", "--thumbprint", other]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("answered 409") && said.contains(&thumbprint),
        "{said}"
    );
    for (query, status) in [
        ("", "400"),
        ("?thumbprint=", "409"),
        ("?thumbprint=x", "409"),
        ("?thumb=x", "400"),
    ] {
        let path = format!("/services/svc/keys/p/approve{query}");
        let token = format!("Bearer {}", TOKEN.replace(' ', "-"));
        let answer = world.process.exchange_with_admin("POST", &path, &token);
        let answer = answer.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{query} {answer}"
        );
    }
    assert_eq!(world.status("/services/svc/keys/p"), "409");
}

/// Neither a part of it nor more than it; the comparison itself takes the same time for all of one
/// length.
#[test]
fn the_admin_token_is_whole_and_nothing_else() {
    let world = World::new(&[]);
    let token = TOKEN.replace(' ', "-");
    let status = |authorization: &str| {
        let exchange = world
            .process
            .exchange_with_admin("GET", "/keys", authorization);
        exchange.unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let mut flipped = token.clone();
    flipped.replace_range(0..1, "b");
    let mut last = token.clone();
    last.replace_range(token.len() - 1.., "S");
    let longer = format!("{token}x");
    let twice = format!("{token}{token}");
    for wrong in [
        "",
        "a",
        token.split_at(1).0,
        token.split_at(1).1,
        token.split_at(16).0,
        token.split_at(token.len() - 1).0,
        &longer,
        &twice,
        &flipped,
        &last,
        &token.to_uppercase(),
        &format!("\"{token}\""),
        &format!("{token},{token}"),
        &format!("{token} {token}"),
        &"a".repeat(token.len()),
    ] {
        assert_eq!(status(&format!("Bearer {wrong}")), "401", "{wrong:?}");
    }
    for wrong in ["", "Bearer", &token, &format!("Basic {token}")] {
        assert_eq!(status(wrong), "401", "{wrong:?}");
    }
    assert_eq!(status(&format!("Bearer {token}")), "200");
}

#[test]
fn on_a_terminal_an_approval_shows_the_key_and_asks() {
    let (world, thumbprint) = with_pending_key();
    let admin = format!("http://{}/", world.process.admin.as_ref().unwrap());
    let line = format!(
        "'{}' approve --admin {admin} --token-file '{}' svc p",
        env!("CARGO_BIN_EXE_keyregistry-mock"),
        world.folder.path().join("token").display()
    );
    for (answer, status, succeeds) in [("n\n", "409", false), ("y\n", "200", true)] {
        // util-linux's script gives the command a terminal.
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = script.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).unwrap();
        let output = script.wait_with_output().unwrap();
        drop(stdin);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains(&thumbprint) && said.contains("[y/N]"),
            "{said}"
        );
        assert_eq!(output.status.success(), succeeds, "{said}");
        assert_eq!(world.status("/services/svc/keys/p"), status);
    }
}

#[test]
fn a_revoked_seed_does_not_come_back_with_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [database, key] = ["keys.db", "k.pem"].map(|name| folder.path().join(name));
    std::fs::write(&key, TestSigner::service().public_pem()).unwrap();
    let seed = format!("service=svc,kid=k,file={}", key.display());
    let args = ["--database", database.to_str().unwrap(), "--key", &seed];
    let world = World::new(&args);
    assert_eq!(world.status("/services/svc/keys/k"), "200");
    world.said("revoke", &["svc", "k"]);
    drop(world);

    let world = World::new(&args);
    assert_eq!(world.status("/services/svc/keys/k"), "404");
    let import = ["--service", "svc", "--kid", "k", key.to_str().unwrap()];
    let refused = world.run("import", &import);
    assert!(stderr(&refused).contains("--restore"), "{refused:?}");
    let other = ["--service", "other", "--kid", "new", key.to_str().unwrap()];
    assert!(!world.run("import", &other).status.success());
    world.said("import", &[&import[..], &["--restore"]].concat());
    assert_eq!(world.status("/services/svc/keys/k"), "200");
}

/// Who can change them approves keys, or answers in the registry's place.
#[test]
fn a_registry_takes_no_token_certificate_or_seed_of_another_user() {
    let folder = tempfile::tempdir().unwrap();
    if folder.path().metadata().unwrap().uid() != 0 {
        // Only root can give files to another user.
        return;
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "{}").unwrap();
    lchown(&file, Some(65_534), None).unwrap();
    let file = file.to_str().unwrap();
    let key = format!("service=svc,file={file}");
    for args in [
        ["--admin-listen", "127.0.0.1:0", "--admin-token-file", file].as_slice(),
        &["--tls-cert", file, "--tls-key", file],
        &["--seed", file],
        &["--key", &key],
    ] {
        let refused = command(&["--listen", "127.0.0.1:0"]).args(args).output();
        let refused = refused.unwrap();
        assert!(!refused.status.success(), "{args:?}");
        let problem = "belongs to the user with id 65534";
        assert!(stderr(&refused).contains(problem), "{refused:?}");
    }
}

/// Some exporters write numbers with a leading zero byte. A seed of theirs is the key that it is.
#[test]
fn a_revoked_seed_does_not_come_back_in_another_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let [seed, key] = ["k.jwk", "k.pem"].map(|name| folder.path().join(name));
    let pem = TestSigner::service().public_pem();
    std::fs::write(&key, &pem).unwrap();
    let jwk = PublicJwk::from_pem(&pem).unwrap();
    let (mut longer, thumbprint) = (jwk.to_json(), jwk.thumbprint());
    let modulus = URL_SAFE_NO_PAD.decode(longer["n"].as_str().unwrap());
    longer["n"] = URL_SAFE_NO_PAD
        .encode([vec![0], modulus.unwrap()].concat())
        .into();
    std::fs::write(&seed, longer.to_string()).unwrap();
    let flag = format!("service=svc,kid=k,file={}", seed.display());
    let world = World::new(&["--key", &flag]);
    assert!(world.said("show", &["svc", "k"]).contains(&thumbprint));
    world.said("revoke", &["svc", "k"]);
    for service in ["svc", "other"] {
        let import = ["--service", service, "--kid", "new", key.to_str().unwrap()];
        let refused = world.run("import", &import);
        assert!(stderr(&refused).contains("--restore"), "{refused:?}");
    }
}

#[test]
fn a_purge_says_what_it_removes() {
    let (world, thumbprint) = with_pending_key();
    let output = world.run("purge", &["--dry-run"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        world.said("purge", &["--expired"]),
        "removed 0 pending keys\n"
    );
    let said = world.said("purge", &["--service", "svc", "--dry-run"]);
    assert!(said.contains(&thumbprint), "{said}");
    assert!(said.ends_with("would remove 1 pending keys\n"), "{said}");
    assert_eq!(world.status("/services/svc/keys/p"), "409");
    let nothing = world.said("purge", &["--service", "svc", "--source", "192.0.2.1"]);
    assert_eq!(nothing, "removed 0 pending keys\n");
    let said = world.said("purge", &["--service", "svc"]);
    assert!(said.ends_with("removed 1 pending keys\n"), "{said}");
    assert_eq!(world.status("/services/svc/keys/p"), "404");
}

#[test]
fn a_list_longer_than_a_page_is_complete() {
    let keys: Vec<String> = (0..2_500)
        .map(|number| {
            format!(r#"{{"kid": "{number}", "jwk": {{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}}}"#)
        })
        .collect();
    let keys = keys.join(",");
    let seed =
        format!(r#"{{"services": {{"a&b": {{"keys": [{keys}]}}, "b": {{"keys": [{keys}]}}}}}}"#);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.json");
    std::fs::write(&file, seed).unwrap();
    let world = World::new(&["--seed", file.to_str().unwrap()]);
    let listed = world.said("list", &[]);
    let lines: std::collections::BTreeSet<&str> = listed.lines().collect();
    assert_eq!((listed.lines().count(), lines.len()), (5_000, 5_000));
}

#[test]
fn a_name_makes_up_no_line_of_the_list() {
    let seed = r#"{"services": {"svc": {"keys": [
        {"kid": "a\nb\tc\u001b[0mü", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}]}}}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seed.json");
    std::fs::write(&file, seed).unwrap();
    let world = World::new(&["--seed", file.to_str().unwrap()]);
    let listed = world.said("list", &[]);
    assert!(
        listed.starts_with("svc\ta\\nb\\tc\\u{1b}[0mü\tapproved\t"),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 1);
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = World::new(&[]);
    let text = world.file("text", "no key");
    for (name, args, words) in [
        (
            "approve",
            vec!["svc", "k", "--thumbprint", "x"],
            "answered 404: the key is unknown",
        ),
        ("revoke", vec!["svc", "k"], "answered 404"),
        ("show", vec!["svc", ".."], "has such a name"),
        (
            "import",
            vec!["--service", "svc", text.to_str().unwrap()],
            "expected a file with a public key",
        ),
        ("list", vec!["--admin", "http://127.0.0.1:1"], "cannot ask"),
    ] {
        let output = if name == "list" {
            let token = world.folder.path().join("token");
            let token = token.to_str().unwrap().to_owned();
            command(&["list", "--token-file", &token])
                .args(args)
                .output()
                .unwrap()
        } else {
            world.run(name, &args)
        };
        assert!(!output.status.success(), "{name}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    world.file("token", "another-token-of-some-length");
    let output = world.run("list", &[]);
    assert!(
        stderr(&output).contains("answered 401"),
        "{}",
        stderr(&output)
    );
    world.file("token", "short");
    let output = world.run("list", &[]);
    assert!(
        stderr(&output).contains("at least 16"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_admin_calls_are_on_the_admin_listener_only() {
    let world = World::new(&[]);
    assert_eq!(world.status("/keys"), "404");
    let answer = Process {
        child: Command::new("true").spawn().unwrap(),
        address: world.process.admin.clone().unwrap(),
        admin: None,
    }
    .get("/keys");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
}

#[test]
fn both_listeners_end_together() {
    let world = World::new(&[]);
    let admin = world.process.admin.as_ref().unwrap();
    let mut slow = TcpStream::connect(&world.process.address).unwrap();
    let head = "PUT /services/svc/keys/a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n";
    // That it goes on says that the request has begun.
    write!(slow, "{head}expect: 100-continue\r\n\r\n").unwrap();
    let mut answer = BufReader::new(slow.try_clone().unwrap());
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    assert!(line.contains("100"), "{line}");

    world.process.signal("-TERM");
    while TcpStream::connect(admin).is_ok() {
        sleep(Duration::from_millis(10));
    }
    slow.write_all(b"{}").unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 400"), "{rest}");
}

#[test]
fn curl_finds_the_registry_behind_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let [key, certificate] = ["tls.key", "tls.crt"].map(|name| folder.path().join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args([
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let args = ["--tls-cert", certificate.to_str().unwrap()];
    let process = Process::start(&[&args[..], &["--tls-key", key.to_str().unwrap()]].concat()[..]);
    let url = format!("https://{}/healthz", process.address);
    let answer = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--cacert"])
        .args([certificate.to_str().unwrap(), &url])
        .output()
        .unwrap();
    assert_eq!(answer.stdout, b"ok\n", "{}", stderr(&answer));

    let output = command(&[
        "--tls-cert",
        "absent.crt",
        "--tls-key",
        key.to_str().unwrap(),
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("absent.crt"),
        "{}",
        stderr(&output)
    );
}
