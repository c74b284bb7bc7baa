//! gRPC as it is on the wire: HTTP/2 with trailers, and messages with a prefix of five bytes.

use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Bytes;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A message of three bytes.
pub const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

/// A service that sends every message back, and ends with the trailers of the request.
pub struct GrpcService {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// The answer to a call.
#[derive(Debug)]
pub struct GrpcAnswer {
    /// The status of HTTP, which says nothing of the call.
    pub http_status: u16,
    /// The header section.
    pub headers: HeaderMap,
    /// The messages.
    pub data: Vec<u8>,
    /// What comes after them.
    pub trailers: HeaderMap,
}

impl GrpcAnswer {
    /// `grpc-status`, which a refusal has in its header section.
    pub fn grpc_status(&self) -> &str {
        let found = self.trailers.get("grpc-status");
        let found = found.or_else(|| self.headers.get("grpc-status"));
        found.map_or("none", |status| status.to_str().expect("a number"))
    }
}

impl GrpcService {
    /// Starts on a free port; it speaks HTTP/2 and nothing else.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for GrpcService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            let response = Response::builder()
                .header("content-type", "application/grpc")
                .header("x-path", path)
                .body(())
                .expect("a response");
            let mut answer = respond.send_response(response, false)?;
            // Message by message: a stream in both directions.
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                answer.send_data(data, false)?;
            }
            let mut trailers = body.trailers().await?.unwrap_or_default();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            answer.send_trailers(trailers)
        });
    }
    Ok(())
}

/// What no client of ours has to say in its trailers.
pub const FORGED_TRAILERS: [&str; 3] = ["authorization", "x-jwt-sub", "x_jwt_sub"];

/// Calls `/test.Echo/Chat` over this connection: sends two messages, the second once the first has
/// come back, and trailers, [`FORGED_TRAILERS`] among them.
pub async fn call(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    authority: &str,
    authorization: Option<&str>,
) -> GrpcAnswer {
    let (sender, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut sender = sender.ready().await.expect("an open connection");
    let mut request = Request::post(format!("http://{authority}/test.Echo/Chat"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let (response, mut messages) = sender
        .send_request(request.body(()).expect("a request"), false)
        .expect("an open connection");
    // Who is refused is not listened to.
    let _ = messages.send_data(Bytes::from_static(MESSAGE), false);
    let (head, mut body) = response.await.expect("an answer").into_parts();
    let mut data = read(&mut body).await;
    if !data.is_empty() {
        let _ = messages.send_data(Bytes::from_static(MESSAGE), false);
        data.extend(read(&mut body).await);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sent", HeaderValue::from_static("by the client"));
        for name in FORGED_TRAILERS {
            trailers.insert(name, HeaderValue::from_static("forged"));
        }
        let _ = messages.send_trailers(trailers);
    }
    GrpcAnswer {
        http_status: head.status.as_u16(),
        headers: head.headers,
        data,
        trailers: trailers(&mut body).await,
    }
}

async fn read(body: &mut RecvStream) -> Vec<u8> {
    match body.data().await {
        Some(Ok(data)) => data.to_vec(),
        None => Vec::new(),
        Some(Err(error)) => panic!("{error}"),
    }
}

async fn trailers(body: &mut RecvStream) -> HeaderMap {
    while body.data().await.is_some() {}
    match body.trailers().await {
        Ok(trailers) => trailers.unwrap_or_default(),
        // The server has answered and wants no more from us.
        Err(error) if error.reason() == Some(Reason::NO_ERROR) => HeaderMap::new(),
        Err(error) => panic!("{error}"),
    }
}
