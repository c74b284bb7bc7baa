//! What the workers of a process tell each other about keys: answers, and who is asking.
//!
//! Three things with a room of their own each, so that strangers push out nothing of a service:
//! - notes ([`marks`]) of the keys that were had, and whether they were taken back since;
//! - slots with answers about these keys;
//! - slots with answers about keys that were never had, which strangers can invent.

#[cfg(test)]
mod tests;

use super::{FetchId, Source};
use crate::sealed::Sealed;
use crate::shared_data::Version;
use jwt_core::key::KeyName;
use jwt_core::machine::KeyAnswer;
use jwt_core::marks::{self, Mark, Place, State};
use jwt_core::refusal::KeyProblem;
use jwt_core::seal::Key as HashKey;
use jwt_core::shared_key::{self, Record, SLOTS};
use jwt_core::time::{CLOCK_TOLERANCE, Timestamp};
use std::time::Duration;

/// In every key of the shared data; it changes with the format of the values.
const PREFIX: &str = "jwtproxy.keys.v3";

/// How often the note of a key is written anew when another worker has written to its bucket.
const ATTEMPTS: usize = 100;

/// How long a source that has sent a verified token comes before strangers.
pub(super) const PROVEN_FOR: Duration = Duration::from_secs(3600);

/// Answers and leases in the shared data.
pub(super) struct SharedKeys {
    data: Sealed,
    hash_key: HashKey,
    key_server: String,
    /// Whether all keys of an issuer come together.
    in_sets: bool,
    /// How long after its time a key may serve while the key server is down.
    stale_if_error: Duration,
}

/// What the workers have noted of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// One had it, and none was refused it since.
    Good,
    /// One had it, and one was refused it since.
    Refused,
    /// It was never had, or the note is lost.
    Unknown,
}

/// What some worker has published of a key.
pub(super) struct Published {
    pub(super) standing: Standing,
    pub(super) record: Option<Record>,
}

impl SharedKeys {
    /// `fresh_key` becomes the key of the hash, unless a worker has chosen one before.
    pub(super) fn new(data: Sealed, source: &Source, fresh_key: HashKey) -> Self {
        Self {
            hash_key: data.hash_key(&format!("{PREFIX}.hash_key"), fresh_key),
            data,
            key_server: source.identity(),
            in_sets: matches!(source, Source::Sets(_)),
            stale_if_error: source.stale_if_error(),
        }
    }

    /// What some worker has published of a key.
    pub(super) fn published(&self, name: &KeyName, now: Timestamp) -> Published {
        let mark = self.mark(self.key_place(name), now);
        let (bytes, _) = self.data.get_or_empty(&self.answer_key(name, mark));
        Published {
            standing: self.standing(name, mark, now),
            record: shared_key::decode(&bytes, &self.key_server, name),
        }
    }

    /// Publishes an answer.
    pub(super) fn publish(
        &self,
        name: &KeyName,
        answer: &KeyAnswer,
        lifetime: Duration,
        now: Timestamp,
    ) {
        let place = self.key_place(name);
        match answer {
            Ok(_) => {
                let note = |before: Option<Mark>| {
                    let mut mark = self.good(lifetime.saturating_add(self.stale_if_error), now);
                    // Another worker may have a copy that lives longer.
                    mark.until = mark.until.max(before.map_or(mark.until, |it| it.until));
                    mark
                };
                self.note(place, now, |before| {
                    // What must not be kept leaves no note, but ends a refusal.
                    let lasts = !lifetime.is_zero() || before.is_some();
                    lasts.then(|| note(before))
                });
                let issuer = self.issuer_place(name.issuer());
                self.note(issuer, now, |before| Some(note(before)));
            }
            // A key server that could not be asked has taken nothing back.
            Err(KeyProblem::Unavailable) => {}
            Err(_) => self.note(place, now, |before| {
                before.map(|before| Mark {
                    state: State::Refused,
                    ..before
                })
            }),
        }
        let key = self.answer_key(name, self.mark(place, now));
        let (_, version) = self.data.get_or_empty(&key);
        let value = shared_key::encode(&self.key_server, name, answer, lifetime, now);
        // A conflict means that another worker has just published, most likely the same.
        let _ = self.data.set(&key, value, version);
    }

    /// Notes that a set has come. Keys that were had before and did not come this time are refused
    /// by this.
    pub(super) fn note_set(&self, issuer: &str, now: Timestamp) {
        let place = self.set_place(issuer);
        self.note(place, now, |_| Some(self.good(Duration::MAX, now)));
    }

    /// Whether a key of the issuer was had lately.
    pub(super) fn knows_issuer(&self, issuer: &str, now: Timestamp) -> bool {
        self.mark(self.issuer_place(issuer), now).is_some()
    }

    /// Notes that a token of the issuer that came from there was verified.
    pub(super) fn prove(&self, issuer: &str, source: &str, now: Timestamp) {
        let place = self.source_place(issuer, source);
        self.note(place, now, |_| Some(self.good(PROVEN_FOR, now)));
    }

    /// Whether a token of the issuer that came from there was verified lately.
    pub(super) fn is_proven(&self, issuer: &str, source: &str, now: Timestamp) -> bool {
        self.mark(self.source_place(issuer, source), now).is_some()
    }

    /// Takes the right to make a request until `until`, unless another worker has it.
    pub(super) fn lease(&self, id: &FetchId, now: Timestamp, until: Timestamp) -> bool {
        let (key, hash) = self.lease_key(id);
        let (bytes, version) = self.data.get_or_empty(&key);
        match read_lease(&bytes).filter(|lease| lease.holds(now)) {
            Some(lease) if lease.holder == hash => false,
            // Something else has the slot: better two requests than none.
            Some(_) => true,
            None => {
                let lease = Lease {
                    holder: hash,
                    since: now.milliseconds(),
                    end: until.milliseconds(),
                };
                self.data.set(&key, write_lease(&lease), version).is_ok()
            }
        }
    }

    /// Whether a worker is making that request.
    pub(super) fn is_leased(&self, id: &FetchId, now: Timestamp) -> bool {
        let (key, hash) = self.lease_key(id);
        let (bytes, _) = self.data.get_or_empty(&key);
        read_lease(&bytes).is_some_and(|lease| lease.holder == hash && lease.holds(now))
    }

    /// Gives the right back.
    pub(super) fn release(&self, id: &FetchId) {
        let (key, hash) = self.lease_key(id);
        let (bytes, version) = self.data.get_or_empty(&key);
        let lease = read_lease(&bytes).filter(|lease| lease.holder == hash);
        if let (Some(lease), true) = (lease, version != Version::Absent) {
            let ended = Lease { end: 0, ..lease };
            let _ = self.data.set(&key, write_lease(&ended), version);
        }
    }

    /// Whether the last word of the key server on a key was good. Where keys come in sets, it is
    /// the last set that counts: it says of every key that it lacks that it is gone, also of
    /// those that the worker that fetched it has never heard of.
    fn standing(&self, name: &KeyName, mark: Option<Mark>, now: Timestamp) -> Standing {
        let Some(mark) = mark else {
            return Standing::Unknown;
        };
        if mark.state == State::Refused {
            return Standing::Refused;
        }
        if !self.in_sets {
            return Standing::Good;
        }
        match self.mark(self.set_place(name.issuer()), now) {
            Some(set) if set.since <= mark.since => Standing::Good,
            Some(_) => Standing::Refused,
            None => Standing::Unknown,
        }
    }

    fn good(&self, lasts: Duration, now: Timestamp) -> Mark {
        /// Longer than any configuration keeps a key.
        const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);
        Mark {
            state: State::Good,
            since: now,
            until: now + lasts.min(LONGEST),
        }
    }

    fn mark(&self, note: Note, now: Timestamp) -> Option<Mark> {
        let (bytes, _) = self.data.get_or_empty(&note.key());
        marks::read(&bytes, note.place, now)
    }

    /// Replaces a note by what `change` makes of it; `None` leaves it. Should the note not be
    /// written, it is missing, and a missing one lets no key serve past its time.
    fn note(&self, note: Note, now: Timestamp, change: impl Fn(Option<Mark>) -> Option<Mark>) {
        let (key, place) = (note.key(), note.place);
        for _ in 0..ATTEMPTS {
            let (bytes, version) = self.data.get_or_empty(&key);
            let Some(mark) = change(marks::read(&bytes, place, now)) else {
                return;
            };
            let next = marks::write(&bytes, place, mark, now);
            if self.data.set(&key, next, version).is_ok() {
                return;
            }
        }
    }

    fn key_place(&self, name: &KeyName) -> Note {
        self.place_in("mark", &["key", name.issuer(), name.key_id()])
    }

    fn set_place(&self, issuer: &str) -> Note {
        self.place_in("mark", &["set", issuer])
    }

    fn issuer_place(&self, issuer: &str) -> Note {
        self.place_in("mark", &["issuer", issuer])
    }

    /// Not among the others: a service may come from any number of addresses.
    fn source_place(&self, issuer: &str, source: &str) -> Note {
        self.place_in("source", &[issuer, source])
    }

    fn place_in(&self, room: &'static str, parts: &[&str]) -> Note {
        let parts: Vec<_> = [&*self.key_server].iter().chain(parts).copied().collect();
        let place = marks::place(&self.hash_key, &parts);
        Note { room, place }
    }

    fn answer_key(&self, name: &KeyName, mark: Option<Mark>) -> String {
        let room = if mark.is_some() { "had" } else { "stranger" };
        let slot = shared_key::slot(&self.hash_key, &self.key_server, name);
        format!("{PREFIX}.{room}.{slot}")
    }

    fn lease_key(&self, id: &FetchId) -> (String, u64) {
        let parts: &[&str] = match id {
            FetchId::Key(name) => &[&self.key_server, name.issuer(), name.key_id()],
            FetchId::Set(issuer) => &[&self.key_server, issuer],
        };
        let hash = shared_key::hash(&self.hash_key, parts);
        (format!("{PREFIX}.lease.{}", hash % SLOTS), hash)
    }
}

/// Where a note is.
#[derive(Clone, Copy)]
struct Note {
    room: &'static str,
    place: Place,
}

impl Note {
    fn key(&self) -> String {
        format!("{PREFIX}.{}.{}", self.room, self.place.bucket)
    }
}

/// Who makes a request, from when to when, in milliseconds.
#[derive(Clone, Copy)]
struct Lease {
    holder: u64,
    since: i64,
    end: i64,
}

impl Lease {
    /// One that begins in the future is from before the clock went back, and its holder is done.
    fn holds(&self, now: Timestamp) -> bool {
        self.since <= (now + CLOCK_TOLERANCE).milliseconds() && self.end > now.milliseconds()
    }
}

fn write_lease(lease: &Lease) -> Vec<u8> {
    let Lease { holder, since, end } = lease;
    [holder.to_le_bytes(), since.to_le_bytes(), end.to_le_bytes()].concat()
}

fn read_lease(bytes: &[u8]) -> Option<Lease> {
    let (holder, rest) = bytes.split_first_chunk()?;
    let (since, end) = rest.split_first_chunk()?;
    Some(Lease {
        holder: u64::from_le_bytes(*holder),
        since: i64::from_le_bytes(*since),
        end: i64::from_le_bytes(end.try_into().ok()?),
    })
}
