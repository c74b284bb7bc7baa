//! The signing forward proxy (RFC 9110 §3.7): takes requests in absolute-form and those inside a
//! CONNECT, puts a token on each and passes it on.
//!
//! Bodies are streamed both ways as they come, trailers included, and connections are kept and
//! reused on both sides, over HTTP/1.1 and HTTP/2, each side its own. A client that goes away takes
//! its upstream request with it.

mod egress;
mod error;
mod forward;
mod hop_by_hop;
mod lifetime;
mod listener;
mod log;
mod prefixed;
mod request_body;
mod server;
mod target;
mod tunnel;
mod upgrade;

pub use egress::{Egress, ParentProxy, ParentProxyError, Trust, TrustError, certificates};
pub use listener::Listener;

use crate::interception::Interceptor;
use crate::policy::Policy;
use crate::signing::RequestSigner;
use forward::Forwarder;
use lifetime::Lifetime;
use server::{Server, Speaks};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use target::Scope;
use tracing::info;

/// How patient the proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection to an upstream may take.
    pub connect_timeout: Duration,
    /// How long a connection to an upstream is kept for the next request.
    pub pool_idle_timeout: Duration,
    /// How long a client may take to send the header section of a request, counted from the end
    /// of the one before: so long an idle connection is kept.
    pub header_read_timeout: Duration,
    /// How long requests in flight may take once the shutdown began.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(60),
            header_read_timeout: Duration::from_secs(90),
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
        // No request comes back to a unix socket.
        let own = address.parse().ok();
        Server {
            forwarder: Forwarder::new(signer, &parts.egress, &settings, own),
            interceptor: parts.interceptor,
            policy: Arc::new(parts.policy),
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
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            stream = listener::next_connection(&listener) => {
                let connection = Arc::clone(&server).serve(stream, Scope::Proxy, Speaks::Http1);
                server.lifetime.spawn(connection);
            }
        }
    }
}
