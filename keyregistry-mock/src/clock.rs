//! The one place that reads the clock.

use jwt_core::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock a registry goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// Ahead of the system's: to see what clients make of a registry whose clock is wrong.
    Ahead(Duration),
    /// Behind the system's.
    Behind(Duration),
}

impl Clock {
    /// What it shows.
    pub fn now(self) -> Timestamp {
        Timestamp::from_unix(self.since_epoch())
    }

    /// What it shows, as the system's type.
    pub fn system_time(self) -> SystemTime {
        let time = UNIX_EPOCH.checked_add(self.since_epoch());
        time.unwrap_or(UNIX_EPOCH)
    }

    /// A clock before 1970 is taken for 1970.
    fn since_epoch(self) -> Duration {
        let system = SystemTime::now().duration_since(UNIX_EPOCH);
        let system = system.unwrap_or_default();
        match self {
            Self::System => system,
            Self::Ahead(by) => system.saturating_add(by),
            Self::Behind(by) => system.saturating_sub(by),
        }
    }
}
