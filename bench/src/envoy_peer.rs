//! Envoy with a bootstrap of the benchmark's own, so that all contenders differ in the one filter.

use crate::http;
use crate::process::Process;
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Far beyond what a start takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Envoy with one listener for each chain of filters.
pub struct EnvoyPeer {
    process: Process,
    admin: SocketAddr,
    listeners: Vec<SocketAddr>,
}

impl EnvoyPeer {
    /// Starts one with so many workers. Each of `chains` is what stands before the router of one
    /// listener; every request that comes through is answered at once.
    pub fn start(folder: &Path, cores: &str, workers: u32, chains: &[Vec<Value>]) -> Self {
        let listeners = chains.iter().map(|chain| {
            let address = free_address();
            (address, listener(address, chain))
        });
        Self::with_listeners(folder, cores, workers, listeners.unzip())
    }

    /// Starts one without further filters: its first listener speaks plain HTTP, its second,
    /// which is there at every local address, HTTPS with this certificate and key (PEM).
    pub fn start_server(folder: &Path, cores: &str, certificate: &str, key: &str) -> Self {
        let (plain, tls) = (free_address(), free_address());
        let everywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), tls.port());
        let mut with_tls = listener(everywhere, &[]);
        with_tls["filter_chains"][0]["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [{
                    "certificate_chain": {"inline_string": certificate},
                    "private_key": {"inline_string": key},
                }]},
            },
        });
        let listeners = (vec![plain, tls], vec![listener(plain, &[]), with_tls]);
        Self::with_listeners(folder, cores, 1, listeners)
    }

    fn with_listeners(
        folder: &Path,
        cores: &str,
        workers: u32,
        (listeners, configurations): (Vec<SocketAddr>, Vec<Value>),
    ) -> Self {
        let admin = free_address();
        let bootstrap = json!({
            "admin": {"address": socket(admin)},
            "static_resources": {"listeners": configurations},
        });
        let path = folder.join(format!("envoy-{}.json", admin.port()));
        fs::write(&path, bootstrap.to_string()).expect("a file");
        let log = fs::File::create(path.with_extension("log")).expect("a file");
        let mut command = Command::new(envoy::locate().unwrap_or_else(|error| panic!("{error}")));
        command
            .arg("--config-path")
            .arg(&path)
            .arg("--disable-hot-restart")
            .args(["--concurrency", &workers.to_string()]);
        let mut process = Process::start_logging(cores, &command, log);
        let started = Instant::now();
        while http::get(admin, "/ready", None).is_none_or(|response| response.status != 200) {
            let ended = process.ended();
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(path.with_extension("log")).unwrap_or_default();
                panic!("Envoy is not ready ({ended:?}):\n{log}");
            }
            sleep(Duration::from_millis(20));
        }
        Self {
            process,
            admin,
            listeners,
        }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Where that listener is; each chain has one.
    pub fn listener(&self, chain: usize) -> SocketAddr {
        self.listeners[chain]
    }

    /// Bytes that its allocator has handed out.
    pub fn allocated(&self) -> u64 {
        let response = http::get(self.admin, "/memory", None).expect("the admin interface");
        let memory: Value = serde_json::from_str(&response.body).expect("JSON");
        let allocated = memory["allocated"].as_str().and_then(|n| n.parse().ok());
        allocated.expect("a number")
    }
}

/// An address that nobody has now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn listener(address: SocketAddr, chain: &[Value]) -> Value {
    let mut filters = chain.to_vec();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    json!({
        "address": socket(address),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "bench",
                "http_filters": filters,
                "route_config": {"virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": {"prefix": "/"},
                        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
                    }],
                }]},
            },
        }]}],
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {
        "address": address.ip().to_string(), "port_value": address.port(),
    }})
}
