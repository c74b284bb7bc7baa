//! One signer, which does what [`jwt_core::key_lifecycle`] says, as the real one does.

use super::plan::{Plan, StoredKeys, at};
use super::registry::{Registry, ServiceKeys};
use super::tally::{Method, Tally};
use fastrand::Rng;
use jwt_core::key_lifecycle::{Lifecycle, Publication, SignedBy, Standing, Step, Which};
use jwt_core::time::Timestamp;
use std::time::Duration;

/// How long the making of a key takes.
const MAKING: Duration = Duration::from_millis(200);

/// A service: what the registry has of it, and which key it signs with.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) keys: ServiceKeys,
    /// From when on, and the number of the key.
    signs_with: Vec<(Timestamp, usize)>,
}

impl Service {
    /// The number of the key that tokens are signed with.
    pub(super) fn signing_key(&self, now: Timestamp) -> Option<usize> {
        let of_the_past = |(since, _): &&(Timestamp, usize)| *since <= now;
        let last = self.signs_with.iter().rev().find(of_the_past);
        last.map(|(_, number)| *number)
    }
}

/// Lives the life of one signer to its end, and counts what it asks of the registry.
pub(super) fn live(
    plan: &Plan,
    registry: &Registry,
    random: &mut Rng,
    tally: &mut Tally,
) -> Service {
    let mut service = Service::default();
    let rotate_every = plan.fleet.rotate_every;
    let start = at(random.f64() * plan.start_within);
    let stored = match &plan.keys {
        StoredKeys::None => None,
        StoredKeys::Published(ages) => {
            let age = ages.start + random.f64() * (ages.end - ages.start);
            Some(at(-age))
        }
    };
    if let Some(published) = stored {
        service
            .keys
            .add_approved(published + rotate_every * 2, published);
        if plan.signs_already {
            service.signs_with.push((at(0.0), 0));
        }
    }
    let life = Lifecycle::new(Some(rotate_every), stored, false, random.u16(..));
    let end = at(plan.end
        - if plan.stops {
            random.f64() * plan.start_within
        } else {
            0.0
        });
    let mut signer = Signer {
        plan,
        registry,
        life,
        published: start,
        service,
        now: start,
        end,
        random,
        tally,
    };
    while signer.now < signer.end {
        signer.step();
    }
    if plan.stops {
        signer.wind_up();
    }
    signer.service
}

struct Signer<'a> {
    plan: &'a Plan,
    registry: &'a Registry,
    life: Lifecycle,
    /// When the pending key was published.
    published: Timestamp,
    service: Service,
    now: Timestamp,
    end: Timestamp,
    random: &'a mut Rng,
    tally: &'a mut Tally,
}

impl Signer<'_> {
    fn step(&mut self) {
        match self.life.next(self.now) {
            Step::Wait(pause) => self.now = (self.now + pause).min(self.end),
            Step::Check(which) => self.check(which),
            Step::Make => {
                self.now = self.now + MAKING;
                self.life.made();
            }
            Step::Publish(signed_by) => self.publish(signed_by),
            Step::Activate => {
                self.life.activated(self.published, self.now);
                self.sign_with_latest();
            }
            Step::Discard => self.life.discarded(),
        }
    }

    fn check(&mut self, which: Which) {
        let latest = self.service.keys.len().checked_sub(1);
        let status = self.ask(Method::Get, |this| {
            let answer = latest.map(|it| this.registry.get(&this.service.keys, it, this.now));
            answer.map_or(404, |answer| answer.status)
        });
        let standing = match status {
            Some(200) => Standing::Approved,
            Some(409) => Standing::AwaitsApproval,
            Some(403) => Standing::Expired,
            Some(404) => Standing::Unknown,
            _ => Standing::Unclear,
        };
        let chance = self.random.u16(..);
        self.life.checked(which, standing, self.now, chance);
        if which == Which::Active && self.life.may_sign() {
            self.sign_with_latest();
        }
    }

    fn publish(&mut self, signed_by: SignedBy) {
        self.life.publishing();
        self.published = self.now;
        let expires = self.now + self.plan.fleet.rotate_every * 2;
        let status = self.ask(Method::Put, |this| match signed_by {
            SignedBy::Itself => {
                let registry = this.registry;
                registry.publish(&mut this.service.keys, expires, this.now)
            }
            SignedBy::ActiveKey => {
                this.service.keys.rotate(expires, this.now);
                200
            }
        });
        let publication = match status {
            Some(200) => Publication::Approved,
            Some(202) => Publication::AwaitsApproval,
            _ => Publication::Unclear,
        };
        let chance = self.random.u16(..);
        self.life.published(publication, self.now, chance);
    }

    /// One request: it takes its time, and has no answer while the registry is down.
    fn ask(&mut self, method: Method, answer: impl FnOnce(&mut Self) -> u16) -> Option<u16> {
        self.tally.count(method, self.now);
        let status = (!self.registry.is_down(self.now)).then(|| answer(self));
        self.now = self.now + self.plan.fleet.latency;
        status
    }

    fn sign_with_latest(&mut self) {
        let latest = self.service.keys.len().saturating_sub(1);
        let signs_with = &mut self.service.signs_with;
        if signs_with.last().map(|(_, number)| *number) != Some(latest) {
            signs_with.push((self.now, latest));
        }
    }

    /// A pending key that nobody approved, as the registry says once more, is revoked at the end.
    fn wind_up(&mut self) {
        if self.life.may_be_published() {
            self.check(Which::Pending);
        }
        if self.life.awaits_approval() {
            self.ask(Method::Delete, |_| 204);
        }
    }
}
