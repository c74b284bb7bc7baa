//! Tokens that are used once.

use crate::envoy_peer::EnvoyPeer;
use crate::load::{Load, Sample};
use crate::tokens::{self, Key};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// A file of tokens, from which each is taken once.
pub(super) struct Supply {
    file: PathBuf,
    used: Cell<usize>,
}

impl Supply {
    /// Signs so many.
    pub(super) fn sign(key: &Key, count: usize, folder: &Path) -> Self {
        eprintln!("signing {count} tokens, {}", key.algorithm());
        let file = folder.join(format!("{}.tokens", key.algorithm()));
        tokens::write(key, count, &file);
        let used = Cell::new(0);
        Self { file, used }
    }

    /// Sends unused ones. Those that were under way when time was up count as used.
    pub(super) fn send(&self, load: Load, subject: &EnvoyPeer) -> Sample {
        let under_way = load.connections;
        let sample = self.again(load, self.used.get(), subject);
        let sent = usize::try_from(sample.requests).unwrap_or(usize::MAX) + under_way;
        self.used.set(self.used.get() + sent);
        sample
    }

    /// Sends those behind the first `skip`, used or not, to somebody who has not seen them or
    /// does not mind.
    pub(super) fn again(&self, load: Load, skip: usize, subject: &EnvoyPeer) -> Sample {
        load.with_tokens(&self.file, skip).run(subject.process())
    }

    /// How many are used.
    pub(super) fn used(&self) -> usize {
        self.used.get()
    }
}
