//! The places of requests that wait for keys, and the order in which they are decided.
//!
//! A place takes little memory here: the head of the request stays with the host, which is asked
//! for it again once the key is there.

use super::StreamId;
use jwt_core::key::KeyName;
use jwt_core::machine::KeyAnswer;
use std::collections::{BTreeSet, HashMap, VecDeque, btree_set};
use std::rc::Rc;

/// The most requests that wait at once. A key server that does not answer holds each for as long
/// as an answer may take.
pub(super) const MAX_WAITING: usize = 10_000;

/// The most memory, in bytes, that the host may hold for them.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Keys that have room of their own, each for a share of what is not in the pool. Fewer unknown
/// ones can be asked for at once.
const KEYS: usize = 100;

/// The requests of one verifier on one worker that wait.
pub(super) struct WaitingRoom {
    /// All that have a place, those with a decision to come included.
    places: HashMap<StreamId, Place>,
    number: Room,
    bytes: Room,
    /// Those whose key is still to come.
    groups: HashMap<Rc<KeyName>, Group>,
    /// Those whose key has been answered, of each key a queue.
    answered: VecDeque<Queue>,
}

struct Place {
    name: Rc<KeyName>,
    bytes: usize,
}

/// Room of one sort. A fifth of it is divided into equal shares, one for each key that waits. The
/// rest is a pool, of which a key may take as much as it leaves free for the others.
struct Room {
    max: usize,
    used: usize,
    /// Taken from the pool.
    pooled: usize,
}

impl Room {
    fn of(max: usize) -> Self {
        Self {
            max,
            used: 0,
            pooled: 0,
        }
    }

    /// What of that much is beyond the share of a key.
    fn beyond_share(&self, taken: usize) -> usize {
        taken.saturating_sub(self.max / 5 / KEYS)
    }

    /// Whether a key that has taken so much may take more.
    fn has(&self, taken: usize, more: usize) -> bool {
        let (before, after) = (self.beyond_share(taken), self.beyond_share(taken + more));
        let pool = (self.max - self.max / 5).saturating_sub(self.pooled);
        (after == before || after <= pool) && self.used + more <= self.max
    }

    fn take(&mut self, taken: usize, more: usize) {
        self.pooled += self.beyond_share(taken + more) - self.beyond_share(taken);
        self.used += more;
    }
}

#[derive(Default)]
struct Group {
    streams: BTreeSet<StreamId>,
    bytes: usize,
}

struct Queue {
    name: Rc<KeyName>,
    answer: KeyAnswer,
    /// The oldest first: the host counts streams up.
    streams: btree_set::IntoIter<StreamId>,
}

/// A request that no longer waits, with the answer to be decided by.
#[derive(Debug)]
pub struct Ready {
    pub(super) stream: StreamId,
    pub(super) name: Rc<KeyName>,
    pub(super) answer: KeyAnswer,
}

impl Ready {
    /// Which request.
    pub fn stream(&self) -> StreamId {
        self.stream
    }
}

impl Default for WaitingRoom {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            number: Room::of(MAX_WAITING),
            bytes: Room::of(MAX_BYTES),
            groups: HashMap::new(),
            answered: VecDeque::new(),
        }
    }
}

impl WaitingRoom {
    /// Gives a request a place that waits for this key and for which the host holds so many bytes.
    /// False if there is no room.
    pub(super) fn admit(&mut self, stream: StreamId, name: &KeyName, bytes: usize) -> bool {
        let (taken, taken_bytes) = match self.groups.get(name) {
            Some(group) => (group.streams.len(), group.bytes),
            None => (0, 0),
        };
        if !self.number.has(taken, 1) || !self.bytes.has(taken_bytes, bytes) {
            return false;
        }
        self.number.take(taken, 1);
        self.bytes.take(taken_bytes, bytes);
        let name = match self.groups.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => Rc::new(name.clone()),
        };
        let group = self.groups.entry(name.clone()).or_default();
        group.streams.insert(stream);
        group.bytes += bytes;
        self.places.insert(stream, Place { name, bytes });
        true
    }

    /// A request is over.
    pub(super) fn leave(&mut self, stream: StreamId) {
        let Some(Place { name, bytes }) = self.places.remove(&stream) else {
            return;
        };
        self.number.used = self.number.used.saturating_sub(1);
        self.bytes.used = self.bytes.used.saturating_sub(bytes);
        // One that is in a queue stays there without a place, and is left out when its turn comes.
        let waits = |group: &Group| group.streams.contains(&stream);
        if !self.groups.get(&name).is_some_and(waits) {
            return;
        }
        self.give_back(&name);
        if let Some(group) = self.groups.get_mut(&name) {
            group.streams.remove(&stream);
            group.bytes = group.bytes.saturating_sub(bytes);
            self.number.pooled += self.number.beyond_share(group.streams.len());
            self.bytes.pooled += self.bytes.beyond_share(group.bytes);
            if group.streams.is_empty() {
                self.groups.remove(&name);
            }
        }
    }

    /// A key has been answered.
    pub(super) fn answer(&mut self, name: &KeyName, answer: &KeyAnswer) {
        self.give_back(name);
        if let Some((name, group)) = self.groups.remove_entry(name) {
            self.answered.push_back(Queue {
                name,
                answer: answer.clone(),
                streams: group.streams.into_iter(),
            });
        }
    }

    /// Gives back what a key has taken from the pool.
    fn give_back(&mut self, name: &KeyName) {
        let Some(group) = self.groups.get(name) else {
            return;
        };
        let number = self.number.beyond_share(group.streams.len());
        let bytes = self.bytes.beyond_share(group.bytes);
        self.number.pooled = self.number.pooled.saturating_sub(number);
        self.bytes.pooled = self.bytes.pooled.saturating_sub(bytes);
    }

    /// Whether a decision is to come.
    pub(super) fn has_ready(&self) -> bool {
        !self.answered.is_empty()
    }

    /// The request whose turn it is; keys take turns.
    pub(super) fn next(&mut self) -> Option<Ready> {
        while let Some(mut queue) = self.answered.pop_front() {
            let Some(stream) = queue.streams.next() else {
                continue;
            };
            let (name, answer) = (queue.name.clone(), queue.answer.clone());
            self.answered.push_back(queue);
            if self.places.contains_key(&stream) {
                self.leave(stream);
                return Some(Ready {
                    stream,
                    name,
                    answer,
                });
            }
        }
        None
    }
}
