//! How `jwtproxy` as a process ends while its signer serves a request.
#![expect(
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;
use tempfile::TempDir;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

#[test]
fn a_signal_while_envoy_starts_lets_the_signers_requests_finish() {
    let mut jwtproxy = Jwtproxy::start();
    let request = Request::in_flight(jwtproxy.signer);
    jwtproxy.terminate();
    jwtproxy.wait_until_new_clients_are_refused();
    assert_eq!(request.finish(), "slow");
    assert!(jwtproxy.child.wait().unwrap().success());
}

#[test]
fn an_envoy_that_fails_lets_the_signers_requests_finish() {
    let mut jwtproxy = Jwtproxy::start();
    let request = Request::in_flight(jwtproxy.signer);
    jwtproxy.let_envoy_fail();
    jwtproxy.wait_until_new_clients_are_refused();
    assert_eq!(request.finish(), "slow");
    assert!(!jwtproxy.child.wait().unwrap().success());
}

#[test]
fn a_second_signal_does_not_wait_for_them() {
    let mut jwtproxy = Jwtproxy::start();
    let _request = Request::in_flight(jwtproxy.signer);
    jwtproxy.terminate();
    jwtproxy.wait_until_new_clients_are_refused();
    jwtproxy.terminate();
    assert!(jwtproxy.child.wait().unwrap().success());
}

/// A `jwtproxy` whose signer serves and whose Envoy is still starting. Dropped, it is killed.
struct Jwtproxy {
    child: Child,
    signer: SocketAddr,
    folder: TempDir,
}

impl Jwtproxy {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        fs::write(&config, configuration()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_jwtproxy"))
            .arg("-config")
            .arg(config)
            .env("ENVOY_PATH", format!("{FOLDER}/ending/envoy.sh"))
            .env("ENVOY_FAILS", folder.path().join("fails"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            signer: read_address(child.stderr.take().unwrap()),
            child,
            folder,
        }
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.unwrap().success());
    }

    fn let_envoy_fail(&self) {
        fs::write(self.folder.path().join("fails"), "").unwrap();
    }

    fn wait_until_new_clients_are_refused(&self) {
        while TcpStream::connect(self.signer).is_ok() {
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Jwtproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration() -> String {
    format!(
        "jwtproxy:
  signer_proxy:
    listen_addr: 127.0.0.1:0
    signer:
      issuer: my-service
      private_key:
        type: preshared
        options: {{key_id: my-key, private_key_path: {FOLDER}/keys/pkcs8.pem}}
  verifier_proxies:
  - listen_addr: 127.0.0.1:0
    verifier:
      upstream: http://127.0.0.1:1/
      audience: http://localhost
      key_server:
        type: preshared
        options: {{issuer: my-service, key_id: my-key, public_key_path: {FOLDER}/keys/public.pem}}
"
    )
}

/// Where the signer listens. What is logged after that is read too, so that nothing waits for it.
fn read_address(stderr: ChildStderr) -> SocketAddr {
    let mut log = BufReader::new(stderr);
    let mut line = String::new();
    loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it has ended");
        if let Some((_, address)) = line.trim_end().split_once("signer listening on ") {
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return address.parse().unwrap();
        }
    }
}

/// A request through the signer that has arrived upstream and is not answered yet.
struct Request {
    client: TcpStream,
    upstream: TcpStream,
}

impl Request {
    fn in_flight(signer: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(signer).unwrap();
        write!(
            client,
            "GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"
        )
        .unwrap();
        let (mut upstream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            upstream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        Self { client, upstream }
    }

    /// Answers it, and returns the body that the client got.
    fn finish(mut self) -> String {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";
        // Where the proxy is gone, the client is who tells.
        let _ = self.upstream.write_all(answer.as_bytes());
        let mut received = String::new();
        let _ = self.client.read_to_string(&mut received);
        let body = received.split_once("\r\n\r\n");
        body.map(|(_, body)| body.to_owned()).unwrap_or(received)
    }
}
