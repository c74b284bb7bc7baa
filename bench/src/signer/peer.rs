//! The command `jwtproxy` with a signer.

use super::authority::Authority;
use crate::process::Process;
use crate::tokens::{ISSUER, Key};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far beyond what a start takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What signs nothing: every request takes the same way but for the token, which is what signing
/// is compared with.
const UNSIGNED: &str = "    hosts: [{host: \"*\", action: pass}]\n";

/// How a signer is to be.
pub(super) struct Settings<'a> {
    /// Where it may run.
    pub(super) cores: &'a str,
    /// What it signs with.
    pub(super) key: &'a Key,
    /// Whether it signs.
    pub(super) signs: bool,
    /// Whom it believes when it speaks TLS to servers.
    pub(super) trusted: &'a Authority,
    /// More YAML, of the level of `signer_proxy`.
    pub(super) beside: &'a str,
}

/// A running signer, and its authority that clients trust.
pub(super) struct Signer {
    process: Process,
    address: SocketAddr,
    authority: Authority,
    started_in: Duration,
    _folder: TempDir,
}

impl Signer {
    /// Starts one and waits until it says that it is ready.
    pub(super) fn start(settings: &Settings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new("the signer's authority");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        write("ca.key", &authority.key());
        write("ca.crt", &authority.certificate());
        write("roots.pem", &settings.trusted.certificate());
        write("service.key", &settings.key.private_pem());
        let config = write("config.yaml", &yaml(folder.path(), settings));
        let log = folder.path().join("log");
        let mut command = Command::new(binary());
        command.arg("-config").arg(config);
        let file = File::create(&log).expect("a file");
        let started = Instant::now();
        let process = Process::start_logging(settings.cores, &command, file);
        let mut this = Self {
            process,
            address: ([0, 0, 0, 0], 0).into(),
            authority,
            started_in: Duration::ZERO,
            _folder: folder,
        };
        this.wait(&log, started);
        this
    }

    fn wait(&mut self, log: &Path, started: Instant) {
        loop {
            let said = fs::read_to_string(log).unwrap_or_default();
            if said.contains("jwtproxy is ready") {
                self.started_in = started.elapsed();
                self.address = address(&said).expect("the log tells the address");
                return;
            }
            let ended = self.process.ended();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "jwtproxy is not ready ({ended:?}):\n{said}"
            );
            sleep(Duration::from_millis(1));
        }
    }

    /// The process.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its clients are to trust.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// From its start until it was ready.
    pub(super) fn started_in(&self) -> Duration {
        self.started_in
    }
}

fn yaml(folder: &Path, settings: &Settings<'_>) -> String {
    let folder = folder.display();
    let key_id = settings.key.key_id();
    let policy = if settings.signs { "" } else { UNSIGNED };
    let beside = settings.beside;
    format!(
        r#"
jwtproxy:
  signer_proxy:
    listen_addr: "127.0.0.1:0"
    ca_key_file: "{folder}/ca.key"
    ca_crt_file: "{folder}/ca.crt"
    trusted_certificates: ["{folder}/roots.pem"]
    signer:
      issuer: {ISSUER}
      private_key:
        type: preshared
        options: {{key_id: {key_id}, private_key_path: "{folder}/service.key"}}
{policy}{beside}"#
    )
}

fn address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("signer listening on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Built with this benchmark.
fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let binary = this.with_file_name("jwtproxy");
    let build = "cargo build --release -p signer-native";
    assert!(binary.is_file(), "jwtproxy is not there: run `{build}`");
    binary
}
