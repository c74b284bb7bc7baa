//! Where connections come from.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tracing::warn;
use transport::connections::{Connection, Connections, Source};

/// A bound socket that connections come from.
pub trait Listener: Send + Sync {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Source)>> + Send;

    /// The address for the log.
    fn address(&self) -> String;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Source)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Nagle's algorithm would hold back the last packet of each response.
        stream.set_nodelay(true)?;
        Ok((stream, peer.into()))
    }

    fn address(&self) -> String {
        self.local_addr()
            .map_or_else(|error| error.to_string(), |address| address.to_string())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Source)> {
        let (stream, _) = UnixListener::accept(self).await?;
        Ok((stream, Source::LOCAL))
    }

    fn address(&self) -> String {
        let path = self.local_addr().ok().and_then(|address| {
            let path = address.as_pathname()?;
            Some(format!("unix:{}", path.display()))
        });
        path.unwrap_or_else(|| "unix:".into())
    }
}

/// The next connection, however many attempts fail: no error of one accept is a reason to stop.
/// Another connection closes for it where that is needed, see [`transport::connections`].
pub(crate) async fn next_connection<L: Listener>(
    listener: &L,
    connections: &Connections,
) -> (L::Stream, Arc<Connection>) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                connections.room().await;
                return (stream, Arc::new(connections.admit(source)));
            }
            // The client was gone before its connection was taken.
            Err(error) if is_of_one_connection(&error) => {}
            // Most likely out of file descriptors: they come back as other connections end, and
            // until then accept fails at once, over and over.
            Err(error) => {
                warn!(address = listener.address(), %error, "cannot accept a connection");
                connections.make_room();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

const PAUSE: Duration = Duration::from_millis(100);

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};
    use transport::connections::Limits;

    /// Gives these in turn.
    struct Scripted(Mutex<VecDeque<io::Result<DuplexStream>>>);

    impl Listener for Scripted {
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<(DuplexStream, Source)> {
            let next = self.0.lock().unwrap().pop_front().unwrap();
            next.map(|stream| (stream, Source::LOCAL))
        }

        fn address(&self) -> String {
            "scripted".into()
        }
    }

    #[tokio::test]
    async fn failed_accepts_are_survived() {
        const EMFILE: i32 = 24;
        let (_client, server) = tokio::io::duplex(1);
        let listener = Scripted(Mutex::new(VecDeque::from([
            Err(ErrorKind::ConnectionAborted.into()),
            Err(io::Error::from_raw_os_error(EMFILE)),
            Ok(server),
        ])));
        let connections = Connections::new(Limits::of(10));
        let silent = connections.admit(Source::LOCAL);
        let (mut stream, _) = next_connection(&listener, &connections).await;
        stream.write_all(b"!").await.unwrap();
        // For want of descriptors.
        silent.must_close().await;
    }
}
