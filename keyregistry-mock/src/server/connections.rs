//! Accepting connections, with and without TLS, and ending them.

use super::client::Peer;
use super::tls::TlsIdentity;
use crate::error::Error;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long a client may take for its TLS handshake, and for the header section of a request,
/// counted from the end of the one before: so long an idle connection is kept.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests are answered from memory: whoever takes longer is not reading, or not writing.
const GRACE: Duration = Duration::from_secs(5);

/// So many at a time, which is within the file descriptors that a process usually has. Others wait
/// until one ends.
const MAX_CONNECTIONS: usize = 1_000;

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
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
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
    room: Arc<Semaphore>,
    graceful: GracefulShutdown,
}

impl Connections {
    async fn accept_until(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                // Nothing is ever sent: the sender is dropped.
                _ = &mut stopped => break,
                accepted = self.accept(&listener) => match accepted {
                    Ok((stream, peer, place)) => self.serve(stream, Peer(peer), place),
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

    /// The next connection, once there is a place for it, which it keeps until it ends.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.room).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer, place))
    }

    fn serve(&self, stream: TcpStream, peer: Peer, place: OwnedSemaphorePermit) {
        // Nagle's algorithm would hold back the last packet of each answer.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let watcher = self.graceful.watcher();
        let tls = self.tls.as_ref().map(TlsIdentity::acceptor);
        tokio::spawn(async move {
            let _place = place;
            let Some(tls) = tls else {
                return serve_http(stream, peer, router, watcher).await;
            };
            match timeout(HEADER_READ_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve_http(stream, peer, router, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            }
        });
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    watcher: Watcher,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(request).await.unwrap();
        client
    }

    async fn read_byte(client: &mut TcpStream) -> u8 {
        client.read_u8().await.unwrap()
    }

    #[tokio::test]
    async fn beyond_the_limit_a_connection_waits_until_another_ends() {
        let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let connections = Connections {
            router: Router::new().route("/", get(|| async {})),
            tls: None,
            room: Arc::new(Semaphore::new(1)),
            graceful: GracefulShutdown::new(),
        };
        let (_stop, stopped) = oneshot::channel();
        tokio::spawn(connections.accept_until(bound.listener, stopped));
        let mut first = ask(bound.address).await;
        assert_eq!(read_byte(&mut first).await, b'H');
        let mut second = ask(bound.address).await;
        let answer = timeout(Duration::from_millis(100), read_byte(&mut second)).await;
        assert!(answer.is_err());
        drop(first);
        assert_eq!(read_byte(&mut second).await, b'H');
    }
}
