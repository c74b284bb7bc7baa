//! Envoy with a bootstrap that somebody has written by hand.

use crate::verifier::free_address;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Far beyond what a start takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running Envoy. Dropped, it is killed.
pub struct OwnEnvoy {
    address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl OwnEnvoy {
    /// Starts one from an example, whose addresses and whose filter's file are replaced by real
    /// ones.
    pub async fn start(example: &str, api: SocketAddr, registry: SocketAddr) -> Self {
        Self::start_changed(example, api, registry, |bootstrap| bootstrap).await
    }

    /// The same with a last change.
    pub async fn start_changed(
        example: &str,
        api: SocketAddr,
        registry: SocketAddr,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let module = folder.path().join("filter.wasm");
        fs::write(&module, envoy::FILTER_WASM).expect("a file");
        let address = free_address();
        let mut text = example.to_owned();
        for (place, real) in [
            ("address: 0.0.0.0, port_value: 8081", in_yaml(address)),
            ("address: api.internal, port_value: 9090", in_yaml(api)),
            (
                "address: registry.example, port_value: 8888",
                in_yaml(registry),
            ),
            (
                "/etc/envoy/jwtproxy-filter.wasm",
                module.display().to_string(),
            ),
        ] {
            assert!(text.contains(place), "the example has no {place:?}");
            text = text.replace(place, &real);
        }
        let path = folder.path().join("bootstrap.yaml");
        fs::write(&path, change(text)).expect("a file");
        let mut child = spawn(&path, &folder.path().join("log"));
        let started = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let ended = child.try_wait().expect("a status");
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                panic!("Envoy is not ready ({ended:?}):\n{log}");
            }
            sleep(Duration::from_millis(25)).await;
        }
        Self {
            address,
            _child: child,
            _folder: folder,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn in_yaml(address: SocketAddr) -> String {
    format!("address: {}, port_value: {}", address.ip(), address.port())
}

fn spawn(bootstrap: &Path, log: &Path) -> Child {
    Command::new(envoy::locate().unwrap_or_else(|error| panic!("{error}")))
        .arg("--config-path")
        .arg(bootstrap)
        .args(["--disable-hot-restart", "--concurrency", "1"])
        .args(["--log-level", "warning"])
        .stdin(Stdio::null())
        .stderr(fs::File::create(log).expect("a file"))
        .kill_on_drop(true)
        .spawn()
        .expect("Envoy starts")
}
