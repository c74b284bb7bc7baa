//! Single use: a nonce is claimed once, atomically, or the request is refused.

use crate::time::Timestamp;

/// What makes a token the same token again: (`iss`, `jti`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `jti` (RFC 7519 §4.1.7).
    pub token_id: &'a str,
    /// `exp`: from then on the token is refused anyway, and the nonce may be forgotten.
    pub expires: Timestamp,
}

/// A store's answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceClaim {
    /// Nobody had claimed it: it is the caller's, and nobody else's until it expires.
    Fresh,
    /// Somebody was first.
    Replayed,
    /// There is no room to remember it.
    Full,
    /// What room there is, is not for this issuer: it has more than its share already.
    OverShare,
    /// The store cannot tell.
    Unavailable,
}

/// Remembers nonces until they expire.
pub trait NonceStore {
    /// Claims a nonce: of any number of concurrent claims of one nonce, one is answered
    /// [`NonceClaim::Fresh`].
    fn claim(&mut self, nonce: &Nonce<'_>, now: Timestamp) -> NonceClaim;

    /// Whether a token may be used again, so that it is worth while to remember it.
    fn permits_reuse(&self) -> bool {
        false
    }
}

/// Remembers nothing: tokens may be used again until they expire.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoidNonceStore;

impl NonceStore for VoidNonceStore {
    fn claim(&mut self, _: &Nonce<'_>, _: Timestamp) -> NonceClaim {
        NonceClaim::Fresh
    }

    fn permits_reuse(&self) -> bool {
        true
    }
}
