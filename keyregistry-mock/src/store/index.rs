//! What a registry has to know of all its keys before it takes one more, kept up to date with
//! every change, so that no publication looks through all keys.

use super::Name;
use super::crowd::Crowd;
use super::key::{Key, KeyState};
use super::source::Source;
use jwt_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long an expired key is remembered as such, before it is unknown.
const REMEMBER_EXPIRED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many expired keys are remembered; the one that expired first is forgotten first.
const MAX_EXPIRED: usize = 100_000;

/// Counts and orders of keys.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Keys that await approval, by the networks of their source and their service. Those that the
    /// operator put there are not among them: they never give way.
    pending: Crowd<Name>,
    /// The same, by service first.
    pending_of: BTreeMap<Arc<str>, Crowd<Name>>,
    pending_by_thumbprint: BTreeSet<(Arc<str>, Name)>,
    pending_until: BTreeSet<(Timestamp, Name)>,
    operators_pending: usize,

    /// Approved and retired keys.
    by_thumbprint: BTreeSet<(Arc<str>, Name)>,
    /// Approved and retired keys that have not expired, as far as [`Index::expire`] was told.
    live: usize,
    live_of: BTreeMap<Arc<str>, usize>,
    live_until: BTreeSet<(Timestamp, Name)>,
    /// Those of them that are retired, by service.
    retired: BTreeMap<Arc<str>, BTreeSet<(Timestamp, Name)>>,
    /// Approved and retired keys that have expired.
    expired: BTreeSet<(Timestamp, Name)>,

    last_serial: u64,
}

impl Index {
    pub(super) fn insert(&mut self, name: &Name, key: &Key) {
        match key.state {
            KeyState::Pending => self.insert_pending(name, key),
            KeyState::Approved | KeyState::Retired => {
                let thumbprint = key.jwk.thumbprint().into();
                self.by_thumbprint.insert((thumbprint, name.clone()));
                self.insert_live(name, key);
            }
        }
    }

    fn insert_pending(&mut self, name: &Name, key: &Key) {
        let thumbprint = key.jwk.thumbprint().into();
        self.pending_by_thumbprint
            .insert((thumbprint, name.clone()));
        if let Some(until) = key.pending_until() {
            self.pending_until.insert((until, name.clone()));
        }
        let Some(origin) = &key.origin else {
            self.operators_pending += 1;
            return;
        };
        self.last_serial = self.last_serial.max(origin.serial);
        let path = path(&origin.source, name);
        self.pending.insert(&path, origin.serial, name.clone());
        let of_service = self
            .pending_of
            .entry(Arc::clone(name.service()))
            .or_default();
        of_service.insert(&path, origin.serial, name.clone());
    }

    fn insert_live(&mut self, name: &Name, key: &Key) {
        if let Some(origin) = &key.origin {
            self.last_serial = self.last_serial.max(origin.serial);
        }
        self.live += 1;
        *self.live_of.entry(Arc::clone(name.service())).or_default() += 1;
        let Some(expires) = key.expires else { return };
        self.live_until.insert((expires, name.clone()));
        if key.state == KeyState::Retired {
            let retired = self.retired.entry(Arc::clone(name.service())).or_default();
            retired.insert((expires, name.clone()));
        }
    }

    pub(super) fn remove(&mut self, name: &Name, key: &Key) {
        match key.state {
            KeyState::Pending => self.remove_pending(name, key),
            KeyState::Approved | KeyState::Retired => {
                let thumbprint = key.jwk.thumbprint().into();
                self.by_thumbprint.remove(&(thumbprint, name.clone()));
                let entry = key.expires.map(|expires| (expires, name.clone()));
                if !entry.is_some_and(|entry| self.expired.remove(&entry)) {
                    self.remove_live(name, key.expires);
                }
            }
        }
    }

    fn remove_pending(&mut self, name: &Name, key: &Key) {
        let thumbprint = key.jwk.thumbprint().into();
        self.pending_by_thumbprint
            .remove(&(thumbprint, name.clone()));
        if let Some(until) = key.pending_until() {
            self.pending_until.remove(&(until, name.clone()));
        }
        let Some(origin) = &key.origin else {
            self.operators_pending = self.operators_pending.saturating_sub(1);
            return;
        };
        let path = path(&origin.source, name);
        self.pending.remove(&path, origin.serial);
        if let Some(of_service) = self.pending_of.get_mut(name.service()) {
            of_service.remove(&path, origin.serial);
            if of_service.size() == 0 {
                self.pending_of.remove(name.service());
            }
        }
    }

    fn remove_live(&mut self, name: &Name, expires: Option<Timestamp>) {
        self.live = self.live.saturating_sub(1);
        if let Some(of_service) = self.live_of.get_mut(name.service()) {
            *of_service = of_service.saturating_sub(1);
            if *of_service == 0 {
                self.live_of.remove(name.service());
            }
        }
        let Some(expires) = expires else { return };
        let entry = (expires, name.clone());
        self.live_until.remove(&entry);
        if let Some(retired) = self.retired.get_mut(name.service()) {
            retired.remove(&entry);
            if retired.is_empty() {
                self.retired.remove(name.service());
            }
        }
    }

    /// Counts the keys whose time is over at `now` as expired.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((expires, name)) = self.live_until.pop_first() {
            if expires > now {
                self.live_until.insert((expires, name));
                break;
            }
            self.remove_live(&name, Some(expires));
            self.expired.insert((expires, name));
        }
    }

    /// Whether [`Index::expire`] or [`Index::over`] have anything to do at `now`.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let is_over = |first: Option<&(Timestamp, Name)>, now: Timestamp| {
            first.is_some_and(|(until, _)| *until <= now)
        };
        is_over(self.pending_until.first(), now)
            || is_over(self.live_until.first(), now)
            || is_over(self.expired.first(), now - REMEMBER_EXPIRED)
            || self.expired.len() > MAX_EXPIRED
    }

    /// The keys to forget at `now`: of a key that was not approved in its time nothing is left to
    /// say, and each rotation leaves an expired key behind.
    pub(super) fn over(&self, now: Timestamp) -> Vec<Name> {
        let too_many = self.expired.len().saturating_sub(MAX_EXPIRED);
        let forgotten = |(number, (expires, _)): &(usize, &(Timestamp, Name))| {
            *number < too_many || *expires <= now - REMEMBER_EXPIRED
        };
        let expired = self.expired.iter().enumerate().take_while(forgotten);
        let pending = self.pending_over(now).cloned();
        pending
            .chain(expired.map(|(_, (_, name))| name.clone()))
            .collect()
    }

    /// The keys that were not approved in their time.
    pub(super) fn pending_over(&self, now: Timestamp) -> impl Iterator<Item = &Name> {
        let until = self.pending_until.iter();
        until
            .take_while(move |(until, _)| *until <= now)
            .map(|(_, name)| name)
    }

    /// The number of the next publication.
    pub(crate) fn next_serial(&self) -> u64 {
        self.last_serial.saturating_add(1)
    }

    /// All published keys that await approval.
    pub(crate) fn pending(&self) -> Waiting<'_> {
        Waiting(Some(&self.pending))
    }

    /// Those from this source.
    pub(crate) fn pending_from(&self, source: &Source) -> Waiting<'_> {
        Waiting(self.pending.group(&source.groups()))
    }

    /// Those of this service.
    pub(crate) fn pending_of(&self, service: &str) -> Waiting<'_> {
        Waiting(self.pending_of.get(service))
    }

    /// Whether this key awaits approval, under whatever name.
    pub(crate) fn is_pending(&self, thumbprint: &str) -> bool {
        let from = (Arc::from(thumbprint), Name::new("", ""));
        let first = self.pending_by_thumbprint.range(from..).next();
        first.is_some_and(|(found, _)| **found == *thumbprint)
    }

    /// The names under which this key was approved.
    pub(super) fn names_of<'a>(&'a self, thumbprint: &'a str) -> impl Iterator<Item = &'a Name> {
        let from = (Arc::from(thumbprint), Name::new("", ""));
        let names = self.by_thumbprint.range(from..);
        names
            .take_while(move |(found, _)| **found == *thumbprint)
            .map(|(_, name)| name)
    }

    /// How many keys have been approved and not expired.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many of this service.
    pub(crate) fn live_of(&self, service: &str) -> usize {
        self.live_of.get(service).copied().unwrap_or_default()
    }

    /// The retired key of this service that ends next.
    pub(crate) fn oldest_retired_of(&self, service: &str) -> Option<&Name> {
        let retired = self.retired.get(service)?;
        retired.first().map(|(_, name)| name)
    }

    /// How many keys have come how far.
    pub(super) fn count_by_state(&self) -> BTreeMap<&'static str, usize> {
        let retired: usize = self.retired.values().map(BTreeSet::len).sum();
        BTreeMap::from([
            ("pending", self.pending.size() + self.operators_pending),
            ("approved", self.live.saturating_sub(retired)),
            ("retired", retired),
            ("expired", self.expired.len()),
        ])
    }
}

/// Some of the keys that await approval.
#[derive(Clone, Copy)]
pub(crate) struct Waiting<'a>(Option<&'a Crowd<Name>>);

impl<'a> Waiting<'a> {
    /// How many there are.
    pub(crate) fn count(self) -> usize {
        self.0.map_or(0, Crowd::size)
    }

    /// The one that gives way to another.
    pub(crate) fn first_to_go(self) -> Option<&'a Name> {
        self.0?.first_to_go()
    }
}

/// Of one source, the service that has most gives way first: clients behind one proxy share it.
fn path(source: &Source, name: &Name) -> Vec<Arc<str>> {
    let mut path = source.groups();
    path.push(Arc::clone(name.service()));
    path
}
