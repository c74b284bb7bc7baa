//! Requests at the registry, counted by the second.

use super::plan::seconds_of;
use jwt_core::time::Timestamp;
use std::fmt;
use std::ops::Range;

/// The methods of the registry's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A key is asked for.
    Get,
    /// A key is published.
    Put,
    /// A key is revoked.
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// Requests a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// On average.
    pub mean: f64,
    /// In the busiest second.
    pub peak: f64,
}

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// For each second since the beginning, by method.
    seconds: Vec<[u32; 3]>,
    /// Requests at verifiers, with tokens of services.
    pub(super) requests: u64,
    /// Those for which no key was to be had.
    pub(super) refused: u64,
}

impl Tally {
    pub(super) fn count(&mut self, method: Method, time: Timestamp) {
        let second = seconds_of(time) as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, [0; 3]);
        }
        let counts = self.seconds.get_mut(second);
        if let Some(count) = counts.and_then(|counts| counts.get_mut(method as usize)) {
            *count += 1;
        }
    }

    /// The load in these seconds.
    pub(super) fn load(&self, method: Method, seconds: &Range<usize>) -> Load {
        let count_of = |second: usize| -> u32 {
            let counts = self.seconds.get(second);
            let count = counts.and_then(|counts: &[u32; 3]| counts.get(method as usize));
            count.copied().unwrap_or_default()
        };
        let total: u64 = seconds.clone().map(|it| u64::from(count_of(it))).sum();
        Load {
            mean: total as f64 / seconds.len().max(1) as f64,
            peak: seconds.clone().map(count_of).max().unwrap_or(0).into(),
        }
    }
}
