//! The keys in memory, with what is counted of them, and how a change changes them.

use super::Name;
use super::index::Index;
use super::key::{Key, KeyState};
use super::tombstones::{Tombstone, Tombstones};
use std::collections::BTreeMap;

/// Keys by service and id.
type Services = BTreeMap<String, BTreeMap<String, Key>>;

/// One step of a change.
#[derive(Debug)]
pub(crate) enum Change {
    /// A key is there, in place of any other of its name.
    Put(Name, Key),
    /// A key is gone.
    Remove(Name),
    /// A tombstone is set.
    Bury(u64, Tombstone),
    /// A tombstone is removed.
    Lift(u64),
}

/// All that a registry knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    services: Services,
    index: Index,
    tombstones: Tombstones,
}

impl State {
    /// A key by its name.
    pub(crate) fn find(&self, service: &str, kid: &str) -> Option<&Key> {
        self.services.get(service)?.get(kid)
    }

    /// A key by its name.
    pub(crate) fn get(&self, name: &Name) -> Option<&Key> {
        self.find(name.service(), name.kid())
    }

    /// The keys of a service, by id.
    pub(super) fn of_service(&self, service: &str) -> impl Iterator<Item = (&String, &Key)> {
        self.services.get(service).into_iter().flatten()
    }

    /// Every key after this name, by service and id.
    pub(super) fn after<'a>(
        &'a self,
        service: &'a str,
        kid: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a Key)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rest = (Excluded(kid), Unbounded);
        let of_service = self.services.get_key_value(service).into_iter();
        let of_service = of_service.flat_map(move |(service, keys)| {
            let keys = keys.range::<str, _>(rest);
            keys.map(move |(kid, key)| (service.as_str(), kid.as_str(), key))
        });
        let others = self
            .services
            .range::<str, _>((Excluded(service), Unbounded));
        let others = others.flat_map(|(service, keys)| {
            keys.iter()
                .map(move |(kid, key)| (service.as_str(), kid.as_str(), key))
        });
        of_service.chain(others)
    }

    /// The counts of all keys.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// For what does not change any key.
    pub(super) fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// What was revoked or replaced.
    pub(crate) fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// Removes a key and, where it was approved once, sees to it that it does not come back.
    pub(crate) fn revoke(&self, name: &Name) -> Vec<Change> {
        let mut changes = vec![Change::Remove(name.clone())];
        if let Some(key) = self.get(name)
            && key.state != KeyState::Pending
        {
            changes.extend(self.bury(name, key));
        }
        changes
    }

    /// Sees to it that a key does not come back, once it has gone. Under its other names, of whatever
    /// service, it goes as well: its private half may be in other hands.
    pub(crate) fn bury(&self, name: &Name, key: &Key) -> Vec<Change> {
        let tombstone = Tombstone {
            name: name.clone(),
            thumbprint: key.jwk.thumbprint().into(),
        };
        let others = self.index.names_of(&tombstone.thumbprint);
        let others = others.filter(|other| *other != name).cloned();
        let mut changes: Vec<Change> = others.map(Change::Remove).collect();
        let known = self.tombstones.of(name, &tombstone.thumbprint);
        if known
            .iter()
            .any(|number| self.tombstones.get(*number) == Some(&tombstone))
        {
            return changes;
        }
        let gives_way = self.tombstones.gives_way(name.service());
        let number = self.tombstones.next_number();
        changes.extend(gives_way.map(Change::Lift));
        changes.push(Change::Bury(number, tombstone));
        changes
    }

    /// Removes the tombstones of a name and a key.
    pub(crate) fn lift(&self, name: &Name, thumbprint: &str) -> Vec<Change> {
        let numbers = self.tombstones.of(name, thumbprint);
        numbers.into_iter().map(Change::Lift).collect()
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(name, key) => {
                // The one before may have the same entries in the index as the one in its place.
                self.remove(&name);
                self.index.insert(&name, &key);
                let keys = self.services.entry(name.service().to_string());
                keys.or_default().insert(name.kid().to_owned(), key);
            }
            Change::Remove(name) => self.remove(&name),
            Change::Bury(number, tombstone) => self.tombstones.insert(number, tombstone),
            Change::Lift(number) => self.tombstones.remove(number),
        }
    }

    fn remove(&mut self, name: &Name) {
        let Some(keys) = self.services.get_mut(&**name.service()) else {
            return;
        };
        let before = keys.remove(name.kid());
        if keys.is_empty() {
            self.services.remove(&**name.service());
        }
        if let Some(before) = before {
            self.index.remove(name, &before);
        }
    }
}
