//! The signing forward proxy (RFC 9110 §3.7): takes absolute-form `http://` requests, puts a token
//! on each and passes it on.
//!
//! Bodies are streamed both ways as they come, trailers included, and connections are kept and
//! reused on both sides. A client that goes away takes its upstream request with it.

mod connections;
mod error;
mod forward;
mod hop_by_hop;
mod listener;
mod target;

pub use listener::Listener;

use crate::signing::RequestSigner;
use connections::Connections;
use forward::Forwarder;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
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

/// The forward proxy, ready to be served.
#[derive(Debug)]
pub struct Proxy {
    forwarder: Forwarder,
    settings: Settings,
}

impl Proxy {
    /// A proxy that signs with `signer`.
    pub fn new(signer: Arc<RequestSigner>, settings: Settings) -> Self {
        Self {
            forwarder: Forwarder::new(signer, &settings),
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
        let connections = Connections::new(self.forwarder, &self.settings);
        let connections = accept_until(shutdown, listener, connections).await;
        info!(address, "signer proxy is shutting down");
        connections.finish(self.settings.shutdown_timeout).await;
        info!(address, "signer proxy stopped");
    }
}

/// Closes the listener when it returns: later clients are refused, not left waiting.
async fn accept_until(
    shutdown: impl Future<Output = ()> + Send,
    listener: impl Listener,
    mut connections: Connections,
) -> Connections {
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return connections,
            stream = listener::next_connection(&listener) => connections.serve(stream),
            () = connections.any_ended() => {}
        }
    }
}
