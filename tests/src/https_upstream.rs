//! A server that speaks HTTP/1.1 and HTTP/2, with TLS or without, and streams.

use crate::upstream::describe;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Channel, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running server. By path it answers `/events` with three events and a pause between them,
/// `/trailers` with a trailer, `/size/N` with so many bytes, and everything else with what it
/// received, as JSON.
pub struct HttpsUpstream {
    address: SocketAddr,
    received: Received,
    task: JoinHandle<()>,
}

type Received = Arc<Mutex<Vec<Value>>>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

impl HttpsUpstream {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start(tls: Arc<ServerConfig>) -> Self {
        Self::start_at("127.0.0.1:0", Some(tls)).await
    }

    /// Starts without TLS.
    pub async fn start_plain(address: &str) -> Self {
        Self::start_at(address, None).await
    }

    /// Starts there.
    pub async fn start_at(address: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let received = Received::default();
        Self {
            address: listener.local_addr().expect("an address"),
            received: Arc::clone(&received),
            task: tokio::spawn(accept(listener, tls, received)),
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it has received so far.
    pub fn received(&self) -> Vec<Value> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for HttpsUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        let Some(tls) = tls.clone() else {
            tokio::spawn(serve(stream, received));
            continue;
        };
        tokio::spawn(async move {
            // A client that does not like the certificate is no failure.
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                serve(stream, received).await;
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, received: Received) {
    let service = service_fn(move |request| answer(request, Arc::clone(&received)));
    let http = auto::Builder::new(TokioExecutor::new());
    let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
    // Clients come and go.
    let _ = connection.await;
}

async fn answer(
    mut request: Request<Incoming>,
    received: Received,
) -> Result<Response<Body>, Infallible> {
    if request.headers().contains_key(UPGRADE) {
        let (upgraded, response) = websocket(&mut request);
        record(&received, request).await;
        tokio::spawn(upgraded);
        return Ok(response);
    }
    let path = request.uri().path().to_owned();
    let description = record(&received, request).await;
    Ok(match path.as_str() {
        "/events" => events(),
        "/trailers" => with_trailer(),
        path => match path.strip_prefix("/size/").map(str::parse) {
            Some(Ok(size)) => bytes(size),
            _ => Response::new(Full::from(format!("{description:#}\n")).boxed_unsync()),
        },
    })
}

async fn record(received: &Received, request: Request<Incoming>) -> Value {
    let description = describe(request).await;
    received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(description.clone());
    description
}

/// Echoes messages until the client closes.
fn websocket(
    request: &mut Request<Incoming>,
) -> (impl Future<Output = ()> + Send + 'static, Response<Body>) {
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let key = request.headers().get("sec-websocket-key");
    let accept = derive_accept_key(key.expect("a key").as_bytes());
    let upgrade = hyper::upgrade::on(request);
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept.parse().expect("base64"));
    let echo = async move {
        let Ok(stream) = upgrade.await else { return };
        let stream = TokioIo::new(stream);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        crate::tools::echo_messages(&mut socket).await;
    };
    (echo, response)
}

/// Server-sent events, each when its time has come.
fn events() -> Response<Body> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for number in 1..=3 {
            let event = format!("data: {number}\n\n");
            if sender.send_data(Bytes::from(event)).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let mut response = Response::new(body.boxed_unsync());
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert("content-type", kind);
    response
}

fn with_trailer() -> Response<Body> {
    let status = HeaderValue::from_static("0");
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), status)]);
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        // The client may be gone.
        let _ = sender.send_data(Bytes::from("content")).await;
        let _ = sender.send_trailers(trailers).await;
    });
    let mut response = Response::new(body.boxed_unsync());
    let announced = HeaderValue::from_static("grpc-status");
    response.headers_mut().insert("trailer", announced);
    response
}

fn bytes(size: usize) -> Response<Body> {
    const CHUNK: usize = 64 << 10;
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        let mut left = size;
        while left > 0 {
            let chunk = Bytes::from(vec![b'x'; left.min(CHUNK)]);
            left -= chunk.len();
            if sender.send_data(chunk).await.is_err() {
                return;
            }
        }
    });
    Response::new(body.boxed_unsync())
}
