//! Accepting connections, with and without TLS, and ending them.

use super::client::Peer;
use super::tls::TlsIdentity;
use super::write_deadline::WriteDeadline;
use crate::error::Error;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use transport::connections::{Connection, Connections, Limits};

/// How long a client may take from its connection to the end of its first head, TLS included.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take for another head, counted from the end of the request before: so long
/// an idle connection is kept.
const NEXT_HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may take to read an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

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

    /// With at most so many connections at a time.
    pub(super) fn serve(
        self,
        router: Router,
        tls: Option<TlsIdentity>,
        max_connections: usize,
    ) -> Listening {
        let (stop, stopped) = oneshot::channel();
        let connections = Acceptor {
            router,
            tls,
            open: Connections::new(Limits::of(max_connections)),
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

struct Acceptor {
    router: Router,
    tls: Option<TlsIdentity>,
    open: Connections,
    graceful: GracefulShutdown,
}

impl Acceptor {
    async fn accept_until(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                // Nothing is ever sent: the sender is dropped.
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        self.open.make_room();
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

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Nagle's algorithm would hold back the last packet of each answer.
        let _ = stream.set_nodelay(true);
        let client = Arc::new(Client {
            peer: Peer(peer),
            connection: self.open.admit(peer.into()),
            has_spoken: AtomicBool::new(false),
        });
        let serving = serve_tls(
            stream,
            self.tls.as_ref().map(TlsIdentity::acceptor),
            Arc::clone(&client),
            self.router.clone(),
            self.graceful.watcher(),
        );
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = client.connection.must_close() => {
                    tracing::debug!(%peer, "closed for another connection");
                }
                () = client.is_silent_for(FIRST_HEAD_TIMEOUT) => {
                    tracing::debug!(%peer, "no request in time");
                }
            }
        });
    }
}

/// The other end of a connection that is served.
struct Client {
    peer: Peer,
    connection: Connection,
    has_spoken: AtomicBool,
}

impl Client {
    fn head_arrived(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
        self.connection.head_arrived();
    }

    /// Ends only if no head arrives in that time.
    async fn is_silent_for(&self, time: Duration) {
        sleep(time).await;
        if self.has_spoken.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}

async fn serve_tls(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    client: Arc<Client>,
    router: Router,
    watcher: Watcher,
) {
    let Some(tls) = tls else {
        return serve_http(stream, client, router, watcher).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => serve_http(stream, client, router, watcher).await,
        Err(error) => tracing::debug!(%error, "no TLS handshake"),
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<Client>,
    router: Router,
    watcher: Watcher,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        client.head_arrived();
        request.extensions_mut().insert(client.peer);
        router.call(request)
    });
    let stream = WriteDeadline::new(stream, WRITE_TIMEOUT);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests;
