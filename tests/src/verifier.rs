//! A verifier: Envoy with the filter, configured from YAML as `jwtproxy` does it.

use crate::client;
use crate::registry::TestRegistry;
use crate::tokens::AUDIENCE;
use crate::tools;
use crate::upstream::Upstream;
use envoy::verifier::BoundAddress;
use envoy::{Envoy, Options};
use signer_native::config::Config;
use std::borrow::Cow;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A running verifier.
pub struct Verifier {
    envoy: Envoy,
    address: SocketAddr,
}

impl Verifier {
    /// Starts one whose keys are those of `registry`. `extra` is more YAML for `verifier:`.
    pub async fn start(upstream: &Upstream, registry: &TestRegistry, extra: &str) -> Self {
        Self::start_before(upstream.address(), registry, extra).await
    }

    /// The same before any service.
    pub async fn start_before(upstream: SocketAddr, registry: &TestRegistry, extra: &str) -> Self {
        let key_server = keyregistry(&registry.url());
        let yaml = yaml(upstream, &format!("{key_server}\n{extra}"));
        Self::run(&yaml, Options::default()).await
    }

    /// The same, with several workers.
    pub async fn start_with_workers(
        upstream: &Upstream,
        registry: &TestRegistry,
        extra: &str,
        workers: u32,
    ) -> Self {
        let key_server = keyregistry(&registry.url());
        Self::start_with_key_server(upstream, &format!("{key_server}\n{extra}"), workers).await
    }

    /// One whose `key_server:` is in `extra`.
    pub async fn start_with_key_server(upstream: &Upstream, extra: &str, workers: u32) -> Self {
        let options = Options {
            workers: Some(workers),
            ..Options::default()
        };
        Self::run(&yaml(upstream.address(), extra), options).await
    }

    /// One with another filter in place of ours.
    pub async fn start_with_filter(
        upstream: &Upstream,
        registry: &TestRegistry,
        filter: Cow<'static, [u8]>,
    ) -> Self {
        let options = Options {
            filter,
            ..Options::default()
        };
        let yaml = yaml(upstream.address(), &keyregistry(&registry.url()));
        Self::run(&yaml, options).await
    }

    async fn run(yaml: &str, mut options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("config.yaml");
        fs::write(&path, yaml).expect("a file");
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        options.workers = options.workers.or(Some(1));
        let envoy = Envoy::start(&config.verifiers, &options).await;
        let envoy = envoy.unwrap_or_else(|error| panic!("{error}"));
        let Some(BoundAddress::Tcp(address)) = envoy.addresses().first().cloned() else {
            panic!("no verifier on a port");
        };
        Self { envoy, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a metric has this value; the filter raises its metrics once a second. `name`
    /// is as Prometheus shows it, labels included.
    pub async fn expect_metric(&self, name: &str, expected: u64) {
        self.wait_for_metric(name, |value| value == expected).await;
    }

    /// Waits until a metric is what `wanted` asks for.
    pub async fn wait_for_metric(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let value = self.metric(name).await;
            if wanted(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A metric as it is now.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.ask_admin("/stats/prometheus").await;
        let name = if name.contains('{') {
            name.to_owned()
        } else {
            format!("{name}{{}}")
        };
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no metric {name}"));
        value.parse().expect("a number")
    }

    /// What the admin interface answers.
    pub async fn ask_admin(&self, path: &str) -> String {
        let answer = client::get_at_socket(self.envoy.admin_socket(), path, None).await;
        answer.body
    }

    /// The most memory that Envoy has used so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let id = self.envoy.process_id().expect("a running Envoy");
        tools::peak_memory(id)
    }

    /// Waits until so many requests are under way.
    pub async fn wait_for_active_requests(&self, expected: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = self.ask_admin("/stats?filter=downstream_rq_active").await;
            let lines = text.lines().filter(|line| !line.contains("http.admin."));
            let counts = lines.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok());
            let active: u64 = counts.sum();
            if active == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{active} requests are under way");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many workers have had connections.
    pub async fn workers_used(&self) -> usize {
        let path = "/stats?filter=worker_.*downstream_cx_total";
        let text = self.ask_admin(path).await;
        let counts = text.lines().filter_map(|line| line.rsplit_once(": "));
        // The admin interface's listener has no worker.
        counts
            .filter(|(name, count)| !name.contains("admin") && *count != "0")
            .count()
    }
}

/// YAML for a key registry at this URL.
pub fn keyregistry(url: &str) -> String {
    format!("key_server: {{type: keyregistry, options: {{registry: \"{url}\"}}}}")
}

/// An address for a server that is told where to listen, and that nobody else has now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// A configuration with one verifier.
fn yaml(upstream: SocketAddr, extra: &str) -> String {
    let extra: String = extra
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "http://{upstream}/"
      audience: {AUDIENCE}
{extra}"#
    )
}
