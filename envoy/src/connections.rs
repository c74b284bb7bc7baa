//! How many connections the verifiers have: the limits, and what the log says near them.
//!
//! Each connection is a file descriptor, and an Envoy without descriptors accepts nothing and says
//! nothing. So the limits are derived from the descriptor limit, and Envoy itself keeps them.

use crate::admin::{Admin, Usage};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use transport::descriptors::DescriptorLimit;

/// Far above what one machine serves; it keeps memory bounded.
const MAX_CONNECTIONS: usize = 50_000;

/// The descriptors that Envoy needs for itself, and for connections to key servers.
const OWN_DESCRIPTORS: usize = 96;

/// Those of a worker without its listeners: event loop, wake-ups, timers.
const WORKER_DESCRIPTORS: usize = 8;

/// Below this there are so few connections that a handful of clients can use them up.
const FEW_CONNECTIONS: usize = 2_000;

/// How often Envoy is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long Envoy's answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The log gets no more than one line about refused connections in this time.
const QUIET: Duration = Duration::from_secs(10);

/// How many connections Envoy may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From clients, to all verifiers together.
    pub downstream: u32,
    /// To the upstream of one verifier, with HTTP/1.1.
    pub upstream: u32,
    /// To the upstream of one verifier, with HTTP/2, which gRPC requests share.
    pub upstream_grpc: u32,
}

impl Limits {
    /// What fits into the descriptors. Clients get half of them and the upstreams the other half,
    /// since a request that has a connection needs another one to go on.
    pub fn new(descriptors: DescriptorLimit, workers: usize, verifiers: usize) -> Self {
        let total = usize::try_from(descriptors.descriptors()).unwrap_or(usize::MAX);
        let listeners = verifiers.saturating_add(1);
        let own = WORKER_DESCRIPTORS
            .saturating_add(listeners)
            .saturating_mul(workers)
            .saturating_add(OWN_DESCRIPTORS);
        let half = total.saturating_sub(own.min(total / 2)) / 2;
        let share = half / verifiers.max(1);
        let grpc = share / 8;
        let bounded = |count: usize| {
            let count = count.clamp(1, MAX_CONNECTIONS);
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Self {
            downstream: bounded(half),
            upstream: bounded(share - grpc),
            upstream_grpc: bounded(grpc),
        }
    }

    /// What to tell the operator at start, where there are few.
    pub(crate) fn warning(self, descriptors: DescriptorLimit) -> Option<String> {
        ((self.downstream as usize) < FEW_CONNECTIONS).then(|| {
            format!(
                "the verifiers accept at most {} connections at once, since the process may have \
                 {} file descriptors only (hard limit of RLIMIT_NOFILE); raise it (ulimit -Hn, \
                 LimitNOFILE=)",
                self.downstream,
                descriptors.descriptors()
            )
        })
    }
}

/// Says in the log when connections run short, until it is dropped.
pub(crate) struct Watch(JoinHandle<()>);

impl Watch {
    pub(crate) fn start(admin: Admin, limits: Limits) -> Self {
        Self(tokio::spawn(async move {
            let mut report = Report::new(limits);
            loop {
                sleep(INTERVAL).await;
                // An Envoy that is ending does not answer.
                if let Ok(Ok(usage)) = timeout(ANSWER_TIMEOUT, admin.connections()).await {
                    report.update(usage, Instant::now());
                }
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What has been said.
struct Report {
    limits: Limits,
    /// Refused connections that the log knows of.
    refused: u64,
    /// When it was told of the last ones.
    refused_at: Option<Instant>,
    scarce: bool,
}

impl Report {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            refused: 0,
            refused_at: None,
            scarce: false,
        }
    }

    fn update(&mut self, usage: Usage, now: Instant) {
        let max = self.limits.downstream;
        let quiet = self.refused_at.is_some_and(|at| now - at < QUIET);
        if usage.refused > self.refused && !quiet {
            warn!(
                "{} connections refused: all {max} of the verifiers are in use; idle ones are \
                 being closed",
                usage.refused - self.refused
            );
            self.refused = usage.refused;
            self.refused_at = Some(now);
        }
        let percent = usage.open * 100 / u64::from(max);
        if percent >= u64::from(SCARCE_PERCENT) && !self.scarce {
            self.scarce = true;
            warn!(
                "{} of {max} connections of the verifiers are in use: idle ones are closed earlier",
                usage.open
            );
        } else if percent < u64::from(PLENTY_PERCENT) && self.scarce {
            self.scarce = false;
            info!(
                "{} of {max} connections of the verifiers are in use",
                usage.open
            );
        }
    }
}

/// From this share of the limit on, idle connections are closed the earlier the more there are.
pub(crate) const SCARCE_PERCENT: u32 = 70;

/// At this share, idle connections are closed within seconds.
pub(crate) const SATURATED_PERCENT: u32 = 90;

/// Below this share the log says that it is over.
const PLENTY_PERCENT: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(descriptors: u64, workers: usize, verifiers: usize) -> Limits {
        Limits::new(
            DescriptorLimit::from_number(descriptors),
            workers,
            verifiers,
        )
    }

    #[test]
    fn connections_fit_into_the_descriptors() {
        for descriptors in [64, 100, 1_024, 4_096, 20_000, 1 << 20, u64::MAX] {
            for (workers, verifiers) in [(1, 1), (2, 3), (64, 10)] {
                let limits = limits(descriptors, workers, verifiers);
                let upstream = u64::from(limits.upstream) + u64::from(limits.upstream_grpc);
                let all = u64::from(limits.downstream) + upstream * verifiers as u64;
                let least = 1 + 2 * verifiers as u64;
                assert!(all <= descriptors.max(least), "{descriptors}: {limits:?}");
                assert!(limits.downstream as usize <= MAX_CONNECTIONS, "{limits:?}");
            }
        }
        let (few, many) = (limits(1_024, 2, 1), limits(1 << 20, 2, 4));
        assert_eq!(
            (few.downstream, few.upstream, few.upstream_grpc),
            (454, 398, 56)
        );
        assert_eq!((many.downstream, many.upstream), (50_000, 50_000));
    }

    #[test]
    fn few_connections_are_warned_of() {
        let descriptors = DescriptorLimit::from_number(1_024);
        let warning = limits(1_024, 2, 1).warning(descriptors).unwrap();
        assert!(warning.contains("at most 454 connections"), "{warning}");
        assert_eq!(limits(10_000, 2, 1).warning(descriptors), None);
    }
}
