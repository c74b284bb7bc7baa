//! Accepting connections, with and without TLS, and ending them.

use super::tls::TlsIdentity;
use crate::error::Error;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long a client may take for its TLS handshake, and for the header section of a request,
/// counted from the end of the one before: so long an idle connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests are answered from memory: whoever takes longer is not reading, or not writing.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait when connections cannot be taken, most likely for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that is bound, and not served yet.
pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// A server's task. Dropping it stops the server.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddr,
    // Dropping it is what stops the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

pub(super) async fn bind(address: SocketAddr) -> Result<Bound, Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// With the real port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn serve(self, router: Router, tls: Option<TlsIdentity>) -> Listening {
        let (stop, stopped) = oneshot::channel();
        let connections = Connections {
            router,
            tls,
            graceful: GracefulShutdown::new(),
        };
        Listening {
            address: self.address,
            stop,
            task: tokio::spawn(connections.accept_until(self.listener, stopped)),
        }
    }
}

impl Listening {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits for running requests, for a while.
    pub(super) async fn shutdown(self) {
        drop(self.stop);
        // It ends by itself; that it panicked would have been reported.
        let _ = self.task.await;
    }
}

struct Connections {
    router: Router,
    tls: Option<TlsIdentity>,
    graceful: GracefulShutdown,
}

impl Connections {
    async fn accept_until(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                // Nothing is ever sent: the sender is dropped.
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.serve(stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
        drop(listener);
        if timeout(GRACE, self.graceful.shutdown()).await.is_err() {
            tracing::warn!("stopped with requests still running");
        }
    }

    fn serve(&self, stream: TcpStream) {
        // Nagle's algorithm would hold back the last packet of each answer.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let watcher = self.graceful.watcher();
        let Some(tls) = self.tls.as_ref().map(TlsIdentity::acceptor) else {
            tokio::spawn(serve_http(stream, router, watcher));
            return;
        };
        tokio::spawn(async move {
            match timeout(HEADER_READ_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve_http(stream, router, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            }
        });
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}
