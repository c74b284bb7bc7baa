//! Tokens that were proven before, for verifiers where a token may be used again: the signature
//! is by far the dearest part of a verification.
//!
//! What is remembered lets nothing through by itself: [`ProvenToken::check`] and
//! [`CurrentToken::check_signature`] see to it that the time is checked on each use and that the
//! signature is checked again unless the key is the very same. Only proven tokens come in here, so
//! strangers can push nothing out.
//!
//! [`CurrentToken::check_signature`]: crate::verify::CurrentToken::check_signature

use crate::verify::ProvenToken;
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;

/// The most tokens that are remembered; the one whose last use is longest ago goes first.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(500).unwrap();

/// The longest token that is remembered, in bytes. With what is decoded of them, and their keys,
/// all tokens together take less than 4 MiB.
const MAX_LENGTH: usize = 2048;

/// The end of a token's text, which is a part of its signature and thus as good as a hash. Of two
/// tokens with the same end one is remembered.
type End = [u8; 16];

/// The proven tokens of one policy.
pub struct TokenCache {
    tokens: LruCache<End, ProvenToken>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self {
            tokens: LruCache::new(CAPACITY),
        }
    }
}

impl TokenCache {
    /// The token with exactly this text.
    pub fn get(&mut self, compact: &str) -> Option<&ProvenToken> {
        let found = self.tokens.get(compact.as_bytes().last_chunk()?)?;
        (found.compact() == compact).then_some(found)
    }

    /// Remembers a token, if it is not too long.
    pub fn put(&mut self, token: &ProvenToken) {
        let text = token.compact().as_bytes();
        if let Some(end) = text.last_chunk().filter(|_| text.len() <= MAX_LENGTH) {
            self.tokens.put(*end, token.clone());
        }
    }
}

impl fmt::Debug for TokenCache {
    /// Tokens are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
