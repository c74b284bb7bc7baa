//! Whom a token is for.

use crate::{origin, two_lines};
use jwt_core::audience::{self, Audience};

/// Two lines: a configured audience, and that of a token. Two URLs that browsers tell apart are
/// never one audience, and the audience of a request is its origin.
pub fn audience(data: &[u8]) {
    let Some((configured, candidate)) = two_lines(data) else {
        return;
    };
    let one = Audience::new(configured);
    let other = Audience::new(candidate);
    let is_match = one.matches(candidate);
    assert_eq!(is_match, other.matches(configured), "only one way");
    assert!(one.matches(configured) && one.matches(one.normalized()));
    assert_eq!(is_match, one.normalized() == other.normalized());
    if is_match && configured != candidate {
        assert_eq!(origin(configured), origin(candidate));
    }
    if candidate.parse::<http::uri::Authority>().is_err() {
        return;
    }
    for scheme in ["http", "https"] {
        let Some(named) = audience::of_request(scheme, candidate) else {
            continue;
        };
        let requested = format!("{scheme}://{candidate}/");
        // Names that browsers take for no host at all have no second reading.
        if let Some(requested) = origin(&requested) {
            assert_eq!(origin(&named), Some(requested));
        }
        if requested.parse::<http::Uri>().is_ok() {
            assert!(Audience::new(&*requested).matches(&named));
        }
    }
}
