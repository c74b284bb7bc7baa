//! The servers behind the proxy.

use crate::message::{Body, full, within};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// An HTTP server that answers as it is told.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::clone(&connections),
            task: tokio::spawn(accept(listener, connections, answer)),
        }
    }

    /// One that answers 200 "received" and hands on what it received.
    pub(crate) async fn recording() -> (Self, Received) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let upstream = Self::start(move |request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap();
                sender.send(Request::from_parts(parts, body)).unwrap();
                Response::new(full("received"))
            }
        })
        .await;
        (upstream, Received(receiver))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections it has had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The requests of a recording upstream, in order.
pub(crate) struct Received(mpsc::UnboundedReceiver<Request<Collected<Bytes>>>);

impl Received {
    pub(crate) async fn next(&mut self) -> Request<Collected<Bytes>> {
        within(self.0.recv()).await.unwrap()
    }

    /// Whether there is none that was not taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A server for one connection, for what no HTTP library would send: it reads a header section,
/// writes `answer` and closes.
pub(crate) struct OneAnswer {
    pub(crate) address: SocketAddr,
    task: JoinHandle<String>,
}

impl OneAnswer {
    pub(crate) async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            task: tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                head
            }),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The header section it read.
    pub(crate) async fn received(self) -> String {
        within(self.task).await.unwrap()
    }
}

/// Reads up to the empty line that ends a header section.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn accept<F, R>(listener: TcpListener, connections: Arc<AtomicUsize>, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let response = answer(request);
            async { Ok::<_, Infallible>(response.await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
