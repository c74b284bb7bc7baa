//! The life of a signing key that looks after itself, as rules without I/O and without a clock.
//!
//! A [`Lifecycle`] knows the active key and the pending one, the next, and says with
//! [`Lifecycle::next`] what to do now. Whoever does it reports back what happened. The rules:
//!
//! - A pending key is on the disk before it is published, so that it is never unknown which keys
//!   the registry may have.
//! - Whether a publication whose answer was lost has arrived is for the registry to say: it is
//!   asked before anything is published again.
//! - A key is active once the registry serves it, not when a publication was answered well: what
//!   stands between may answer anything.
//! - Nothing but the registry's own word, that it does not have a key or that it has expired,
//!   makes a key unusable; that nobody answers never does.
//! - A key that the registry forbids to publish is given up for a new one: it may have been
//!   approved and revoked unnoticed, and then it never comes back. The pauses between new keys
//!   grow like those after any failure, for a registry can forbid every key.
//! - Of many signers that were started together, no two keep step for long.

#[cfg(test)]
mod tests;

use crate::backoff::{Backoff, shortened};
use crate::time::Timestamp;
use std::time::Duration;

/// How often the registry is asked whether it still has the active key: that, less up to a fifth.
const RECHECK_EVERY: Duration = Duration::from_secs(300);
const RECHECK_SPREAD: u32 = 5;

/// A key is replaced up to a tenth of its time early.
const ROTATION_SPREAD: u32 = 10;

/// After failures.
const RETRYING: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: LONGEST_PAUSE,
};

/// While somebody has to approve a key.
const POLLING: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(10),
};

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a registry says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves it.
    Approved,
    /// It has it, and somebody must approve it.
    AwaitsApproval,
    /// It served it once.
    Expired,
    /// It does not have it.
    Unknown,
    /// It said nothing that could be understood, or nothing at all.
    Unclear,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// The key is said to be served from now on.
    Approved,
    /// Somebody must approve it.
    AwaitsApproval,
    /// The registry does not take it.
    Refused,
    /// The registry does not take this key (403): it was revoked or replaced, or the key that
    /// signed may not publish it.
    Forbidden,
    /// It may or may not have arrived.
    Unclear,
}

/// Who signs the publication of the pending key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The key itself: it is the first of its line.
    Itself,
    /// The active key, which ends with it.
    ActiveKey,
}

/// One of the two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one that signs requests.
    Active,
    /// The next one.
    Pending,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for this long.
    Wait(Duration),
    /// Ask the registry for a key, then report with [`Lifecycle::checked`].
    Check(Which),
    /// Make a key and keep it as the pending one, then report with [`Lifecycle::made`].
    Make,
    /// Publish the pending key, then report with [`Lifecycle::published`].
    Publish(SignedBy),
    /// Let the pending key take the place of the active one, then report with
    /// [`Lifecycle::activated`].
    Activate,
    /// Forget the pending key, then report with [`Lifecycle::discarded`].
    Discard,
}

/// Where a service stands with its keys.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// `None` is never.
    rotate_every: Option<Duration>,
    active: Option<Active>,
    pending: Option<Stage>,
    /// Whether the active key, which was good, was forbidden to publish the pending one.
    forbidden_once: bool,
    /// Whether the registry has been asked at all.
    has_asked: bool,
    failures: u32,
    polls: u32,
    not_before: Option<Timestamp>,
    /// What sets this signer apart from others in step with it.
    pace: u16,
}

#[derive(Clone, Copy, Debug)]
struct Active {
    since: Timestamp,
    trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// The registry has to be asked.
    Unchecked,
    /// It had the key when it was asked.
    Good { recheck: Timestamp },
    /// It does not have it any more.
    Dead,
}

/// How far the pending key has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may have been published.
    Unclear,
    /// It has not.
    Unpublished,
    /// The registry forbade it, but may have it all the same.
    Forbidden,
    /// It was, and the answer was good: the registry should serve it.
    Published,
    /// The registry has it.
    AwaitsApproval,
    /// The registry serves it.
    Approved,
    /// It is of no use any more.
    Spoilt,
}

impl Lifecycle {
    /// With the keys that were found on the disk: the active one and when it was published, and
    /// whether there is a pending one. `pace` is random: the larger it is, the earlier this signer
    /// asks and rotates.
    pub fn new(
        rotate_every: Option<Duration>,
        active_since: Option<Timestamp>,
        has_pending: bool,
        pace: u16,
    ) -> Self {
        Self {
            rotate_every,
            active: active_since.map(|since| Active {
                since,
                trust: Trust::Unchecked,
            }),
            // What the process before this one did with it, nobody knows.
            pending: has_pending.then_some(Stage::Unclear),
            forbidden_once: false,
            has_asked: false,
            failures: 0,
            polls: 0,
            not_before: None,
            pace,
        }
    }

    /// What to do now.
    pub fn next(&self, now: Timestamp) -> Step {
        if let Some(wait) = self.pause(now) {
            return Step::Wait(wait);
        }
        match (self.pending, self.active) {
            (Some(Stage::Approved), _) => Step::Activate,
            (Some(Stage::Spoilt), _) => Step::Discard,
            (
                Some(Stage::Unclear | Stage::Forbidden | Stage::Published | Stage::AwaitsApproval),
                _,
            ) => Step::Check(Which::Pending),
            (Some(Stage::Unpublished), active) => match active.map(|active| active.trust) {
                None | Some(Trust::Dead) => Step::Publish(SignedBy::Itself),
                Some(Trust::Unchecked) => Step::Check(Which::Active),
                Some(Trust::Good { .. }) => Step::Publish(SignedBy::ActiveKey),
            },
            (None, None) => Step::Make,
            (None, Some(active)) => self.next_of_active(active, now),
        }
    }

    fn next_of_active(&self, active: Active, now: Timestamp) -> Step {
        let recheck = match active.trust {
            Trust::Dead => return Step::Make,
            Trust::Unchecked => return Step::Check(Which::Active),
            Trust::Good { recheck } => recheck,
        };
        let rotate_every = self.rotate_every;
        let due =
            rotate_every.map(|every| active.since + shortened(every, ROTATION_SPREAD, self.pace));
        if due.is_some_and(|due| due <= now) {
            Step::Make
        } else if recheck <= now {
            Step::Check(Which::Active)
        } else {
            let until = due.map_or(recheck, |due| due.min(recheck));
            Step::Wait(until.since(now))
        }
    }

    /// How long nothing is to be done. A clock that was set back does not make it longer.
    fn pause(&self, now: Timestamp) -> Option<Duration> {
        let rest = self.not_before?.since(now);
        (!rest.is_zero() && rest <= LONGEST_PAUSE).then_some(rest)
    }

    /// Whether requests are signed with the active key: there is one, and the registry, if it
    /// answers, has it. A registry that no longer has it, and has shown with a new key that it
    /// does work, ends it.
    pub fn may_sign(&self) -> bool {
        let dead = self
            .active
            .is_some_and(|active| active.trust == Trust::Dead);
        let replaced = self.pending == Some(Stage::AwaitsApproval);
        self.has_asked && self.active.is_some() && !(dead && replaced)
    }

    /// Whether the registry has been asked for anything, answered or not. Before, nothing is known
    /// of any key.
    pub fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Whether there is a pending key, and the registry waits for somebody to approve it.
    pub fn awaits_approval(&self) -> bool {
        self.pending == Some(Stage::AwaitsApproval)
    }

    /// Whether there is a pending key that the registry may have.
    pub fn may_be_published(&self) -> bool {
        matches!(
            self.pending,
            Some(
                Stage::Unclear
                    | Stage::Forbidden
                    | Stage::Published
                    | Stage::AwaitsApproval
                    | Stage::Approved
            )
        )
    }

    /// The pending key is about to be published. From now on nobody knows whether it is, until
    /// [`Lifecycle::published`] or [`Lifecycle::checked`] tell.
    pub fn publishing(&mut self) {
        self.pending = Some(Stage::Unclear);
    }

    /// A key was made, and is on the disk as the pending one.
    pub fn made(&mut self) {
        self.pending = Some(Stage::Unpublished);
        self.forbidden_once = false;
    }

    /// The registry was asked for a key. `chance` is random, anew each time.
    pub fn checked(&mut self, which: Which, standing: Standing, now: Timestamp, chance: u16) {
        self.has_asked = true;
        if standing == Standing::Unclear {
            return self.failed(now, chance);
        }
        match which {
            Which::Active => self.checked_active(standing, now, chance),
            Which::Pending => self.checked_pending(standing, now, chance),
        }
    }

    fn checked_active(&mut self, standing: Standing, now: Timestamp, chance: u16) {
        let trust = match standing {
            Standing::Approved => Trust::Good {
                recheck: self.recheck_after(now),
            },
            Standing::Expired | Standing::Unknown => Trust::Dead,
            // It was approved once, or it would not be active: the registry may yet recall it.
            Standing::AwaitsApproval | Standing::Unclear => return self.failed(now, chance),
        };
        if let Some(active) = &mut self.active {
            active.trust = trust;
        }
        // A publication that was refused before is not forgotten by asking, nor by learning that
        // there is no key left.
        if self.pending.is_none() && standing == Standing::Approved {
            self.succeeded();
        }
    }

    fn recheck_after(&self, now: Timestamp) -> Timestamp {
        now + shortened(RECHECK_EVERY, RECHECK_SPREAD, self.pace)
    }

    fn checked_pending(&mut self, standing: Standing, now: Timestamp, chance: u16) {
        let stage = match standing {
            Standing::Approved => Stage::Approved,
            Standing::AwaitsApproval => {
                self.awaiting(now, chance);
                return;
            }
            Standing::Expired => Stage::Spoilt,
            Standing::Unknown if self.pending == Some(Stage::Forbidden) => Stage::Spoilt,
            Standing::Unknown => {
                if self.pending == Some(Stage::Published) {
                    // Whoever answered was not the registry.
                    self.failed(now, chance);
                }
                Stage::Unpublished
            }
            Standing::Unclear => return,
        };
        self.pending = Some(stage);
    }

    fn awaiting(&mut self, now: Timestamp, chance: u16) {
        self.succeeded();
        self.pending = Some(Stage::AwaitsApproval);
        self.polls = self.polls.saturating_add(1);
        self.not_before = Some(now + POLLING.pause(self.polls, chance));
    }

    /// The pending key was sent to the registry.
    pub fn published(&mut self, publication: Publication, now: Timestamp, chance: u16) {
        self.has_asked = true;
        match publication {
            Publication::Approved => self.pending = Some(Stage::Published),
            Publication::AwaitsApproval => self.awaiting(now, chance),
            Publication::Refused | Publication::Forbidden | Publication::Unclear => {
                self.pending = Some(match publication {
                    Publication::Forbidden if self.is_forbidden() => Stage::Forbidden,
                    _ => Stage::Unclear,
                });
                // The active key may be the reason, because it was revoked; or what was said of it
                // was no word of the registry.
                if let Some(active) = &mut self.active {
                    active.trust = Trust::Unchecked;
                }
                self.failed(now, chance);
            }
        }
    }

    /// Whether the pending key is the one that is not allowed. Where the active key signed, that one
    /// may have been revoked: it is asked for first, and the pending one is tried again.
    fn is_forbidden(&mut self) -> bool {
        let is_active_good = self
            .active
            .is_some_and(|active| matches!(active.trust, Trust::Good { .. }));
        !is_active_good || std::mem::replace(&mut self.forbidden_once, true)
    }

    /// The pending key has taken the place of the active one, which was published at `since`.
    pub fn activated(&mut self, since: Timestamp, now: Timestamp) {
        let recheck = self.recheck_after(now);
        self.active = Some(Active {
            since,
            trust: Trust::Good { recheck },
        });
        self.pending = None;
        self.succeeded();
    }

    /// The pending key is no more.
    pub fn discarded(&mut self) {
        self.pending = None;
    }

    /// A step did not succeed, for whatever reason: it is tried again after a while.
    pub fn failed(&mut self, now: Timestamp, chance: u16) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + RETRYING.pause(self.failures, chance));
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
        if self.pending.is_none() {
            self.polls = 0;
        }
    }
}
