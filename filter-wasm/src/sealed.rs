//! Shared data that other plugins of the process can write to, sealed where the configuration has
//! a secret for it.
//!
//! Shared data belongs to a vm_id, and Istio gives all plugins the same, the empty one. With
//! `shared_data_secret` a value that another plugin wrote, moved or damaged is recognised. An old
//! value that it puts back in its place is not.

use crate::shared_data::{Conflict, SharedData, Version};
use jwt_core::seal::{self, Key, Secret};
use std::rc::Rc;

/// A value that none of our workers wrote, and the number of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign(pub Version);

/// Shared data, sealed or not.
#[derive(Clone)]
pub struct Sealed {
    data: Rc<dyn SharedData>,
    secret: Option<Secret>,
    seal_key: Option<Key>,
}

impl Sealed {
    /// Without a secret values are taken as they are.
    pub fn new(data: Rc<dyn SharedData>, secret: Option<Secret>) -> Self {
        let seal_key = secret.as_ref().map(|secret| secret.key_for("seal"));
        Self {
            data,
            secret,
            seal_key,
        }
    }

    /// The value and its version; an absent one is empty.
    pub fn get(&self, key: &str) -> Result<(Vec<u8>, Version), Foreign> {
        let (bytes, version) = self.data.get(key);
        match &self.seal_key {
            Some(seal_key) if version != Version::Absent => seal::open(seal_key, key, bytes)
                .map(|value| (value, version))
                .ok_or(Foreign(version)),
            _ => Ok((bytes, version)),
        }
    }

    /// The same, with a foreign value as an empty one: for what may be lost.
    pub fn get_or_empty(&self, key: &str) -> (Vec<u8>, Version) {
        self.get(key)
            .unwrap_or_else(|Foreign(version)| (Vec::new(), version))
    }

    /// Writes, if the value is still the one seen with `version`.
    pub fn set(&self, key: &str, value: Vec<u8>, version: Version) -> Result<(), Conflict> {
        let value = match &self.seal_key {
            Some(seal_key) => seal::seal(seal_key, key, value),
            None => value,
        };
        self.data.set(key, &value, version)
    }

    /// The key of a hash that all workers must compute alike and no other plugin can. It comes from
    /// the secret; without one the first worker's `fresh` key is everybody's.
    pub fn hash_key(&self, place: &str, fresh: Key) -> Key {
        if let Some(secret) = &self.secret {
            return secret.key_for(place);
        }
        // A worker that is too late finds a conflict here, and the first one's key below.
        let _ = self.data.set(place, &fresh, Version::Absent);
        let (agreed, _) = self.data.get(place);
        agreed.try_into().unwrap_or(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_data::in_memory::InMemory;

    fn secret(text: &str) -> Option<Secret> {
        Secret::new(text.repeat(32))
    }

    #[test]
    fn a_sealed_value_is_read_by_those_who_have_the_secret() {
        let data = Rc::new(InMemory::default());
        let (ours, theirs) = (
            Sealed::new(data.clone(), secret("a")),
            Sealed::new(data.clone(), secret("b")),
        );
        ours.set("k", b"value".to_vec(), Version::Absent).unwrap();
        assert_eq!(ours.get("k").unwrap().0, b"value");
        assert!(theirs.get("k").is_err());
        // A value that was blanked is a foreign one, an absent one is not.
        let (_, version) = data.get("k");
        data.set("k", b"", version).unwrap();
        assert!(ours.get("k").is_err());
        assert_eq!(ours.get("absent").unwrap().1, Version::Absent);
    }

    #[test]
    fn a_hash_key_is_agreed_or_comes_from_the_secret() {
        let data = Rc::new(InMemory::default());
        let open = Sealed::new(data.clone(), None);
        assert_eq!(open.hash_key("h", [1; 16]), [1; 16]);
        assert_eq!(open.hash_key("h", [2; 16]), [1; 16]);
        let sealed = |text| Sealed::new(data.clone(), secret(text)).hash_key("s", [1; 16]);
        assert_eq!(sealed("a"), sealed("a"));
        assert!(sealed("a") != sealed("b") && sealed("a") != [1; 16]);
        assert_eq!(data.get("s").1, Version::Absent);
    }
}
