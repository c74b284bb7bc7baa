//! The registry on HTTP.

mod base_path;
mod recording;
mod routes;

pub use base_path::BasePath;
pub use recording::RecordedRequest;

use crate::error::Error;
use crate::store::Registry;
use recording::RequestLog;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
}

impl Default for Options {
    /// Ten minutes, at the root, requests recorded.
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(600),
            base_path: BasePath::default(),
            record_requests: true,
        }
    }
}

/// A running registry. It stops when dropped, or, to wait for it, with [`Server::shutdown`].
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    base_path: BasePath,
    requests: RequestLog,
    // Dropping it is what stops the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
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
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;

        let requests = RequestLog::new(options.record_requests);
        let base_path = options.base_path.clone();
        let router = routes::router(registry, &options, requests.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            // Nothing is ever sent: the sender is dropped.
            let _ = stopped.await;
        });
        Ok(Self {
            local_addr,
            base_path,
            requests,
            stop,
            task: tokio::spawn(async move {
                // It fails on nothing: errors of single connections stay with them.
                let _ = serving.await;
            }),
        })
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The base URL clients are given, ending in a slash.
    pub fn url(&self) -> String {
        format!("http://{}{}/", self.local_addr, self.base_path.prefix())
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
        drop(self.stop);
        if tokio::time::timeout(GRACE, self.task).await.is_err() {
            tracing::warn!("stopped with requests still running");
        }
    }
}

/// Requests are answered from memory: whoever takes longer is not reading, or not writing.
const GRACE: Duration = Duration::from_secs(5);
