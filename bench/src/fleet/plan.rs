//! What is simulated: a fleet, its registry, and what befalls them.

use jwt_core::time::Timestamp;
use std::ops::Range;
use std::time::Duration;

/// A fleet of proxies. Each is one service: it signs with a key of its own, and verifies the
/// tokens of its callers.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many proxies there are.
    pub proxies: usize,
    /// How many services call each proxy.
    pub callers: usize,
    /// The mean time from one request of a caller to its next one at the same proxy.
    pub request_gap: Duration,
    /// Worker threads of each verifier.
    pub workers: usize,
    /// `cache.duration` of the verifiers.
    pub cache_duration: Duration,
    /// `cache.stale_if_error` of the verifiers.
    pub stale_if_error: Duration,
    /// `--max-age` of the registry.
    pub max_age: Duration,
    /// `rotate_every` of the signers.
    pub rotate_every: Duration,
    /// How long the registry takes for an answer.
    pub latency: Duration,
}

impl Fleet {
    /// So many proxies with the defaults of all settings, each called by twenty services, each
    /// of them every ten seconds.
    pub fn of(proxies: usize) -> Self {
        Self {
            proxies,
            callers: 20,
            request_gap: Duration::from_secs(10),
            workers: 1,
            cache_duration: Duration::from_secs(600),
            stale_if_error: Duration::from_secs(600),
            max_age: Duration::from_secs(600),
            rotate_every: Duration::from_secs(12 * 3600),
            latency: Duration::from_millis(5),
        }
    }

    /// Keys that verifiers keep, all verifiers taken together.
    pub(super) fn kept_keys(&self) -> f64 {
        (self.proxies * self.callers) as f64
    }

    /// How long a verifier may use a key without asking again, in seconds.
    pub(super) fn lifetime(&self) -> f64 {
        self.cache_duration.min(self.max_age).as_secs_f64()
    }
}

/// What befalls a fleet. Times are seconds since the simulation began.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) fleet: Fleet,
    /// The proxies start at random within this many seconds.
    pub(super) start_within: f64,
    pub(super) keys: StoredKeys,
    /// Whether the services sign from the beginning on, with stored keys, and not only when their
    /// proxies start.
    pub(super) signs_already: bool,
    pub(super) approval: Approval,
    /// When the registry refuses every connection.
    pub(super) down: Range<f64>,
    pub(super) stranger: Option<Stranger>,
    /// When it ends.
    pub(super) end: f64,
    /// Whether the signers are stopped in the last seconds, as many as `start_within` says.
    pub(super) stops: bool,
}

/// The keys on the disks of the signers.
#[derive(Clone, Debug)]
pub(super) enum StoredKeys {
    /// There are none: everybody starts for the first time.
    None,
    /// Published so many seconds before the simulation began, at random in this range.
    Published(Range<f64>),
}

/// What the registry does with first keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    Automatic,
    Never,
}

/// Somebody who sends every proxy tokens with key ids that he invents.
#[derive(Clone, Debug)]
pub(super) struct Stranger {
    /// When.
    pub(super) active: Range<f64>,
    /// Requests a second to each proxy.
    pub(super) per_second: f64,
}

/// When every simulation begins.
pub(super) fn beginning() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000).expect("a date of this century")
}

/// So many seconds after the beginning, or before it.
pub(super) fn at(seconds: f64) -> Timestamp {
    let distance = Duration::from_secs_f64(seconds.abs());
    if seconds < 0.0 {
        beginning() - distance
    } else {
        beginning() + distance
    }
}

/// Seconds since the beginning.
pub(super) fn seconds_of(time: Timestamp) -> f64 {
    time.since(beginning()).as_secs_f64()
}
