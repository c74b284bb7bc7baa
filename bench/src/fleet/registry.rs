//! The registry's side: which key it serves when, and its answers.
//!
//! No service's keys depend on another's, so each has its own; they keep their past, because the
//! verifiers are simulated after the signers.

use super::plan::{Approval, Plan, at};
use jwt_core::registry::Response;
use jwt_core::time::Timestamp;
use std::ops::Range;
use std::time::Duration;

/// What is the same for all services.
pub(super) struct Registry {
    approval: Approval,
    down: Range<Timestamp>,
    max_age: Duration,
}

/// The keys of one service. Their numbers are their ids.
#[derive(Debug, Default)]
pub(super) struct ServiceKeys {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    published: Timestamp,
    approved: bool,
    /// When a rotation revoked it.
    revoked: Option<Timestamp>,
    expires: Timestamp,
}

/// An answer to a GET.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    cache_control: Option<String>,
}

impl Registry {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            approval: plan.approval,
            down: at(plan.down.start)..at(plan.down.end),
            max_age: plan.fleet.max_age,
        }
    }

    /// Whether it refuses connections.
    pub(super) fn is_down(&self, now: Timestamp) -> bool {
        self.down.contains(&now)
    }

    /// The answer to a GET. keyregistry-mock says `max-age` with keys and nothing with refusals,
    /// and cuts it where a key expires sooner.
    pub(super) fn get(&self, keys: &ServiceKeys, number: usize, now: Timestamp) -> Answer {
        let key = keys.keys.get(number).filter(|key| key.published <= now);
        let status = match key {
            None => 404,
            Some(key) if key.revoked.is_some_and(|revoked| revoked <= now) => 404,
            Some(key) if !key.approved => 409,
            Some(key) if key.expires <= now => 403,
            Some(_) => 200,
        };
        let expires = key.filter(|_| status == 200).map(|key| key.expires);
        let cache_control = expires.map(|expires| {
            let max_age = self.max_age.min(expires.since(now));
            format!("max-age={}", max_age.as_secs())
        });
        Answer {
            status,
            cache_control,
        }
    }

    /// A key signed by itself: the first of a service. Gives its status.
    pub(super) fn publish(
        &self,
        keys: &mut ServiceKeys,
        expires: Timestamp,
        now: Timestamp,
    ) -> u16 {
        let approved = self.approval == Approval::Automatic;
        keys.add(approved, expires, now);
        if approved { 200 } else { 202 }
    }
}

impl ServiceKeys {
    /// A key that is served from now on.
    pub(super) fn add_approved(&mut self, expires: Timestamp, now: Timestamp) {
        self.add(true, expires, now);
    }

    /// The rotation: the new key takes the place of the one before, from one moment to the next.
    pub(super) fn rotate(&mut self, expires: Timestamp, now: Timestamp) {
        if let Some(replaced) = self.keys.last_mut() {
            replaced.revoked = Some(now);
        }
        self.add(true, expires, now);
    }

    /// How many there were, all in all.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn add(&mut self, approved: bool, expires: Timestamp, published: Timestamp) {
        self.keys.push(Key {
            published,
            approved,
            revoked: None,
            expires,
        });
    }
}

impl Answer {
    /// As the verifier reads it.
    pub(super) fn response<'a>(&'a self, body: &'a str) -> Response<'a> {
        Response {
            status: self.status,
            cache_control: self.cache_control.as_deref().map(str::as_bytes),
            body: if self.status == 200 { body } else { "" }.as_bytes(),
        }
    }
}
