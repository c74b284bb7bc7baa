//! Counters in Envoy's statistics.

use jwt_core::machine::KeyAnswer;
use jwt_core::refusal::{KeyProblem, LABELS, Refusal};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// The outcomes of a key fetch.
const FETCHES: [&str; 3] = ["key", "refused", "failed"];

pub(super) struct Metrics {
    accepted: u32,
    refused: Vec<(&'static str, u32)>,
    fetches: Vec<(&'static str, u32)>,
}

impl Metrics {
    /// Defines every counter, so that each shows as 0 before its first event.
    pub(super) fn define() -> Self {
        let counter = |name: &str| hostcalls::define_metric(MetricType::Counter, name).unwrap_or(0);
        let labelled = |name: &str, labels: &[&'static str]| {
            labels
                .iter()
                .map(|label| (*label, counter(&format!("{name}.{label}"))))
                .collect()
        };
        Self {
            accepted: counter("jwtproxy.accepted"),
            refused: labelled("jwtproxy.refused", &LABELS),
            fetches: labelled("jwtproxy.key_fetches", &FETCHES),
        }
    }

    pub(super) fn count_accepted(&self) {
        increment(self.accepted);
    }

    pub(super) fn count_refused(&self, refusal: &Refusal) {
        increment_labelled(&self.refused, refusal.label());
    }

    pub(super) fn count_fetch(&self, answer: &KeyAnswer) {
        let outcome = match answer {
            Ok(_) => "key",
            Err(KeyProblem::Unavailable | KeyProblem::Unusable) => "failed",
            Err(_) => "refused",
        };
        increment_labelled(&self.fetches, outcome);
    }
}

fn increment_labelled(counters: &[(&'static str, u32)], label: &str) {
    if let Some((_, id)) = counters.iter().find(|(own, _)| *own == label) {
        increment(*id);
    }
}

fn increment(id: u32) {
    // A counter that the host does not know is no reason to fail a request.
    let _ = hostcalls::increment_metric(id, 1);
}
