use super::Source;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Connections by source and age. Every step takes logarithmic time, however many there are: it
/// is strangers who open them.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// The connections of each source: when, and which.
    by_source: HashMap<Source, BTreeMap<u64, u64>>,
    /// The sources by the number of their connections and, among equals, by the age of the oldest.
    order: BTreeSet<(usize, Reverse<u64>, Source)>,
}

impl Ranking {
    pub(super) fn insert(&mut self, source: Source, tick: u64, id: u64) {
        self.update(source, |connections| {
            connections.insert(tick, id);
        });
    }

    pub(super) fn remove(&mut self, source: Source, tick: u64) {
        self.update(source, |connections| {
            connections.remove(&tick);
        });
    }

    pub(super) fn count_of(&self, source: Source) -> usize {
        self.by_source.get(&source).map_or(0, BTreeMap::len)
    }

    /// The oldest connection of a source.
    pub(super) fn oldest_of(&self, source: Source) -> Option<u64> {
        let (_, id) = self.by_source.get(&source)?.first_key_value()?;
        Some(*id)
    }

    /// The oldest connection of the source that has most.
    pub(super) fn first(&self) -> Option<u64> {
        let (_, _, source) = self.order.last()?;
        self.oldest_of(*source)
    }

    fn update(&mut self, source: Source, change: impl FnOnce(&mut BTreeMap<u64, u64>)) {
        let mut connections = self.by_source.remove(&source).unwrap_or_default();
        if let Some(rank) = rank(source, &connections) {
            self.order.remove(&rank);
        }
        change(&mut connections);
        if let Some(rank) = rank(source, &connections) {
            self.order.insert(rank);
            self.by_source.insert(source, connections);
        }
    }
}

/// `None` for a source without connections.
fn rank(source: Source, connections: &BTreeMap<u64, u64>) -> Option<(usize, Reverse<u64>, Source)> {
    let (oldest, _) = connections.first_key_value()?;
    Some((connections.len(), Reverse(*oldest), source))
}
