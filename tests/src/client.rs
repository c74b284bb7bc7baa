//! An HTTP client that makes a connection for each request, so that they spread over Envoy's
//! workers.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header section.
    pub headers: HeaderMap,
    /// The body, which is text in these tests.
    pub body: String,
}

impl Answer {
    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// A connection with a request that is written but for its sending.
pub struct Prepared {
    sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
}

impl Prepared {
    /// Connects.
    pub async fn new(address: SocketAddr, request: Request<Full<Bytes>>) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the peer accepts connections");
        Self::over(stream, request).await
    }

    /// Uses a connection that is there.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Self {
        Self {
            sender: open(stream).await,
            request,
        }
    }

    /// Sends the request and reads the answer.
    pub async fn send(mut self) -> Answer {
        let response = self
            .sender
            .send_request(self.request)
            .await
            .expect("an answer");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

/// `GET path` at `address`, with this Authorization if any.
pub async fn get(address: SocketAddr, path: &str, authorization: Option<&str>) -> Answer {
    Prepared::new(address, request(address, path, authorization))
        .await
        .send()
        .await
}

/// `GET` with a token.
pub async fn get_with_token(address: SocketAddr, token: &str) -> Answer {
    get(address, "/", Some(&format!("Bearer {token}"))).await
}

/// The same from an address of this machine that is not its usual one.
pub async fn get_with_token_from(source: Ipv4Addr, address: SocketAddr, token: &str) -> Answer {
    let socket = TcpSocket::new_v4().expect("a socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(source).expect("an address of this machine");
    let stream = socket.connect(address).await;
    let request = request(address, "/", Some(&format!("Bearer {token}")));
    Prepared::over(stream.expect("the peer accepts connections"), request)
        .await
        .send()
        .await
}

/// `GET url` through the forward proxy at `proxy`.
pub async fn get_through(proxy: SocketAddr, url: &str) -> Answer {
    let host = url.split('/').nth(2).expect("an absolute URL");
    let request = Request::get(url).header("host", host).body(Full::default());
    Prepared::new(proxy, request.expect("a request"))
        .await
        .send()
        .await
}

/// The request that [`get`] sends.
pub fn request(
    host: impl ToString,
    path: &str,
    authorization: Option<&str>,
) -> Request<Full<Bytes>> {
    let mut request = Request::get(path).header("host", host.to_string());
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(Full::default()).expect("a request")
}

/// `GET path` at a unix socket, with this Authorization if any.
pub async fn get_at_socket(socket: &Path, path: &str, authorization: Option<&str>) -> Answer {
    let stream = UnixStream::connect(socket)
        .await
        .expect("the peer accepts connections");
    Prepared::over(stream, request("socket", path, authorization))
        .await
        .send()
        .await
}

/// Sends bytes as they are and reads until the peer closes.
pub async fn exchange_bytes(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the peer accepts connections");
    stream.write_all(bytes).await.expect("the peer reads");
    let mut answer = Vec::new();
    // A peer that resets the connection has answered as well.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}
