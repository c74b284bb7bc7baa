//! What the process counts, as Prometheus reads it.

use crate::store::{KeyState, Registry};
use axum::http::{Method, StatusCode};
use jwt_core::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// The numbers of answers.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    pub(super) fn count(&self, method: &Method, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((label(method), status.as_u16())).or_default() += 1;
    }

    /// The text format. It names no service: whoever may ask is not told who the services are.
    pub(super) fn render(&self, registry: &Registry, now: Timestamp) -> String {
        let mut text = String::from(
            "# HELP keyregistry_requests_total Requests answered.\n\
             # TYPE keyregistry_requests_total counter\n",
        );
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((method, status), count) in answers.iter() {
            let labels = format!("method=\"{method}\",status=\"{status}\"");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "keyregistry_requests_total{{{labels}}} {count}");
        }
        text.push_str(
            "# HELP keyregistry_keys Keys by state.\n\
             # TYPE keyregistry_keys gauge\n",
        );
        for (state, count) in keys_by_state(registry, now) {
            let _ = writeln!(text, "keyregistry_keys{{state=\"{state}\"}} {count}");
        }
        text
    }
}

/// Methods are the client's words: only known ones become labels.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

fn keys_by_state(registry: &Registry, now: Timestamp) -> BTreeMap<&'static str, u64> {
    let names = KeyState::ALL.map(KeyState::name);
    let mut counts: BTreeMap<_, _> = names.into_iter().map(|name| (name, 0)).collect();
    counts.insert("expired", 0);
    for named in registry.all() {
        let expired = named.key.state != KeyState::Pending && named.key.is_expired(now);
        let state = if expired {
            "expired"
        } else {
            named.key.state.name()
        };
        *counts.entry(state).or_default() += 1;
    }
    counts
}
