//! The commands that manage the keys of a registry that runs, and TLS as curl sees it.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod process;

use jwt_core::testing::TestSigner;
use keyregistry_mock::jwk::PublicJwk;
use process::{Process, command, stderr};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output};
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
    let line = format!("svc\tp\tpending\t-\t{}\n", jwk.thumbprint());
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
        listed.contains(&format!("a/b\t-k\tapproved\t9999999999\t{kid}\n")),
        "{listed}"
    );
    let shown = world.said("show", &["a/b", kid]);
    assert!(
        shown.contains("\"jwk\":{") && shown.contains(kid),
        "{shown}"
    );

    assert_eq!(world.status("/services/svc/keys/p"), "409");
    world.said("approve", &["svc", "p"]);
    assert_eq!(world.status("/services/svc/keys/p"), "200");
    world.said("revoke", &["svc", "p"]);
    assert_eq!(world.status("/services/svc/keys/p"), "404");
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
            vec!["svc", "k"],
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
