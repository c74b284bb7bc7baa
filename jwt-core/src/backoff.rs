//! Pauses that grow, and differ from process to process so that many do not come at once.

use std::time::Duration;

/// Pauses from a first one to a longest one, each twice the one before.
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
}

/// After failures.
pub(super) const RETRYING: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: LONGEST,
};

/// While somebody has to approve a key.
pub(super) const POLLING: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(10),
};

/// No pause is longer.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

impl Backoff {
    /// The pause after the `count`th time. `chance` takes up to half of it off.
    pub(super) fn pause(&self, count: u32, chance: u16) -> Duration {
        let doublings = count.saturating_sub(1).min(16);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full - full / 2 * u32::from(chance) / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let millis = |count, chance| RETRYING.pause(count, chance).as_millis();
        assert_eq!([0, 1, 2, 3].map(|n| millis(n, 0)), [500, 500, 1000, 2000]);
        assert_eq!([8, 100, u32::MAX].map(|n| millis(n, 0)), [60_000; 3]);
        assert_eq!((millis(1, u16::MAX), millis(1, 0x8000)), (250, 374));
    }
}
