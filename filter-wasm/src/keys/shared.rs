//! What the workers of a process tell each other about keys: answers, and who is asking.

use super::FetchId;
use crate::shared_data::{SharedData, Version};
use jwt_core::key::KeyName;
use jwt_core::machine::KeyAnswer;
use jwt_core::shared_key::{self, Record, SLOTS};
use jwt_core::time::Timestamp;
use std::rc::Rc;

/// In every key of the shared data; it changes with the format of the values.
const PREFIX: &str = "jwtproxy.keys.v2";

/// Answers and leases in the shared data.
pub(super) struct SharedKeys {
    data: Rc<dyn SharedData>,
    key_server: String,
}

impl SharedKeys {
    pub(super) fn new(data: Rc<dyn SharedData>, key_server: String) -> Self {
        Self { data, key_server }
    }

    /// What some worker has published of a key.
    pub(super) fn published(&self, name: &KeyName) -> Option<Record> {
        let (bytes, _) = self.data.get(&self.answer_key(name));
        shared_key::decode(&bytes, &self.key_server, name)
    }

    /// Publishes an answer.
    pub(super) fn publish(&self, name: &KeyName, answer: &KeyAnswer, expires: Timestamp) {
        let key = self.answer_key(name);
        let (before, version) = self.data.get(&key);
        let value = shared_key::encode(&self.key_server, name, answer, expires, &before);
        // A conflict means that another worker has just published, most likely the same.
        let _ = self.data.set(&key, &value, version);
    }

    /// Takes the right to make a request until `until`, unless another worker has it.
    pub(super) fn lease(&self, id: &FetchId, now: Timestamp, until: Timestamp) -> bool {
        let (key, hash) = self.lease_key(id);
        let (bytes, version) = self.data.get(&key);
        let held = read_lease(&bytes).filter(|(_, end)| *end > now.milliseconds());
        match held {
            Some((holder, _)) if holder == hash => false,
            // Something else has the slot: better two requests than none.
            Some(_) => true,
            None => self
                .data
                .set(&key, &write_lease(hash, until.milliseconds()), version)
                .is_ok(),
        }
    }

    /// Whether a worker is making that request.
    pub(super) fn is_leased(&self, id: &FetchId, now: Timestamp) -> bool {
        let (key, hash) = self.lease_key(id);
        let (bytes, _) = self.data.get(&key);
        read_lease(&bytes).is_some_and(|(holder, end)| holder == hash && end > now.milliseconds())
    }

    /// Gives the right back.
    pub(super) fn release(&self, id: &FetchId) {
        let (key, hash) = self.lease_key(id);
        let (bytes, version) = self.data.get(&key);
        if version != Version::Absent && read_lease(&bytes).is_some_and(|(own, _)| own == hash) {
            let _ = self.data.set(&key, &write_lease(hash, 0), version);
        }
    }

    fn answer_key(&self, name: &KeyName) -> String {
        format!(
            "{PREFIX}.answer.{}",
            shared_key::slot(&self.key_server, name)
        )
    }

    fn lease_key(&self, id: &FetchId) -> (String, u64) {
        let hash = match id {
            FetchId::Key(name) => {
                shared_key::hash(&[&self.key_server, name.issuer(), name.key_id()])
            }
            FetchId::Set(issuer) => shared_key::hash(&[&self.key_server, issuer]),
        };
        (format!("{PREFIX}.lease.{}", hash % SLOTS), hash)
    }
}

fn write_lease(holder: u64, end: i64) -> Vec<u8> {
    [holder.to_le_bytes(), end.to_le_bytes()].concat()
}

fn read_lease(bytes: &[u8]) -> Option<(u64, i64)> {
    let (holder, end) = bytes.split_first_chunk()?;
    Some((
        u64::from_le_bytes(*holder),
        i64::from_le_bytes(end.try_into().ok()?),
    ))
}
