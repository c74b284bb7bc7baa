//! What is counted.

use crate::interception::CacheCounters;
use crate::keys::{KeyStatus, Phase};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It was signed, and the server answered.
    Signed,
    /// It was forwarded without a token, as the policy says.
    Passed,
    /// A CONNECT whose inside is read.
    Intercepted,
    /// A CONNECT whose bytes pass untouched.
    Tunnelled,
    /// The client was told that it asks for something wrong (4xx).
    Refused,
    /// It could not be signed or the server did not answer (5xx).
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

type NoLabels = [(&'static str, &'static str); 0];

/// The metrics of the signer. Names and meanings are an interface: dashboards are built on them.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<OutcomeLabel, Counter>,
    signing: Histogram,
    upstream: Histogram,
    client_connections: Gauge,
    upstream_connections: Gauge,
    // Families without labels: they appear once they have a value.
    key_since: Family<NoLabels, Gauge>,
    key_until: Family<NoLabels, Gauge>,
    key_phase: Family<PhaseLabel, Gauge>,
    key_activations: Gauge,
    key_failures: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let this = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            // From 10 µs to 40 ms, and from 1 ms to 65 s.
            signing: Histogram::new(exponential_buckets(0.000_01, 2.0, 13)),
            upstream: Histogram::new(exponential_buckets(0.001, 2.0, 17)),
            client_connections: Gauge::default(),
            upstream_connections: Gauge::default(),
            key_since: Family::default(),
            key_until: Family::default(),
            key_phase: Family::default(),
            key_activations: Gauge::default(),
            key_failures: Gauge::default(),
        };
        this.register();
        this
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registry.sub_registry_with_prefix("jwtproxy");
        registry.register("requests", "Requests by outcome", self.requests.clone());
        let help = "How long the making of a token took";
        registry.register("signing_seconds", help, self.signing.clone());
        let help = "How long servers took until the header section of their response";
        registry.register("upstream_seconds", help, self.upstream.clone());
        let help = "Open connections from clients";
        registry.register("client_connections", help, self.client_connections.clone());
        let help = "Open connections to servers, in use and kept";
        registry.register(
            "upstream_connections",
            help,
            self.upstream_connections.clone(),
        );
        let help = "Since when the active key has been used, in seconds since 1970";
        registry.register("key_active_since_seconds", help, self.key_since.clone());
        let help = "When the active key expires, in seconds since 1970";
        registry.register("key_expires_seconds", help, self.key_until.clone());
        let help = "1 for what the keys that look after themselves are at";
        registry.register("key_phase", help, self.key_phase.clone());
        let help = "Keys that have become active since the start";
        registry.register("key_activations", help, self.key_activations.clone());
        let help = "Steps with keys that have failed since the start";
        registry.register("key_failures", help, self.key_failures.clone());
    }

    /// Shows how well the certificates of hosts are cached.
    pub fn show_cache(&self, counters: &CacheCounters) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registry.sub_registry_with_prefix("jwtproxy_leaf_cache");
        let help = "Certificates of hosts that were there already";
        registry.register("hits", help, counters.hits.clone());
        let help = "Certificates of hosts that had to be made";
        registry.register("misses", help, counters.misses.clone());
    }

    /// A key is active, perhaps with an end.
    pub fn key_active(&self, since: SystemTime, until: Option<SystemTime>) {
        self.key_since.get_or_create(&[]).set(seconds(since));
        match until {
            Some(until) => {
                self.key_until.get_or_create(&[]).set(seconds(until));
            }
            None => self.key_until.clear(),
        }
    }

    /// How the keys are that look after themselves; a key is good for two rotations.
    pub fn show_keys(&self, status: &KeyStatus, rotate_every: Option<Duration>) {
        if let Some(since) = status.published_at {
            self.key_active(since, rotate_every.map(|every| since + 2 * every));
        }
        for phase in [Phase::NoKey, Phase::AwaitsApproval, Phase::Active] {
            let label = PhaseLabel {
                phase: phase.name(),
            };
            let is_now = i64::from(phase == status.phase);
            self.key_phase.get_or_create(&label).set(is_now);
        }
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.key_activations.set(gauge(status.activations));
        self.key_failures.set(gauge(status.failed_steps));
    }

    pub(crate) fn request(&self, outcome: Outcome) {
        self.requests.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(crate) fn signed_in(&self, duration: Duration) {
        self.signing.observe(duration.as_secs_f64());
    }

    pub(crate) fn upstream_answered_in(&self, duration: Duration) {
        self.upstream.observe(duration.as_secs_f64());
    }

    pub(crate) fn client_connection(&self) -> Open {
        Open::count(&self.client_connections)
    }

    pub(crate) fn upstream_connections(&self) -> &Gauge {
        &self.upstream_connections
    }

    /// The text format of OpenMetrics, which Prometheus reads.
    pub(super) fn encoded(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// Counts as long as it is there.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    pub(crate) fn count(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.request(Outcome::Signed);
        metrics.request(Outcome::Signed);
        metrics.signed_in(Duration::from_micros(300));
        let connection = metrics.client_connection();
        let text = metrics.encoded();
        assert!(
            text.contains("jwtproxy_requests_total{outcome=\"Signed\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("jwtproxy_signing_seconds_count 1\n"),
            "{text}"
        );
        assert!(text.contains("jwtproxy_client_connections 1\n"), "{text}");
        assert!(!text.contains("jwtproxy_key_expires_seconds{"), "{text}");
        drop(connection);
        metrics.key_active(UNIX_EPOCH, Some(UNIX_EPOCH + Duration::from_secs(7)));
        let text = metrics.encoded();
        assert!(text.contains("jwtproxy_client_connections 0\n"), "{text}");
        assert!(
            text.contains("jwtproxy_key_expires_seconds{} 7\n"),
            "{text}"
        );
    }
}
