//! The process: what it prints, how it stops, how it fails.

mod process;

use process::{Process, command, stderr};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn it_serves_its_seeds_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("k.jwk");
    std::fs::write(&file, r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#).unwrap();
    let key = format!("service=a/b,kid=k,file={}", file.display());
    for signal in ["-TERM", "-INT"] {
        let args = ["--key", &key, "--base-path", "/base/", "--max-age", "2m"];
        let mut process = Process::start(&args);
        let answer = process.get("/base/services/a%2Fb/keys/k");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("cache-control: max-age=120\r\n"),
            "{answer}"
        );
        process.signal(signal);
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn seeds_that_are_wrong_end_it_before_it_listens() {
    let args = [
        "--seed",
        "absent.json",
        "--key",
        "service=a",
        "--key",
        "a=b",
    ];
    let output = command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let stderr = stderr(&output);
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("error: ")));
}

/// Another user could make the registry serve a key of theirs.
#[test]
fn files_that_every_user_can_write_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#).unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&file, open_to_all).unwrap();
    let path = file.to_str().unwrap();
    let key = format!("service=a,kid=k,file={path}");
    for args in [
        ["--key", &key, "--log-level", "info"],
        ["--seed", path, "--log-level", "info"],
        ["--tls-cert", path, "--tls-key", path],
        ["--admin-listen", "127.0.0.1:0", "--admin-token-file", path],
    ] {
        let output = command(&args).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let stderr = stderr(&output);
        assert!(
            stderr.contains("can be changed by every user"),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn a_wrong_flag_ends_it_with_2() {
    let output = command(&["--listen", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--listen <IP:PORT>"));
}

#[test]
fn a_taken_address_ends_it_with_1() {
    let process = Process::start(&[]);
    let output = command(&["--listen", &process.address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("cannot listen on {}", process.address)));
}
