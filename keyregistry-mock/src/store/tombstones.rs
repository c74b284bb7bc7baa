//! What is left of keys that were revoked or replaced: neither their ids nor the keys themselves
//! come back.
//!
//! Only keys that were approved once leave a tombstone, so that a stranger, whose keys are
//! never approved, leaves none. They are bounded in number, by service and in all; the oldest of the
//! service that has most gives way, so that a service that rotates in a loop displaces its own.

use super::Name;
use super::crowd::Crowd;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A key that was revoked or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Its name.
    pub(crate) name: Name,
    /// The RFC 7638 thumbprint of the key.
    pub(crate) thumbprint: Arc<str>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    of_service: usize,
    in_all: usize,
}

const LIMITS: Limits = Limits {
    of_service: 10_000,
    in_all: 100_000,
};

/// All of them.
#[derive(Debug)]
pub(crate) struct Tombstones {
    by_number: BTreeMap<u64, Tombstone>,
    by_name: BTreeMap<Name, BTreeSet<u64>>,
    by_thumbprint: BTreeMap<Arc<str>, BTreeSet<u64>>,
    /// By service.
    crowd: Crowd<u64>,
    limits: Limits,
}

impl Default for Tombstones {
    fn default() -> Self {
        Self {
            by_number: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_thumbprint: BTreeMap::new(),
            crowd: Crowd::default(),
            limits: LIMITS,
        }
    }
}

impl Tombstones {
    /// Whether a key of this name was revoked or replaced.
    pub(crate) fn has_name(&self, name: &Name) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether this key was revoked or replaced, under whatever name: its private half may
    /// be in other hands.
    pub(crate) fn has_key(&self, thumbprint: &str) -> bool {
        self.by_thumbprint.contains_key(thumbprint)
    }

    /// Those of this name or this key.
    pub(crate) fn of(&self, name: &Name, thumbprint: &str) -> Vec<u64> {
        let by_name = self.by_name.get(name).into_iter().flatten();
        let by_key = self.by_thumbprint.get(thumbprint).into_iter().flatten();
        let both: BTreeSet<u64> = by_name.chain(by_key).copied().collect();
        both.into_iter().collect()
    }

    /// By its number.
    pub(super) fn get(&self, number: u64) -> Option<&Tombstone> {
        self.by_number.get(&number)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The number of the next.
    pub(super) fn next_number(&self) -> u64 {
        let last = self.by_number.last_key_value();
        last.map_or(1, |(number, _)| number.saturating_add(1))
    }

    /// The one that gives way to one more of this service.
    pub(super) fn gives_way(&self, service: &Arc<str>) -> Option<u64> {
        let of_service = self.crowd.group(std::slice::from_ref(service));
        of_service
            .filter(|crowd| crowd.size() >= self.limits.of_service)
            .or((self.crowd.size() >= self.limits.in_all).then_some(&self.crowd))
            .and_then(Crowd::first_to_go)
            .copied()
    }

    pub(super) fn insert(&mut self, number: u64, tombstone: Tombstone) {
        let service = [Arc::clone(tombstone.name.service())];
        // Of a crowd the highest number gives way, of tombstones the oldest.
        self.crowd.insert(&service, u64::MAX - number, number);
        let by_name = self.by_name.entry(tombstone.name.clone()).or_default();
        by_name.insert(number);
        let thumbprint = Arc::clone(&tombstone.thumbprint);
        self.by_thumbprint
            .entry(thumbprint)
            .or_default()
            .insert(number);
        self.by_number.insert(number, tombstone);
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(tombstone) = self.by_number.remove(&number) else {
            return;
        };
        let service = [Arc::clone(tombstone.name.service())];
        self.crowd.remove(&service, u64::MAX - number);
        remove_from(&mut self.by_name, &tombstone.name, number);
        remove_from(&mut self.by_thumbprint, &tombstone.thumbprint, number);
    }
}

fn remove_from<K: Ord>(map: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, number: u64) {
    if let Some(numbers) = map.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bury(tombstones: &mut Tombstones, service: &str, kid: &str) {
        let name = Name::new(service, kid);
        if let Some(number) = tombstones.gives_way(name.service()) {
            tombstones.remove(number);
        }
        let thumbprint = format!("key {kid} of {service}").into();
        tombstones.insert(tombstones.next_number(), Tombstone { name, thumbprint });
    }

    fn with_limits(of_service: usize, in_all: usize) -> Tombstones {
        Tombstones {
            limits: Limits { of_service, in_all },
            ..Tombstones::default()
        }
    }

    #[test]
    fn a_service_that_rotates_in_a_loop_displaces_its_own_oldest_tombstones() {
        let mut tombstones = with_limits(5, 8);
        for kid in ["1", "2"] {
            bury(&mut tombstones, "honest", kid);
        }
        for number in 0..100 {
            bury(&mut tombstones, "hostile", &number.to_string());
        }
        assert_eq!(tombstones.len(), 7);
        assert!(tombstones.has_name(&Name::new("honest", "1")));
        assert!(tombstones.has_key("key 2 of honest"));
        assert!(tombstones.has_name(&Name::new("hostile", "95")));
        assert!(!tombstones.has_name(&Name::new("hostile", "94")));
    }

    #[test]
    fn tombstones_of_all_services_have_an_end() {
        let mut tombstones = with_limits(5, 8);
        for number in 0..100 {
            bury(&mut tombstones, &number.to_string(), "k");
        }
        assert_eq!(tombstones.len(), 8);
        assert!(!tombstones.has_key("key k of 0"));
        assert_eq!(tombstones.by_name.len(), 8);
        assert_eq!(tombstones.by_thumbprint.len(), 8);
    }
}
