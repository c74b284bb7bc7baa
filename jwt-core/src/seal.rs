//! Seals for values in memory that others can write to: a foreign or damaged value is recognised.
//!
//! A seal is SipHash-2-4 of 64 bits, a pseudorandom function, under a key that is derived from
//! the operator's secret. It covers the place of the value, so that a sealed value is worth
//! nothing elsewhere. It cannot tell an old value of the same place from the present one.

use sha2::{Digest as _, Sha256};
use siphasher::sip::SipHasher24;
use std::fmt;
use std::hash::Hasher as _;

/// Bytes that a seal adds to a value.
pub const SEAL_SIZE: usize = 8;

/// The fewest bytes of a [`Secret`]: 128 random bits written in hexadecimal.
pub const MIN_SECRET_LENGTH: usize = 32;

/// A key of 128 bits.
pub type Key = [u8; 16];

/// What only the operator's own configuration has.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of at least [`MIN_SECRET_LENGTH`] bytes.
    pub fn new(text: String) -> Option<Self> {
        (text.len() >= MIN_SECRET_LENGTH).then_some(Self(text))
    }

    /// The text, for writing the configuration.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key for one purpose. A key tells nothing about the secret or about other keys.
    pub fn key_for(&self, purpose: &str) -> Key {
        let mut digest = Sha256::new();
        for part in ["jwtproxy shared data", purpose, &self.0] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digest: [u8; 32] = digest.finalize().into();
        let [key, _] = halves(digest);
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}

fn halves(digest: [u8; 32]) -> [Key; 2] {
    let mut halves = [Key::default(); 2];
    halves.as_flattened_mut().copy_from_slice(&digest);
    halves
}

/// Appends the seal to the value that stands at `place`.
pub fn seal(key: &Key, place: &str, mut value: Vec<u8>) -> Vec<u8> {
    let tag = tag(key, place, &value);
    value.extend_from_slice(&tag);
    value
}

/// Takes the seal off; `None` if it is not the seal of this value at this place.
pub fn open(key: &Key, place: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let (value, seal) = sealed.split_last_chunk::<SEAL_SIZE>()?;
    let expected = tag(key, place, value);
    // All bytes are compared, so that the time does not tell how many are right.
    let difference = (seal.iter().zip(&expected)).fold(0, |all, (a, b)| all | (a ^ b));
    if difference != 0 {
        return None;
    }
    sealed.truncate(sealed.len() - SEAL_SIZE);
    Some(sealed)
}

fn tag(key: &Key, place: &str, value: &[u8]) -> [u8; SEAL_SIZE] {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write_u64(place.len() as u64);
    hasher.write(place.as_bytes());
    hasher.write(value);
    hasher.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn secret(text: &str) -> Secret {
        Secret::new(text.repeat(MIN_SECRET_LENGTH)).unwrap()
    }

    #[test]
    fn a_sealed_value_is_opened_at_its_place_alone() {
        let key = secret("a").key_for("test");
        let sealed = seal(&key, "k1", b"value".to_vec());
        assert_eq!(sealed.len(), 5 + SEAL_SIZE);
        assert_eq!(open(&key, "k1", sealed.clone()).unwrap(), b"value");
        assert_eq!(open(&key, "k2", sealed.clone()), None);
        for other in [secret("b").key_for("test"), secret("a").key_for("other")] {
            assert_eq!(open(&other, "k1", sealed.clone()), None);
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_recognised() {
        let key = secret("a").key_for("test");
        let sealed = seal(&key, "k1", b"value".to_vec());
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[index] ^= 1 << bit;
                assert_eq!(open(&key, "k1", changed), None);
            }
            assert_eq!(open(&key, "k1", sealed[..index].to_vec()), None);
        }
    }

    #[test]
    fn a_secret_is_long_and_not_shown() {
        assert_eq!(Secret::new("a".repeat(MIN_SECRET_LENGTH - 1)), None);
        assert!(!format!("{:?}", secret("tell")).contains("tell"));
    }
}
