//! The registry on HTTP.

mod admin;
mod base_path;
mod body;
mod client;
mod connections;
mod metrics;
mod recording;
mod routes;
mod tls;
mod write_deadline;
mod writes;

pub use admin::{AdminServer, AdminToken};
pub use base_path::BasePath;
pub use recording::RecordedRequest;
pub use tls::{TlsError, TlsIdentity};

use crate::clock::Clock;
use crate::error::Error;
use crate::publication::{Approval, Bounds, Rules};
use crate::store::Registry;
use connections::Listening;
use jwt_core::registry_token::Accepted;
use recording::RequestLog;
use std::net::SocketAddr;
use std::time::Duration;

/// How a registry is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a key may be cached by those who fetch it, unless it expires before.
    pub max_age: Duration,
    /// The path below which the registry is served.
    pub base_path: BasePath,
    /// Whether requests are kept for [`Server::requests`]. They take memory for as long as the
    /// server runs: for tests only.
    pub record_requests: bool,
    /// The registry's own address, which the tokens on requests must name as their `aud`. By
    /// default the address it listens on.
    pub audience: Option<String>,
    /// Whether new keys need somebody to vouch for them.
    pub approval: Approval,
    /// How long a key is served on after a rotation has replaced it.
    pub grace: Duration,
    /// How long a new key awaits approval.
    pub pending_life: Duration,
    /// How many keys there may be.
    pub bounds: Bounds,
    /// Over how many proxies of ours requests come, which append the address of their client to
    /// `X-Forwarded-For`.
    pub trusted_hops: usize,
    /// Whether the tokens of older signers are taken, which do not bind the request.
    pub accept_legacy_tokens: bool,
    /// How far the clock of whoever publishes may be ahead.
    pub max_skew: Duration,
    /// The longest lifetime of a token on a request.
    pub max_ttl: Duration,
    /// How many connections are open at a time. Beyond it, the client that has been silent for
    /// longest is disconnected.
    pub max_connections: usize,
    /// With it, HTTPS is spoken.
    pub tls: Option<TlsIdentity>,
    /// The clock it goes by.
    pub clock: Clock,
}

impl Default for Options {
    /// Ten minutes, at the root, requests recorded, the defaults of [`Rules::new`].
    fn default() -> Self {
        let rules = Rules::new("");
        Self {
            max_age: Duration::from_secs(600),
            base_path: BasePath::default(),
            record_requests: true,
            audience: None,
            approval: rules.approval,
            grace: rules.grace,
            pending_life: rules.pending_life,
            bounds: rules.bounds,
            trusted_hops: 0,
            accept_legacy_tokens: false,
            max_skew: rules.policy.max_skew,
            max_ttl: rules.policy.max_ttl,
            max_connections: 1_000,
            tls: None,
            clock: Clock::default(),
        }
    }
}

impl Options {
    fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    fn rules(&self, local_addr: SocketAddr) -> Rules {
        let own_address = || format!("{}://{local_addr}", self.scheme());
        let mut rules = Rules::new(self.audience.clone().unwrap_or_else(own_address));
        rules.policy.max_skew = self.max_skew;
        rules.policy.max_ttl = self.max_ttl;
        rules.approval = self.approval;
        rules.grace = self.grace;
        rules.pending_life = self.pending_life;
        rules.bounds = self.bounds;
        if self.accept_legacy_tokens {
            rules.accepted = Accepted::BoundOrLegacy;
        }
        rules
    }
}

/// A running registry. It stops when dropped, or, to wait for it, with [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    url: String,
    requests: RequestLog,
    listening: Listening,
}

impl Server {
    /// Serves the registry on an address; on port 0 the operating system chooses the port.
    ///
    /// When this returns, connections are accepted.
    pub async fn start(
        address: SocketAddr,
        registry: Registry,
        options: Options,
    ) -> Result<Self, Error> {
        let bound = connections::bind(address).await?;
        let local_addr = bound.address();
        let requests = RequestLog::new(options.record_requests);
        let rules = options.rules(local_addr);
        let router = routes::router(registry, rules, &options, requests.clone());
        let url = format!(
            "{}://{local_addr}{}/",
            options.scheme(),
            options.base_path.prefix()
        );
        Ok(Self {
            url,
            requests,
            listening: bound.serve(router, options.tls, options.max_connections),
        })
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.address()
    }

    /// The base URL clients are given, ending in a slash.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The requests answered so far, in the order of their answers. A request is listed before
    /// its answer is sent.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.all()
    }

    /// How many times this key was asked for with GET, whatever the answer was.
    pub fn key_requests(&self, service: &str, kid: &str) -> usize {
        self.requests.key_requests(service, kid)
    }

    /// Stops listening, lets running requests finish and returns when they have, or after five
    /// seconds at the latest.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}
