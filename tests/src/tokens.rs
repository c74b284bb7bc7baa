//! Tokens made now, good ones and others.

use jwt_core::testing::TestSigner;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The audience of the verifiers under test.
pub const AUDIENCE: &str = "https://api.example";

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("a clock before the end of time")
}

/// Claims that are accepted, with a `jti` of their own.
pub fn good_claims() -> Value {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = now();
    json!({
        "iss": "svc",
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now - 60,
        "exp": now + 240,
        "jti": format!("{}-{id}", std::process::id()),
    })
}

/// A token that is accepted, once.
pub fn good() -> String {
    TestSigner::service().sign(&good_claims())
}

/// A token whose claims differ from good ones in this.
pub fn with_claim(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims[name] = value;
    TestSigner::service().sign(&claims)
}

/// A token with good claims under another header.
pub fn with_header(header: &Value) -> String {
    TestSigner::service().sign_with(header, &good_claims())
}

/// A token that says to be signed with `k1`, and is not.
pub fn forged() -> String {
    TestSigner::stranger().sign(&good_claims())
}
