//! The time.

use jwt_core::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the clock shows. One before 1970 gives tokens that every verifier refuses, which is right.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_unix(since_epoch.unwrap_or_default())
}
