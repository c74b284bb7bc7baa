//! Whose clock is wrong, as far as one can tell from here.

use jwt_core::config::duration;
use std::fmt;
use std::time::{Duration, SystemTime};

/// How far the registry's clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClockDifference {
    Ahead(Duration),
    Behind(Duration),
}

impl ClockDifference {
    /// By a `Date` field (RFC 9110 §6.6.1) in the answer to a request that was sent and answered
    /// at these times. A difference that the way could explain is none.
    pub(super) fn find(date: &str, sent: SystemTime, received: SystemTime) -> Option<Self> {
        let date = httpdate::parse_http_date(date).ok()?;
        if let Ok(ahead) = date.duration_since(received) {
            return Some(Self::Ahead(ahead));
        }
        // A date has no fractions of a second.
        let behind = sent.duration_since(date + Duration::from_secs(1)).ok()?;
        Some(Self::Behind(behind))
    }

    pub(super) fn is_more_than(self, max_skew: Duration) -> bool {
        let (Self::Ahead(by) | Self::Behind(by)) = self;
        by > max_skew
    }
}

impl fmt::Display for ClockDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, direction) = match self {
            Self::Ahead(by) => (by, "ahead of"),
            Self::Behind(by) => (by, "behind"),
        };
        let by = duration::format(Duration::from_secs(by.as_secs()));
        write!(f, "the registry's clock is {by} {direction} this machine's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millis)
    }

    fn find(date: u64, sent: u64, received: u64) -> Option<ClockDifference> {
        let date = httpdate::fmt_http_date(at(date));
        ClockDifference::find(&date, at(sent), at(received))
    }

    #[test]
    fn what_the_way_explains_is_no_difference() {
        for (date, sent, received) in [(0, 0, 0), (0, 999, 999), (2000, 500, 2500), (3000, 0, 9000)]
        {
            let found = find(date, sent, received);
            let none = found.is_none_or(|found| !found.is_more_than(Duration::ZERO));
            assert!(none, "{date} {sent} {received} {found:?}");
        }
    }

    #[test]
    fn a_difference_says_whose_clock_is_where() {
        let ahead = find(320_000, 0, 10_000).unwrap();
        let text = "the registry's clock is 310s ahead of this machine's";
        assert_eq!(ahead.to_string(), text);
        assert!(ahead.is_more_than(Duration::from_secs(309)));
        assert!(!ahead.is_more_than(Duration::from_secs(310)));
        let behind = find(0, 61_000, 61_000).unwrap();
        let text = "the registry's clock is 60s behind this machine's";
        assert_eq!(behind.to_string(), text);
    }

    #[test]
    fn what_is_no_date_says_nothing() {
        assert_eq!(ClockDifference::find("soon", at(0), at(0)), None);
    }
}
