//! What the process counts, as Prometheus reads it.

use crate::store::Registry;
use axum::http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The numbers of answers.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    answers: Mutex<Answers>,
}

/// By method and status.
type Answers = BTreeMap<(&'static str, u16), u64>;

impl Metrics {
    pub(super) fn count(&self, method: &Method, status: StatusCode) {
        let mut answers = self.lock();
        *answers.entry((label(method), status.as_u16())).or_default() += 1;
    }

    /// The text format. It names no service: whoever may ask is not told who the services are.
    pub(super) fn render(&self, registry: &Registry) -> String {
        let mut text = String::from(
            "# HELP keyregistry_requests_total Requests answered.\n\
             # TYPE keyregistry_requests_total counter\n",
        );
        // No request waits to be counted while this one is answered.
        let answers = self.lock().clone();
        for ((method, status), count) in answers {
            let labels = format!("method=\"{method}\",status=\"{status}\"");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "keyregistry_requests_total{{{labels}}} {count}");
        }
        text.push_str(
            "# HELP keyregistry_keys Keys by state; of revoked ones, their tombstones.\n\
             # TYPE keyregistry_keys gauge\n",
        );
        for (state, count) in registry.count_by_state() {
            let _ = writeln!(text, "keyregistry_keys{{state=\"{state}\"}} {count}");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Methods are the client's words: only known ones become labels.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}
