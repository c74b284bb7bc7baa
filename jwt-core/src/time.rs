//! Points in time as tokens know them.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, leap seconds ignored
/// (RFC 7519 §2, NumericDate, which may be fractional).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

/// The last second of the year 9999, the end of RFC 3339 dates. NumericDates beyond it on either
/// side are refused: they are mistakes, and keeping them out makes all arithmetic here safe.
const MAX_SECONDS: i64 = 253_402_300_799;

/// How far the clock may go back without notice: the readings of two workers that compare notes
/// differ a little. What was written further in the future was written before the clock was set
/// back, and its times mean nothing any more.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

impl Timestamp {
    /// From whole seconds since the epoch; `None` outside ±9999 years.
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        (seconds.unsigned_abs() <= MAX_SECONDS.unsigned_abs()).then(|| Self {
            micros: seconds * 1_000_000,
        })
    }

    /// From fractional seconds since the epoch; `None` when not finite or outside ±9999 years.
    pub fn from_fractional_seconds(seconds: f64) -> Option<Self> {
        (seconds.abs() <= MAX_SECONDS as f64).then(|| Self {
            micros: (seconds * 1_000_000.0).round() as i64,
        })
    }

    /// From a duration since the epoch, as `SystemTime::duration_since(UNIX_EPOCH)` gives it.
    /// Beyond the year 9999 it stays there.
    pub fn from_unix(since_epoch: Duration) -> Self {
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Self {
            micros: micros.min(MAX_SECONDS * 1_000_000),
        }
    }

    /// From whole milliseconds since the epoch; `None` outside ±9999 years.
    pub fn from_milliseconds(milliseconds: i64) -> Option<Self> {
        let seconds = milliseconds.div_euclid(1000);
        let rest = Duration::from_millis(milliseconds.rem_euclid(1000).unsigned_abs());
        Some(Self::from_seconds(seconds)? + rest)
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub fn milliseconds(self) -> i64 {
        self.micros.div_euclid(1000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }

    /// Whole seconds since the epoch, rounded up.
    pub fn seconds_rounded_up(self) -> i64 {
        self.seconds() + i64::from(self.micros.rem_euclid(1_000_000) > 0)
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(
            self.micros
                .saturating_sub(earlier.micros)
                .try_into()
                .unwrap_or(0),
        )
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            micros: self.micros.saturating_add(saturating_micros(duration)),
        }
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self {
            micros: self.micros.saturating_sub(saturating_micros(duration)),
        }
    }
}

fn saturating_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn fractions_keep_their_microseconds() {
        let half = Timestamp::from_fractional_seconds(1.5).unwrap();
        assert_eq!(
            half,
            Timestamp::from_seconds(1).unwrap() + Duration::from_millis(500)
        );
        assert_eq!(half.seconds(), 1);
        assert_eq!(half.seconds_rounded_up(), 2);
    }

    #[test]
    fn milliseconds_are_read_again() {
        for milliseconds in [0, 1, 999, 1_700_000_000_123, -1, -1500] {
            let read = Timestamp::from_milliseconds(milliseconds).unwrap();
            assert_eq!(read.milliseconds(), milliseconds);
        }
        assert_eq!(Timestamp::from_milliseconds(i64::MIN), None);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e18, -1e18] {
            assert_eq!(
                Timestamp::from_fractional_seconds(seconds),
                None,
                "{seconds}"
            );
        }
        assert_eq!(Timestamp::from_seconds(i64::MIN), None);
    }

    #[test]
    fn arithmetic_saturates() {
        let late = Timestamp::from_unix(Duration::MAX);
        assert!(late + Duration::MAX > late);
        assert_eq!(
            Timestamp::from_seconds(5).unwrap().since(late),
            Duration::ZERO
        );
    }

    #[test]
    fn the_first_and_the_last_moment_have_seconds_and_milliseconds() {
        let epoch = Timestamp::from_seconds(0).unwrap();
        let (first, last) = (
            epoch - Duration::MAX - Duration::MAX,
            epoch + Duration::MAX + Duration::MAX,
        );
        for moment in [first, last] {
            let (down, up) = (moment.seconds(), moment.seconds_rounded_up());
            assert_eq!(up, down + 1);
            assert_eq!(moment.milliseconds().div_euclid(1000), down);
        }
        assert_eq!(first.since(last), Duration::ZERO);
        let one_and_a_half = Timestamp::from_fractional_seconds(-1.5).unwrap();
        assert_eq!(one_and_a_half.seconds_rounded_up(), -1);
        assert_eq!(
            Timestamp::from_seconds(-1).unwrap().seconds_rounded_up(),
            -1
        );
    }
}
