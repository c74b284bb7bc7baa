//! The signing forward proxy (RFC 9110 §3.7): takes requests in absolute-form and those inside a
//! CONNECT, puts a token on each and passes it on.
//!
//! Bodies are streamed both ways as they come, trailers included, and connections are kept and
//! reused on both sides, over HTTP/1.1 and HTTP/2, each side its own. A client that goes away takes
//! its upstream request with it.

mod connection;
mod credentials;
mod egress;
mod error;
mod forward;
mod framing;
mod hop_by_hop;
mod idle;
mod lifetime;
mod listener;
mod log;
mod prefixed;
mod relay;
mod repeat;
mod request_body;
mod server;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod tunnel;
mod upgrade;

pub use credentials::Credentials;
pub use egress::{Egress, ParentProxy, ParentProxyError, Trust, TrustError, certificates};
pub use listener::Listener;
pub(crate) use listener::next_connection;

use crate::admin::Metrics;
use crate::interception::Interceptor;
use crate::policy::Policy;
use crate::signing::RequestSigner;
use connection::Speaks;
use egress::{OwnAddresses, Reach, Upstreams};
use forward::Forwarder;
use idle::IdleTimeout;
use lifetime::Lifetime;
use server::Server;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use target::Scope;
use tracing::info;
use transport::connections::{Connections, Limits};

/// How patient the proxy is, and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection to an upstream may take.
    pub connect_timeout: Duration,
    /// How long a connection to an upstream is kept for the next request.
    pub pool_idle_timeout: Duration,
    /// How long a client may take to send the header section of a request, counted from the end
    /// of the one before: so long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long a connection is kept on which no byte passes, in a tunnel as well.
    pub idle_timeout: Duration,
    /// How many connections are served at a time; more wait for their turn.
    pub max_connections: usize,
    /// How many connections to servers there are at a time; what is asked of more gets 503.
    pub max_upstream_connections: usize,
    /// How many bytes the header section of a request may have.
    pub max_header_size: usize,
    /// How long requests in flight may take once the shutdown began.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(60),
            header_read_timeout: Duration::from_secs(90),
            idle_timeout: Duration::from_secs(3600),
            max_connections: 10_000,
            max_upstream_connections: 40_000,
            max_header_size: 64 << 10,
            shutdown_timeout: Duration::from_secs(60),
        }
    }
}

/// What the proxy does beyond signing plain HTTP.
#[derive(Debug)]
pub struct Parts {
    /// Stands in for `https` servers; without it CONNECT is refused.
    pub interceptor: Option<Interceptor>,
    /// How servers are reached.
    pub egress: Egress,
    /// What becomes of which requests.
    pub policy: Policy,
    /// Who may use the proxy, if not everyone who reaches it.
    pub credentials: Option<Credentials>,
    /// Where operators are told how it is; no request leads there that no rule names.
    pub admin: Option<SocketAddr>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Default for Parts {
    /// Everything is signed, no CONNECT is taken, and no certificate believed.
    fn default() -> Self {
        Self {
            interceptor: None,
            egress: Egress {
                trust: Trust::nobody(),
                parent: None,
            },
            policy: Policy::default(),
            credentials: None,
            admin: None,
            metrics: Arc::default(),
        }
    }
}

/// The forward proxy, ready to be served.
#[derive(Debug)]
pub struct Proxy {
    signer: Arc<RequestSigner>,
    parts: Parts,
    settings: Settings,
}

impl Proxy {
    /// A proxy that signs with `signer`.
    pub fn new(signer: Arc<RequestSigner>, parts: Parts, settings: Settings) -> Self {
        Self {
            signer,
            parts,
            settings,
        }
    }

    /// Serves `listener` until `shutdown` is ready; then accepts no more, lets the requests in
    /// flight finish for at most `shutdown_timeout`, and ends what is left.
    ///
    /// Dropping the future ends everything at once.
    pub async fn serve(self, listener: impl Listener, shutdown: impl Future<Output = ()> + Send) {
        let address = listener.address();
        info!(address, "signer proxy started");
        let lifetime = Lifetime::default();
        let _end = lifetime.ends_with();
        let patience = self.settings.shutdown_timeout;
        let server = Arc::new(self.into_server(&address, lifetime.clone()));
        accept_until(shutdown, listener, server).await;
        info!(address, "signer proxy is shutting down");
        lifetime.finish(patience).await;
        info!(address, "signer proxy stopped");
    }

    fn into_server(self, address: &str, lifetime: Lifetime) -> Server {
        let Self {
            signer,
            parts,
            settings,
        } = self;
        let own = OwnAddresses {
            // No request comes back to a unix socket.
            proxy: address.parse().ok(),
            admin: parts.admin,
        };
        let reach = Reach::new(parts.policy, own, parts.egress.parent.is_some());
        if let Some(interceptor) = &parts.interceptor {
            parts.metrics.show_cache(interceptor.counters());
        }
        let upstreams = Upstreams::new(&parts.egress, &settings, Arc::new(reach), &parts.metrics);
        Server {
            forwarder: Forwarder::new(
                signer,
                upstreams,
                &parts.egress,
                settings.idle_timeout,
                Arc::clone(&parts.metrics),
            ),
            metrics: parts.metrics,
            interceptor: parts.interceptor,
            credentials: parts.credentials,
            settings,
            lifetime,
        }
    }
}

/// Closes the listener when it returns: later clients are refused, not left waiting.
async fn accept_until(
    shutdown: impl Future<Output = ()> + Send,
    listener: impl Listener,
    server: Arc<Server>,
) {
    let mut shutdown = pin!(shutdown);
    let connections = Connections::new(limits(server.settings.max_connections));
    loop {
        // While one waits for room, others wait in the system's queue.
        let (stream, admitted) = tokio::select! {
            () = &mut shutdown => return,
            next = listener::next_connection(&listener, &connections) => next,
        };
        let held = (Arc::clone(&admitted), server.metrics.client_connection());
        let stream = IdleTimeout::new(stream, server.settings.idle_timeout).holding(held);
        let serving = connection::serve(
            Arc::clone(&server),
            stream,
            Scope::Proxy,
            Speaks::Http1,
            admitted,
        );
        server.lifetime.spawn(serving);
    }
}

/// Of all connections, a quarter may be one source's that has sent no request on them. Applications
/// open many at a time, and TLS takes a while.
fn limits(connections: usize) -> Limits {
    Limits {
        connections,
        silent_per_source: (connections / 4).max(32).min(connections),
    }
}
