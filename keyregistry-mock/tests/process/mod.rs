//! `keyregistry-mock` as a process.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "each test file uses its part, and clippy knows test functions only"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A running registry, killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// `host:port`.
    pub(crate) address: String,
    /// That of the admin listener, if there is one.
    pub(crate) admin: Option<String>,
}

impl Process {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    pub(crate) fn start_at(address: &str, args: &[&str]) -> Self {
        Self::spawn(command(&["--listen", address]), args)
    }

    /// A process that may have so many file descriptors, of which only `soft` are given to it.
    pub(crate) fn start_with_descriptors(soft: u32, hard: u32, args: &[&str]) -> Self {
        let limited = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
        let mut command = Command::new("bash");
        let program = env!("CARGO_BIN_EXE_keyregistry-mock");
        command.args(["-c", &limited, "bash", program, "--listen", "127.0.0.1:0"]);
        Self::spawn(command, args)
    }

    fn spawn(mut command: Command, args: &[&str]) -> Self {
        let mut child = command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut address_after = |words: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let url = line.trim_end().strip_prefix(words);
            let (_, address) = url.expect(words).split_once("://").expect("a URL");
            address.to_owned()
        };
        let address = address_after("listening on ");
        let admin = args.contains(&"--admin-listen");
        let admin = admin.then(|| address_after("admin listening on "));
        Self {
            child,
            address,
            admin,
        }
    }

    /// The answer as it comes over the wire.
    pub(crate) fn get(&self, path: &str) -> String {
        self.try_exchange("GET", path, "", "").expect("an answer")
    }

    /// The answer, unless the process is killed meanwhile.
    pub(crate) fn try_exchange(
        &self,
        method: &str,
        path: &str,
        authorization: &str,
        body: &str,
    ) -> std::io::Result<String> {
        exchange(&self.address, method, path, authorization, body)
    }

    /// The answer of the admin listener.
    pub(crate) fn exchange_with_admin(
        &self,
        method: &str,
        path: &str,
        authorization: &str,
    ) -> std::io::Result<String> {
        let address = self.admin.as_ref().expect("an admin listener");
        exchange(address, method, path, authorization, "")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.unwrap().success());
    }
}

fn exchange(
    address: &str,
    method: &str,
    path: &str,
    authorization: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    // Instead of for ever.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyregistry-mock"));
    command.args(args);
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
