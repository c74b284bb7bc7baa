//! What happened, counted: the host's metrics are raised by it once in a while, not on every
//! request.

use jwt_core::refusal::{LABELS, Refusal};
use std::cell::Cell;

/// Counts since they were taken last; `nonces` is a difference.
#[derive(Debug)]
pub struct Events {
    /// Requests accepted with a token.
    pub accepted: Cell<u64>,
    /// Requests that needed no token.
    pub exempt: Cell<u64>,
    /// Requests refused, in the order of [`LABELS`].
    refused: [Cell<u64>; LABELS.len()],
    /// Keys that were at hand.
    pub key_hits: Cell<u64>,
    /// Keys that were not.
    pub key_misses: Cell<u64>,
    /// Keys used past their time because the key server was down.
    pub stale_keys: Cell<u64>,
    /// Keys not asked for because too many unknown ones were.
    pub limited_fetches: Cell<u64>,
    /// Signatures checked by the host.
    pub host_signatures: Cell<u64>,
    /// Signatures checked in the VM.
    pub vm_signatures: Cell<u64>,
    /// Tokens accepted whose signature was known.
    pub token_cache_hits: Cell<u64>,
    /// How often the clock was found set back.
    pub clock_set_back: Cell<u64>,
    /// Values in shared data that none of our workers wrote.
    pub foreign_values: Cell<u64>,
    /// Nonces remembered, less those forgotten.
    pub nonces: Cell<i64>,
}

impl Default for Events {
    fn default() -> Self {
        let zero = || Cell::new(0);
        Self {
            accepted: zero(),
            exempt: zero(),
            refused: std::array::from_fn(|_| zero()),
            key_hits: zero(),
            key_misses: zero(),
            stale_keys: zero(),
            limited_fetches: zero(),
            host_signatures: zero(),
            vm_signatures: zero(),
            token_cache_hits: zero(),
            clock_set_back: zero(),
            foreign_values: zero(),
            nonces: Cell::new(0),
        }
    }
}

impl Events {
    /// Counts a refusal.
    pub fn count_refused(&self, refusal: &Refusal) {
        let index = LABELS.iter().position(|label| *label == refusal.label());
        if let Some(count) = index.and_then(|index| self.refused.get(index)) {
            count_one(count);
        }
    }

    /// Takes the counts of refusals, each with its label.
    pub fn take_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LABELS.into_iter().zip(self.refused.iter().map(Cell::take))
    }
}

/// Adds one.
pub fn count_one(count: &Cell<u64>) {
    count.set(count.get() + 1);
}
