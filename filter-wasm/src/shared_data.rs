//! The key-value store that the workers of an Envoy process share.

/// Which write of a value was seen; for telling whether another came between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// There was no value.
    Absent,
    /// The host's number of the write, never zero.
    Of(u32),
}

/// Somebody else has written since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

/// What the host offers. Nothing is ever deleted, and values do not expire.
pub trait SharedData {
    /// The value and its version; an absent one is empty.
    fn get(&self, key: &str) -> (Vec<u8>, Version);

    /// Writes, if the value is still the one seen with `version`.
    fn set(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict>;
}

/// A store in memory with the same rules, for tests.
#[cfg(any(test, feature = "testing"))]
pub mod in_memory {
    use super::{Conflict, SharedData, Version};
    use std::collections::HashMap;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// The workers of one process share one.
    #[derive(Debug, Default)]
    pub struct InMemory(Mutex<Values>);

    /// Each value with the number of its last write.
    type Values = HashMap<String, (Vec<u8>, u32)>;

    impl InMemory {
        fn values(&self) -> MutexGuard<'_, Values> {
            // Every write is one operation: a panic elsewhere cannot have left half of one.
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl SharedData for InMemory {
        fn get(&self, key: &str) -> (Vec<u8>, Version) {
            let values = self.values();
            let Some((value, version)) = values.get(key) else {
                return (Vec::new(), Version::Absent);
            };
            (value.clone(), Version::Of(*version))
        }

        fn set(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
            let mut values = self.values();
            let present = values
                .get(key)
                .map_or(Version::Absent, |(_, v)| Version::Of(*v));
            if present != version {
                return Err(Conflict);
            }
            let next = if let Version::Of(v) = version {
                v + 1
            } else {
                1
            };
            values.insert(key.to_owned(), (value.to_vec(), next));
            Ok(())
        }
    }
}
