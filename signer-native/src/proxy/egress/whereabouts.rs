//! The addresses of a key registry.

use super::resolver::{Resolver, is_local};
use crate::policy::{Destination, RegistryOrigin, have_a_form_in_common};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How old the answer of the resolver may be.
const FRESH: Duration = Duration::from_secs(5);

/// How long an address stays that the resolver no longer gives: it often gives a part of many.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Addresses that are remembered at a time.
const MOST: usize = 256;

/// How long the resolver may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A registry, and where its name leads to.
#[derive(Debug)]
pub(super) struct Whereabouts {
    origin: RegistryOrigin,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    asked: Option<Instant>,
    addresses: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    destination: Destination,
    seen: Instant,
}

impl Whereabouts {
    pub(super) fn new(origin: RegistryOrigin) -> Self {
        Self {
            origin,
            known: Mutex::default(),
        }
    }

    pub(super) fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// Whether the registry is at that address and port. All addresses of this machine are one
    /// place: most servers listen on all of them.
    ///
    /// While the name of the registry cannot be looked up, the addresses that it had hold on. If
    /// it never could be, only its name is known: to refuse every request to its port until it can
    /// would turn a failure of the resolver into one of every service behind this signer.
    pub(super) async fn is_at(
        &self,
        destination: Destination,
        port: u16,
        resolver: &Resolver,
    ) -> bool {
        if !self.origin.has_port(port) {
            return false;
        }
        let mut known = self.known.lock().await;
        if known.asked.is_none_or(|asked| asked.elapsed() >= FRESH) {
            self.refresh(&mut known, resolver).await;
        }
        known.addresses.iter().any(|it| {
            let registry = it.destination;
            registry.is_local && destination.is_local
                || have_a_form_in_common(registry.address, destination.address)
        })
    }

    async fn refresh(&self, known: &mut Known, resolver: &Resolver) {
        let looking_up = resolver.look_up(self.origin.lookup_name(), self.origin.port);
        let found = timeout(PATIENCE, looking_up).await;
        let now = Instant::now();
        known.asked = Some(now);
        let found = match found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(found) => found,
            Err(error) => {
                let registry = self.origin();
                let known = known.addresses.len();
                warn!(registry, known, %error, "the name of the key registry cannot be looked up");
                return;
            }
        };
        known
            .addresses
            .retain(|it| now.duration_since(it.seen) < REMEMBERED);
        for address in found {
            let ip: IpAddr = address.ip().to_canonical();
            known.addresses.retain(|it| it.destination.address != ip);
            known.addresses.insert(
                0,
                Seen {
                    destination: Destination {
                        address: ip,
                        is_local: is_local(address),
                    },
                    seen: now,
                },
            );
        }
        known.addresses.truncate(MOST);
    }
}
