//! How the keys are, for whoever wants to know.

use std::time::SystemTime;
use tokio::sync::watch;

/// Where a service stands with its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyStatus {
    /// How far it has come.
    pub phase: Phase,
    /// The key that signs requests.
    pub active: Option<String>,
    /// The key that is to be next.
    pub pending: Option<String>,
    /// What went wrong, until something goes well.
    pub problem: Option<String>,
    /// How many keys have become active since the start.
    pub activations: u64,
    /// How many steps have failed since the start.
    pub failed_steps: u64,
    /// When the active key was published.
    pub published_at: Option<SystemTime>,
}

/// How far a service has come with its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It has no key that it could use.
    #[default]
    NoKey,
    /// Somebody must approve the key.
    AwaitsApproval,
    /// Requests are signed.
    Active,
}

impl Phase {
    /// The word for it in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::AwaitsApproval => "awaits_approval",
            Self::Active => "active",
        }
    }
}

/// Where the status is changed.
#[derive(Debug)]
pub(super) struct StatusSender(watch::Sender<KeyStatus>);

impl StatusSender {
    pub(super) fn new() -> (Self, watch::Receiver<KeyStatus>) {
        let (sender, receiver) = watch::channel(KeyStatus::default());
        (Self(sender), receiver)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut KeyStatus)) {
        self.0.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}
