//! Public keys and their names.

pub use jwt_keys::{KeyError, PublicKey};

use crate::refusal::Refusal;
use crate::token::limits::{MAX_TEXT_LENGTH, TEXT_LENGTH};
use std::fmt;

/// Which key signed a token: the issuer (`iss`) and its key id (`kid`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    issuer: String,
    key_id: String,
}

impl KeyName {
    /// Both parts are non-empty and at most [`MAX_TEXT_LENGTH`] bytes long.
    pub fn new(issuer: String, key_id: String) -> Result<Self, Refusal> {
        for (name, value) in [("iss", &issuer), ("kid", &key_id)] {
            if value.is_empty() {
                return Err(Refusal::Missing(name));
            }
            if value.len() > MAX_TEXT_LENGTH {
                return Err(Refusal::WrongType {
                    name,
                    expected: TEXT_LENGTH,
                });
            }
        }
        Ok(Self { issuer, key_id })
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `kid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

impl fmt::Display for KeyName {
    /// As it may stand in a log line: control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.key_id, self.issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_are_bounded() {
        assert!(KeyName::new("a".repeat(1024), "b".repeat(1024)).is_ok());
        assert!(KeyName::new("a".repeat(1025), "b".into()).is_err());
        assert!(KeyName::new("a".into(), String::new()).is_err());
    }
}
