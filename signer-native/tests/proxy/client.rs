//! The clients before the proxy.

use crate::message::{Body, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::read_head;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection to the proxy, kept for request after request.
pub(crate) struct Client(SendRequest<Body>);

impl Client {
    pub(crate) async fn connect(proxy: &RunningProxy) -> Self {
        Self::over(TcpStream::connect(proxy.address).await.unwrap()).await
    }

    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        within(self.0.ready()).await?;
        within(self.0.send_request(request)).await
    }

    /// Until the proxy has closed the connection.
    pub(crate) async fn closed(&mut self) {
        within(async {
            while self.0.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// One connection to the proxy, byte for byte.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn connect(proxy: &RunningProxy) -> Self {
        Self(TcpStream::connect(proxy.address).await.unwrap())
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn read_head(&mut self) -> String {
        read_head(&mut self.0).await
    }

    /// So many bytes.
    pub(crate) async fn read(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        within(self.0.read_exact(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Everything until the proxy closes the connection.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        within(self.0.read_to_string(&mut text)).await.unwrap();
        text
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(proxy: &RunningProxy, request: Request<Body>) -> Response<Incoming> {
    Client::connect(proxy).await.send(request).await
}
