//! What the framing of a connection and those who answer its requests tell each other.

use crate::proxy::error::Malformed;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Exchange(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    refused: OnceLock<Malformed>,
    switched: AtomicBool,
}

impl Exchange {
    /// Why the requests of the connection ended, once one was refused.
    pub(in crate::proxy) fn refused(&self) -> Option<Malformed> {
        self.0.refused.get().copied()
    }

    /// The answer to the last request switches to another protocol. To be called before hyper has
    /// that answer.
    pub(in crate::proxy) fn switch(&self) {
        self.0.switched.store(true, Ordering::Release);
    }

    /// Only the first is remembered: no request follows it.
    pub(super) fn refuse(&self, problem: Malformed) {
        let _ = self.0.refused.set(problem);
    }

    pub(super) fn has_switched(&self) -> bool {
        self.0.switched.load(Ordering::Acquire)
    }
}
