//! A token bucket, of the other kind of token.

use crate::time::Timestamp;

/// Lets so many through at once, and then so many a second.
#[derive(Clone, Debug)]
pub struct RateLimit {
    burst: f64,
    per_second: f64,
    available: f64,
    updated: Option<Timestamp>,
}

impl RateLimit {
    /// `burst` at once, `per_second` from then on.
    pub fn new(burst: u32, per_second: u32) -> Self {
        let burst = f64::from(burst);
        Self {
            burst,
            per_second: f64::from(per_second),
            available: burst,
            updated: None,
        }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let passed = self
            .updated
            .map_or(0.0, |updated| now.since(updated).as_secs_f64());
        self.available = (self.available + passed * self.per_second).min(self.burst);
        self.updated = Some(now);
        let granted = self.available >= 1.0;
        if granted {
            self.available -= 1.0;
        }
        granted
    }

    /// Gives one back that was taken without need.
    pub fn give_back(&mut self) {
        self.available = (self.available + 1.0).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_burst_and_then_a_rate() {
        let start = Timestamp::from_seconds(0).unwrap();
        let mut limit = RateLimit::new(3, 2);
        let granted = |limit: &mut RateLimit, millis| {
            let now = start + Duration::from_millis(millis);
            (0..10).filter(|_| limit.take(now)).count()
        };
        assert_eq!(granted(&mut limit, 0), 3);
        assert_eq!(granted(&mut limit, 400), 0);
        assert_eq!(granted(&mut limit, 1000), 2);
        limit.give_back();
        assert_eq!(granted(&mut limit, 1000), 1);
        assert_eq!(granted(&mut limit, 100_000), 3);
    }
}
