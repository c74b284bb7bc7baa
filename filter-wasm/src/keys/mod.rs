//! Keys as the filter has them: given in its configuration, or fetched, kept, and shared with the
//! other workers.

mod askers;
mod clients;
mod remote;
mod shared;
mod source;

pub use clients::{Anonymous, Clients};
pub use remote::{Chance, RemoteKeys};
pub use source::{Fetch, FetchId, Source};

use jwt_core::config::filter::PresharedKey;
use jwt_core::key::{KeyName, PublicKey};
use jwt_core::machine::{KeyAnswer, KeySource};
use jwt_core::refusal::KeyProblem;
use jwt_core::time::Timestamp;
use std::rc::Rc;
use std::task::Poll;

/// The keys of one verifier.
pub enum Keys {
    /// One key, given.
    Preshared(KeyName, Rc<PublicKey>),
    /// Keys of a key server.
    Remote(Box<RemoteKeys>),
}

impl Keys {
    /// The one key there is.
    pub fn preshared(preshared: PresharedKey) -> Self {
        Self::Preshared(preshared.name, Rc::from(preshared.key))
    }
}

impl KeySource for Keys {
    fn key(&mut self, name: &KeyName, now: Timestamp) -> Poll<KeyAnswer> {
        match self {
            Self::Preshared(own, key) if own == name => Poll::Ready(Ok(key.clone())),
            Self::Preshared(..) => Poll::Ready(Err(KeyProblem::Unknown)),
            Self::Remote(keys) => keys.key(name, now),
        }
    }
}
