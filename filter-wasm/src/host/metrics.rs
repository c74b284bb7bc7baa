//! Envoy's statistics.

use crate::events::Events;
use jwt_core::key::KeyName;
use jwt_core::refusal::LABELS;
use jwt_core::registry::Fetched;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::time::Duration;

/// The outcomes of a key fetch.
const OUTCOMES: [&str; 3] = ["key", "refused", "failed"];

pub(super) struct Metrics {
    accepted: u32,
    exempt: u32,
    refused: Vec<u32>,
    fetches: Vec<u32>,
    fetch_duration: u32,
    key_hits: u32,
    key_misses: u32,
    stale_keys: u32,
    limited_fetches: u32,
    host_signatures: u32,
    vm_signatures: u32,
    token_cache_hits: u32,
    clock_set_back: u32,
    foreign_values: u32,
    nonces: u32,
}

impl Metrics {
    /// Defines every metric, so that each shows as 0 before its first event.
    pub(super) fn define() -> Self {
        let counter = |name: &str| define(MetricType::Counter, name);
        let labelled = |name: &str, labels: &[&str]| {
            labels
                .iter()
                .map(|label| counter(&format!("{name}.{label}")))
                .collect()
        };
        Self {
            accepted: counter("accepted"),
            exempt: counter("exempt"),
            refused: labelled("refused", &LABELS),
            fetches: labelled("key_fetches", &OUTCOMES),
            fetch_duration: define(MetricType::Histogram, "key_fetch_milliseconds"),
            key_hits: counter("key_cache.hit"),
            key_misses: counter("key_cache.miss"),
            stale_keys: counter("key_cache.stale"),
            limited_fetches: counter("key_fetches_limited"),
            host_signatures: counter("signatures.host"),
            vm_signatures: counter("signatures.vm"),
            token_cache_hits: counter("token_cache_hits"),
            clock_set_back: counter("clock_set_back"),
            foreign_values: counter("shared_data_foreign"),
            nonces: define(MetricType::Gauge, "nonces"),
        }
    }

    /// Raises the metrics by what has happened.
    pub(super) fn raise(&self, events: &Events) {
        for (id, count) in [
            (self.accepted, &events.accepted),
            (self.exempt, &events.exempt),
            (self.key_hits, &events.key_hits),
            (self.key_misses, &events.key_misses),
            (self.stale_keys, &events.stale_keys),
            (self.limited_fetches, &events.limited_fetches),
            (self.host_signatures, &events.host_signatures),
            (self.vm_signatures, &events.vm_signatures),
            (self.token_cache_hits, &events.token_cache_hits),
            (self.clock_set_back, &events.clock_set_back),
            (self.foreign_values, &events.foreign_values),
        ] {
            increment(id, i64::try_from(count.take()).unwrap_or(i64::MAX));
        }
        for (id, (_, count)) in self.refused.iter().zip(events.take_refused()) {
            increment(*id, i64::try_from(count).unwrap_or(i64::MAX));
        }
        increment(self.nonces, events.nonces.take());
    }

    /// Counts one fetch, whatever number of keys its answer says something of.
    pub(super) fn count_fetch(&self, answers: &[(KeyName, Fetched)]) {
        // A failure is one even where a key that was there before goes on being used.
        let outcome = if answers.iter().any(|(_, fetched)| fetched.detail.is_some()) {
            "failed"
        } else if answers.iter().any(|(_, fetched)| fetched.answer.is_ok()) {
            "key"
        } else {
            "refused"
        };
        let index = OUTCOMES.iter().position(|own| *own == outcome);
        if let Some(id) = index.and_then(|index| self.fetches.get(index)) {
            increment(*id, 1);
        }
    }

    pub(super) fn record_fetch_duration(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let _ = hostcalls::record_metric(self.fetch_duration, milliseconds);
    }
}

fn define(metric_type: MetricType, name: &str) -> u32 {
    hostcalls::define_metric(metric_type, &format!("jwtproxy.{name}")).unwrap_or(0)
}

/// The host refuses to raise by zero.
fn increment(id: u32, by: i64) {
    if by != 0 {
        // A metric that the host does not know is no reason to fail.
        let _ = hostcalls::increment_metric(id, by);
    }
}
