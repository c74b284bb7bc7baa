//! Pauses that grow, and times that differ from process to process, so that many do not come at
//! once.

use std::time::Duration;

/// Pauses from a first one to a longest one, each twice the one before.
pub(crate) struct Backoff {
    /// The first.
    pub(crate) first: Duration,
    /// None is longer.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The pause after the `count`th time. `chance` takes up to half of it off.
    pub(crate) fn pause(&self, count: u32, chance: u16) -> Duration {
        let doublings = count.saturating_sub(1).min(16);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full - full / 2 * u32::from(chance) / u32::from(u16::MAX)
    }
}

/// Less up to this part of itself, by chance: with `part` 10, up to a tenth.
pub(crate) fn shortened(full: Duration, part: u32, chance: u16) -> Duration {
    full - full / part / u32::from(u16::MAX) * u32::from(chance)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let pauses = Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        };
        let millis = |count, chance| pauses.pause(count, chance).as_millis();
        assert_eq!([0, 1, 2, 3].map(|n| millis(n, 0)), [500, 500, 1000, 2000]);
        assert_eq!([8, 100, u32::MAX].map(|n| millis(n, 0)), [60_000; 3]);
        assert_eq!((millis(1, u16::MAX), millis(1, 0x8000)), (250, 374));
    }

    #[test]
    fn chance_takes_a_part_off_of_any_time() {
        let hour = Duration::from_secs(3600);
        let seconds = |chance| shortened(hour, 10, chance).as_secs_f64().round();
        assert_eq!([0, 0x8000, u16::MAX].map(seconds), [3600.0, 3420.0, 3240.0]);
        assert_eq!(shortened(Duration::ZERO, 10, u16::MAX), Duration::ZERO);
        assert!(shortened(Duration::MAX, 10, u16::MAX) < Duration::MAX);
    }
}
