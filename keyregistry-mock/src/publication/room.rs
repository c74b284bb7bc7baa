//! How many keys there may be, and which of them give way to another.
//!
//! Strangers can publish keys that await approval. They cannot use up the room of others: where
//! there are too many, the latest keys of the source that has most give way. Sources are grouped
//! by their networks, so that many addresses of one network count as one large source, and keys
//! of one source by their service.

use super::Denied;
use crate::store::{Index, Name, Source, State, Waiting};

/// How many keys a registry keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// That await approval, in all.
    pub pending: usize,
    /// That await approval, of one service.
    pub pending_of_service: usize,
    /// That await approval, from one source.
    pub pending_from_source: usize,
    /// That were approved and have not expired, in all.
    pub approved: usize,
    /// That were approved and have not expired, of one service.
    pub approved_of_service: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pending: 10_000,
            pending_of_service: 1_000,
            pending_from_source: 1_000,
            approved: 100_000,
            approved_of_service: 10_000,
        }
    }
}

impl Bounds {
    /// The pending keys that give way to one more from this source.
    pub(super) fn displaced(&self, index: &Index, service: &str, source: &Source) -> Vec<Name> {
        let full = |waiting: Waiting<'_>, bound: usize| {
            let is_full = waiting.count() >= bound;
            is_full.then(|| waiting.first_to_go().cloned()).flatten()
        };
        let from_source = full(index.pending_from(source), self.pending_from_source);
        let of_service = full(index.pending_of(service), self.pending_of_service);
        let mut displaced: Vec<Name> = from_source.into_iter().chain(of_service).collect();
        displaced.dedup();
        if displaced.is_empty() {
            displaced.extend(full(index.pending(), self.pending));
        }
        displaced
    }

    /// Whether there is room for one more approved key of a service.
    pub(super) fn admit_approved(&self, index: &Index, service: &str) -> Result<(), Denied> {
        let is_full =
            index.live_of(service) >= self.approved_of_service || index.live() >= self.approved;
        if is_full { Err(Denied::Full) } else { Ok(()) }
    }

    /// Where a key that was replaced is to be served for a time of grace, which makes one more:
    /// the retired key of the service that has to end for it.
    ///
    /// A rotation is never without room: at worst, the key that it replaces has no time of grace.
    pub(super) fn room_for_retired<'a>(&self, state: &'a State, service: &str) -> Grace<'a> {
        if self.admit_approved(state.index(), service).is_ok() {
            return Grace::Room;
        }
        match state.index().oldest_retired_of(service) {
            Some(name) => Grace::Instead(name),
            None => Grace::NoRoom,
        }
    }
}

/// Whether a key that was replaced can be served for a time of grace.
pub(super) enum Grace<'a> {
    /// There is room for it.
    Room,
    /// If this one ends.
    Instead(&'a Name),
    /// There is none.
    NoRoom,
}
