//! What the rules of caches and keys make of a fleet, calculated. All rates are requests a second.

use super::plan::Fleet;
use std::f64::consts::PI;

/// How much of its lifetime a key is used, on average, before a request fetches it again: between
/// three quarters and nine tenths ([`jwt_core::key_cache`]).
const USED: f64 = 0.825;

/// How far apart the refreshes of keys are that were fetched together, in lifetimes.
const REFRESH_SPREAD: f64 = 0.15;

/// How much of `rotate_every` the rotations of keys are apart that were published together
/// ([`jwt_core::key_lifecycle`]).
pub(super) const ROTATION_SPREAD: f64 = 0.1;

/// Fetches of unknown keys that a worker has at first, and then each second, and what one source
/// leaves of them for the others: so many, and so much more for each one that it has taken
/// ([`jwt_core::fetch_budget`]).
const UNKNOWN_BURST: f64 = 50.0;
const UNKNOWN_PER_SECOND: f64 = 5.0;
const LEFT_TO_OTHERS: f64 = 4.0;
const LEFT_FOR_EACH: f64 = 0.5 + 0.125;
/// In seconds: what was taken so long ago counts half.
const UNKNOWN_HALF_LIFE: f64 = 10.0;

/// Pauses that double, each shorter by a quarter on average: the first and the longest, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Pauses(f64, f64);

/// Of a verifier that has a key and cannot refresh it.
const REFRESHING: Pauses = Pauses(1.0, 60.0);

/// Of a signer that cannot ask for its key.
const RETRYING: Pauses = Pauses(0.5, 60.0);

/// Of a signer whose key awaits approval.
pub(super) const POLLING: Pauses = Pauses(0.5, 10.0);

impl Pauses {
    /// The longest one, on average.
    pub(super) fn at_last(self) -> f64 {
        0.75 * self.1
    }

    /// How often something has been tried `seconds` after the first time, where each try comes
    /// `delay` after the pause.
    fn tries(self, seconds: f64, delay: f64) -> f64 {
        if seconds < 0.0 {
            return 0.0;
        }
        let (mut tries, mut pause, mut left) = (1.0, self.0, seconds);
        loop {
            let step = 0.75 * pause + delay;
            if left < step {
                return tries;
            }
            (tries, left) = (tries + 1.0, left - step);
            pause = (2.0 * pause).min(self.1);
        }
    }
}

/// Seconds from one fetch of a key by a verifier to the next: the first request after the time of
/// the refresh asks for it.
pub(super) fn fetch_period(fleet: &Fleet) -> f64 {
    USED * fleet.lifetime() + gap(fleet)
}

/// GET by signers, each for its own key: every 240 to 300 seconds, each at a pace of its own.
fn rechecks(fleet: &Fleet) -> f64 {
    proxies(fleet) * (300.0_f64 / 240.0).ln() / 60.0
}

/// GET while nothing happens: verifiers refresh the keys they keep, signers ask for their own.
pub(super) fn steady_get(fleet: &Fleet) -> f64 {
    fleet.kept_keys() / fetch_period(fleet) + rechecks(fleet)
}

/// PUT while nothing happens: each signer rotates at a pace of its own.
pub(super) fn steady_put(fleet: &Fleet) -> f64 {
    let pace = -(1.0 - ROTATION_SPREAD).ln() / ROTATION_SPREAD;
    proxies(fleet) * pace / fleet.rotate_every.as_secs_f64()
}

/// The busiest of so many seconds, where requests come independently of each other.
pub(super) fn busiest(mean: f64, seconds: f64) -> f64 {
    mean + (2.0 * seconds.ln() * mean).sqrt()
}

/// GET in the busiest second when all proxies start within `window` seconds, which is the last of
/// them: every verifier fetches each key at its first use, after both it and the caller have
/// started; every signer asks for its own.
pub(super) fn deployment_get(fleet: &Fleet, window: f64) -> f64 {
    let (time, gap) = (window - 0.5, gap(fleet));
    let first_uses = 2.0 * (time - gap * (1.0 - (-time / gap).exp())) / (window * window);
    fleet.kept_keys() * first_uses + proxies(fleet) / window
}

/// GET in the busiest second of the `round`th refresh of keys that all were fetched within
/// `window` seconds: a box at first, a bell curve later.
pub(super) fn refresh_wave(fleet: &Fleet, window: f64, round: f64) -> f64 {
    let spread = REFRESH_SPREAD * fleet.lifetime();
    let variance = (round * spread * spread + window * window) / 12.0
        + (round + 1.0) * gap(fleet) * gap(fleet);
    let wave = fleet.kept_keys() * (1.0 / spread).min(1.0 / (2.0 * PI * variance).sqrt());
    busiest(wave + rechecks(fleet), spread)
}

/// GET by signers in the busiest second when all of them have published a first key within
/// `window` seconds, and it awaits approval: that many polls each has made by then.
pub(super) fn first_polls(fleet: &Fleet, window: f64) -> f64 {
    // The first poll comes a pause after the publication.
    let polls = POLLING.tries(window, latency(fleet)) - 1.0;
    busiest(proxies(fleet) / window * polls, window)
}

/// GET by signers while their keys await approval.
pub(super) fn polls(fleet: &Fleet) -> f64 {
    proxies(fleet) / (POLLING.at_last() + latency(fleet))
}

/// GET while keys are rotated that were published together: the new key is one fetch more for
/// each verifier, and half a period of the old one is saved; the signer looks at it once.
pub(super) fn rotation_get(fleet: &Fleet) -> f64 {
    let wave = ROTATION_SPREAD * fleet.rotate_every.as_secs_f64();
    steady_get(fleet) + (fleet.kept_keys() / 2.0 + proxies(fleet)) / wave
}

/// PUT while keys are rotated that were published together.
pub(super) fn rotation_put(fleet: &Fleet) -> f64 {
    proxies(fleet) / (ROTATION_SPREAD * fleet.rotate_every.as_secs_f64())
}

/// GET `seconds` after the registry went down: each key enters its retries when its refresh is
/// due, which for all of them is within one period.
pub(super) fn outage_get(fleet: &Fleet, seconds: f64) -> f64 {
    let entered = |period: f64, pauses: Pauses, delay: f64| {
        let tries = pauses.tries(seconds, delay) - pauses.tries(seconds - period, delay);
        tries / period
    };
    fleet.kept_keys() * entered(fetch_period(fleet), REFRESHING, gap(fleet))
        + proxies(fleet) * entered(proxies(fleet) / rechecks(fleet), RETRYING, latency(fleet))
}

/// GET in the first second of a stranger who sends more invented key ids than are fetched.
pub(super) fn invented_burst(fleet: &Fleet) -> f64 {
    steady_get(fleet) + workers(fleet) * taken_at_first()
}

/// GET in each second after that: the source takes what is new, as far as what it took at first is
/// forgotten.
pub(super) fn invented(fleet: &Fleet) -> f64 {
    let forgotten = taken_at_first() * std::f64::consts::LN_2 / UNKNOWN_HALF_LIFE;
    let taken = (UNKNOWN_PER_SECOND + LEFT_FOR_EACH * forgotten) / (1.0 + LEFT_FOR_EACH);
    steady_get(fleet) + workers(fleet) * taken
}

fn taken_at_first() -> f64 {
    let after_the_first = UNKNOWN_BURST + UNKNOWN_PER_SECOND - LEFT_TO_OTHERS - 1.0;
    1.0 + after_the_first / (1.0 + LEFT_FOR_EACH)
}

fn proxies(fleet: &Fleet) -> f64 {
    fleet.proxies as f64
}

fn workers(fleet: &Fleet) -> f64 {
    (fleet.proxies * fleet.workers) as f64
}

fn gap(fleet: &Fleet) -> f64 {
    fleet.request_gap.as_secs_f64()
}

fn latency(fleet: &Fleet) -> f64 {
    fleet.latency.as_secs_f64()
}
