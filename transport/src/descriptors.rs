//! File descriptors: the limit of the process, and how many connections fit into it.
//!
//! Many systems start a process with a soft limit of 1,024, for programs that call `select`, and
//! let it have far more (the hard limit).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// So many descriptors are left to what is not a connection: files, timers, the database, DNS, and
/// sockets that are being closed.
const RESERVED: u64 = 64;

/// Below this number of descriptors a process is easily brought to its limit.
const FEW: u64 = 4_096;

/// How many file descriptors the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLimit(u64);

impl DescriptorLimit {
    /// Raises the soft limit of the process to the hard one, and returns the limit in force.
    ///
    /// Processes that are started afterwards inherit it.
    pub fn raise() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if limit.current != limit.maximum {
            // Raising the soft limit needs no privilege. Should it fail, the old limit is in force.
            let _ = setrlimit(Resource::Nofile, raised);
        }
        // `None` is unlimited.
        Self(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// A limit of so many descriptors, for calculations about another process.
    pub fn from_number(descriptors: u64) -> Self {
        Self(descriptors)
    }

    /// The number.
    pub fn descriptors(self) -> u64 {
        self.0
    }

    /// How many connections fit, where each needs `per_connection` descriptors: a server's needs
    /// one, that of a proxy one more for the connection to the upstream. At most `at_most`, which
    /// bounds the memory.
    pub fn connections(self, per_connection: u64, at_most: usize) -> usize {
        let available = self.0.saturating_sub(RESERVED.min(self.0 / 2));
        let fit = available / per_connection.max(1);
        usize::try_from(fit)
            .unwrap_or(usize::MAX)
            .clamp(1, at_most.max(1))
    }

    /// What to tell the operator at start, where the limit is low.
    pub fn warning(self) -> Option<String> {
        (self.0 < FEW).then(|| {
            format!(
                "the process may have {} file descriptors only (RLIMIT_NOFILE, hard limit); a few \
                 clients can use them up: raise it to {FEW} or more (ulimit -Hn, LimitNOFILE=)",
                self.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = DescriptorLimit::raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit.descriptors(), now.maximum.unwrap_or(u64::MAX));
        assert_eq!(DescriptorLimit::raise(), limit);
    }

    #[test]
    fn connections_leave_descriptors_to_others() {
        for (descriptors, per_connection, connections) in [
            (1_024, 1, 960),
            (1_024, 2, 480),
            (100, 1, 50),
            (2, 1, 1),
            (0, 0, 1),
            (u64::MAX, 1, 10_000),
        ] {
            let limit = DescriptorLimit(descriptors);
            let fit = limit.connections(per_connection, 10_000);
            assert_eq!(fit, connections, "{descriptors}");
        }
    }

    #[test]
    fn a_low_limit_is_warned_of() {
        assert!(DescriptorLimit(4_096).warning().is_none());
        let warning = DescriptorLimit(1_024).warning().unwrap();
        assert!(warning.contains("1024"), "{warning}");
    }
}
