//! One key of a service, and what there is to say about it at a given time.

use super::source::Source;
use crate::jwk::PublicJwk;
use jwt_core::time::Timestamp;

/// How far a key has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Published, awaiting approval.
    Pending,
    /// Approved: served until it expires, and may sign requests to the registry.
    Approved,
    /// Replaced by a rotation: served for the time of grace, and may sign no more requests.
    Retired,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Approved, Self::Retired];

    /// The word for it in files, answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Retired => "retired",
        }
    }

    /// By its word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a registry has to say about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// No such key.
    Unknown,
    /// Published, awaiting approval.
    Pending,
    /// Approved once, now expired.
    Expired,
    /// Approved and unexpired.
    Approved {
        /// The key.
        jwk: PublicJwk,
        /// When it expires; `None` is never.
        expires: Option<Timestamp>,
    },
}

/// A key as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key itself.
    pub jwk: PublicJwk,
    /// How far it has come.
    pub state: KeyState,
    /// When it expires, to the second; `None` is never.
    pub expires: Option<Timestamp>,
    /// After how many seconds its owner means to replace it.
    pub rotation: Option<u32>,
    /// Where it came from, unless the operator put it there.
    pub origin: Option<Origin>,
}

/// The publication of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who sent it.
    pub source: Source,
    /// When, to the second.
    pub published: Timestamp,
    /// How long it awaits approval, to the second.
    pub pending_until: Timestamp,
    /// Tells which of two publications was later, whatever the clock says.
    pub serial: u64,
}

impl Key {
    /// What there is to say about it at `now`.
    pub(crate) fn lookup(&self, now: Timestamp) -> Lookup {
        match self.state {
            KeyState::Pending if self.is_over(now) => Lookup::Unknown,
            KeyState::Pending => Lookup::Pending,
            _ if self.is_expired(now) => Lookup::Expired,
            _ => Lookup::Approved {
                jwk: self.jwk.clone(),
                expires: self.expires,
            },
        }
    }

    /// The word for how far it has come at `now`.
    pub(crate) fn state_name(&self, now: Timestamp) -> &'static str {
        match self.state {
            _ if self.is_over(now) => "expired",
            state => state.name(),
        }
    }

    /// Whether verifiers may have it.
    pub(super) fn is_served(&self, now: Timestamp) -> bool {
        self.state != KeyState::Pending && !self.is_expired(now)
    }

    /// Whether it may sign requests to the registry, for other keys of its service.
    pub(crate) fn may_sign(&self, now: Timestamp) -> bool {
        self.state == KeyState::Approved && !self.is_expired(now)
    }

    /// Until when it can be approved; `None` is for ever.
    pub(super) fn pending_until(&self) -> Option<Timestamp> {
        let origin = self.origin.as_ref().map(|origin| origin.pending_until);
        [self.expires, origin].into_iter().flatten().min()
    }

    /// Whether its time is over, for a pending key that to be approved.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let until = match self.state {
            KeyState::Pending => self.pending_until(),
            KeyState::Approved | KeyState::Retired => self.expires,
        };
        until.is_some_and(|until| until <= now)
    }

    /// Whether its time is over.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
