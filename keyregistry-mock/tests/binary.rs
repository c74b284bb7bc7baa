//! The process: what it prints, how it stops, how it fails.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

/// A running `keyregistry-mock`, killed when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = command(&["--listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.expect("the address on the first line").to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyregistry-mock"));
    command.args(args);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

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
