//! Members in groups within groups, and which of them gives way when there are too many.
//!
//! The largest group gives way, within it its largest group, and so on; of groups of one size, the
//! one with the latest member. So a party that brings many displaces its own. Every step takes
//! time logarithmic in the number of groups, however many members there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A group, its groups, and the members that belong to none of them.
///
/// A member is known by its number, which is its own in the whole crowd. The highest number of
/// the largest group gives way first.
#[derive(Debug)]
pub(super) struct Crowd<T> {
    size: usize,
    members: BTreeMap<u64, T>,
    groups: BTreeMap<Arc<str>, Self>,
    by_size: BTreeSet<(usize, u64, Arc<str>)>,
    by_latest: BTreeSet<(u64, Arc<str>)>,
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        Self {
            size: 0,
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            by_size: BTreeSet::new(),
            by_latest: BTreeSet::new(),
        }
    }
}

impl<T> Crowd<T> {
    /// How many members there are.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The group at the end of this path, unless it is empty.
    pub(super) fn group(&self, path: &[Arc<str>]) -> Option<&Self> {
        let mut group = self;
        for name in path {
            group = group.groups.get(name)?;
        }
        Some(group)
    }

    /// Adds a member to the group at the end of this path.
    pub(super) fn insert(&mut self, path: &[Arc<str>], number: u64, member: T) {
        let Some((first, rest)) = path.split_first() else {
            self.members.insert(number, member);
            self.size = self.members.len();
            return;
        };
        self.change(first, |group| group.insert(rest, number, member));
    }

    /// Removes a member of the group at the end of this path.
    pub(super) fn remove(&mut self, path: &[Arc<str>], number: u64) {
        let Some((first, rest)) = path.split_first() else {
            self.members.remove(&number);
            self.size = self.members.len();
            return;
        };
        self.change(first, |group| group.remove(rest, number));
    }

    /// The member that gives way first.
    pub(super) fn first_to_go(&self) -> Option<&T> {
        let Some((_, _, largest)) = self.by_size.last() else {
            return self.members.last_key_value().map(|(_, member)| member);
        };
        self.groups.get(largest)?.first_to_go()
    }

    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Self)) {
        let mut group = self.groups.remove(name).unwrap_or_default();
        let latest = group.latest();
        self.by_size.remove(&(group.size, latest, Arc::clone(name)));
        self.by_latest.remove(&(latest, Arc::clone(name)));
        self.size -= group.size;
        change(&mut group);
        if group.size == 0 {
            return;
        }
        let latest = group.latest();
        self.size += group.size;
        self.by_size.insert((group.size, latest, Arc::clone(name)));
        self.by_latest.insert((latest, Arc::clone(name)));
        self.groups.insert(Arc::clone(name), group);
    }

    fn latest(&self) -> u64 {
        let member = self.members.last_key_value().map(|(number, _)| *number);
        let group = self.by_latest.last().map(|(number, _)| *number);
        member.max(group).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Arc<str>> {
        text.split('/').map(Arc::from).collect()
    }

    fn crowd(members: &[(&str, u64)]) -> Crowd<u64> {
        let mut crowd = Crowd::default();
        for (group, number) in members {
            crowd.insert(&path(group), *number, *number);
        }
        crowd
    }

    #[test]
    fn the_latest_of_the_largest_group_gives_way() {
        let crowd = crowd(&[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)]);
        assert_eq!(crowd.first_to_go(), Some(&3));
        assert_eq!(crowd.size(), 5);
        assert_eq!(crowd.group(&path("a")).map(Crowd::size), Some(3));
    }

    #[test]
    fn many_small_groups_of_one_large_group_are_a_large_group() {
        let mut members = vec![("honest/x", 1), ("honest/x", 2)];
        let names: Vec<String> = (0..9).map(|number| format!("hostile/{number}")).collect();
        members.extend(names.iter().zip(3..).map(|(name, n)| (name.as_str(), n)));
        assert_eq!(crowd(&members).first_to_go(), Some(&11));
    }

    #[test]
    fn of_groups_of_one_size_the_established_ones_stay() {
        let crowd = crowd(&[("z", 1), ("b", 3), ("a", 2)]);
        assert_eq!(crowd.first_to_go(), Some(&3));
    }

    #[test]
    fn what_has_gone_leaves_nothing_behind() {
        let mut crowd = crowd(&[("a/x", 1), ("a/y", 2), ("b/x", 3)]);
        crowd.remove(&path("a/y"), 2);
        assert_eq!(crowd.first_to_go(), Some(&3));
        crowd.remove(&path("b/x"), 3);
        crowd.remove(&path("b/x"), 3);
        crowd.remove(&path("a/x"), 1);
        assert_eq!((crowd.size(), crowd.first_to_go()), (0, None));
        assert!(crowd.groups.is_empty() && crowd.by_size.is_empty() && crowd.by_latest.is_empty());
    }
}
