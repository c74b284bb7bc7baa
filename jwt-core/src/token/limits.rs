//! The bounds of every token, whatever reads it: a verifier, a key registry, a log line.

/// The longest compact serialization unless configured otherwise, in bytes. Signers make tokens of
/// less than 1 KiB, identity providers some of several KiB.
pub const DEFAULT_MAX_SIZE: usize = 16 * 1024;

/// The longest `iss`, `kid`, `jti` and `aud`, in bytes: they are kept in caches that strangers can
/// fill.
pub const MAX_TEXT_LENGTH: usize = 1024;

/// [`MAX_TEXT_LENGTH`] in a refusal.
pub(crate) const TEXT_LENGTH: &str = "at most 1024 bytes long";

/// The most audiences of one token.
pub const MAX_AUDIENCES: usize = 100;

/// How deep the header and the claims may be nested; the object itself is the first level. It is
/// below the recursion limit of `serde_json` (128), so what is accepted can be read anywhere.
pub const MAX_DEPTH: usize = 64;
