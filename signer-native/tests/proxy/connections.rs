//! Connections are kept, reused and given up.

use crate::client::{Client, Wire};
use crate::message::{Body, empty, get, next_chunk, streamed, text, within};
use crate::running_proxy::{RunningProxy, serve};
use crate::upstream::{Upstream, read_head};
use hyper::body::Bytes;
use hyper::client::{self, conn::http2::SendRequest};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use signer_native::interception::{Authority, Interceptor};
use signer_native::proxy::{Parts, Settings};
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

#[tokio::test]
async fn requests_on_one_connection_share_one_upstream_connection() {
    let proxy = RunningProxy::start().await;
    let (upstream, _received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    for _ in 0..5 {
        let response = client.send(get(&upstream.url("/"))).await;
        assert_eq!(text(response).await, "received");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_upstream_request_with_it() {
    let proxy = RunningProxy::start().await;
    let (events, mut seen) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let events = events.clone();
        async move {
            events.send("arrived").unwrap();
            let _cancelled = SendOnDrop(events);
            pending().await
        }
    })
    .await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .await;
    assert_eq!(within(seen.recv()).await, Some("arrived"));
    drop(client);
    assert_eq!(within(seen.recv()).await, Some("cancelled"));
}

#[tokio::test]
async fn an_http_1_0_client_is_answered_and_let_go() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Wire::connect(&proxy).await;
    let url = upstream.url("/");
    client
        .write(&format!(
            "GET {url} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        ))
        .await;
    let response = client.read_to_end().await;
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nreceived"), "{response}");
    assert_eq!(received.next().await.version(), hyper::Version::HTTP_11);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_header_section_is_let_go() {
    let proxy = RunningProxy::start_with(Settings {
        header_read_timeout: Duration::from_millis(20),
        ..Settings::default()
    })
    .await;
    for beginning in ["", "GET http://a.test/ HTTP/1.1\r\nHost: a."] {
        let mut client = Wire::connect(&proxy).await;
        client.write(beginning).await;
        client.read_to_end().await;
    }
}

#[tokio::test]
async fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (_shutdown, signal) = oneshot::channel();
    let proxy = tokio::spawn(serve(
        listener,
        Parts::default(),
        Settings::default(),
        signal,
    ));
    let (upstream, _received) = Upstream::recording().await;

    let stream = UnixStream::connect(&path).await.unwrap();
    let mut client = Client::over(stream).await;
    let response = client.send(get(&upstream.url("/"))).await;
    assert_eq!(text(response).await, "received");
    proxy.abort();
}

/// A client would be told to go away as soon as it has the header section.
#[tokio::test]
async fn an_http_2_connection_is_in_use_while_a_response_is_streamed() {
    let patience = Duration::from_secs(10);
    let (mut sender, body) = streamed();
    let upstream = Http2Upstream::start(body).await;
    let parts = Parts {
        interceptor: Some(interceptor()),
        ..Parts::default()
    };
    let settings = Settings {
        header_read_timeout: patience,
        ..Settings::default()
    };
    let proxy = RunningProxy::start_from(parts, settings).await;
    let mut client = http2_inside_tunnel(&proxy, upstream.address).await;
    let url = format!("http://{}/", upstream.address);

    let response = within(client.send_request(get_http2(&url))).await.unwrap();
    let mut body = response.into_body();
    tokio::time::pause();
    tokio::time::advance(patience * 3 / 2).await;
    tokio::time::resume();
    sender.send_data(Bytes::from("late")).await.unwrap();
    assert_eq!(next_chunk(&mut body).await, "late");

    let response = within(client.send_request(get_http2(&url))).await.unwrap();
    assert_eq!(response.status(), 200);
}

/// An HTTP/2 server that answers with this body first, and then with none.
struct Http2Upstream {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Http2Upstream {
    async fn start(first: Body) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let first = Mutex::new(Some(first));
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |_| {
                let body = first.lock().unwrap().take().unwrap_or_else(empty);
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        Self { address, task }
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn interceptor() -> Interceptor {
    let key = include_bytes!("../ca/ec-pkcs8.pem");
    let certificate = include_bytes!("../ca/ec.crt");
    Interceptor::new(Authority::from_pem(key, certificate).unwrap()).unwrap()
}

pub(crate) async fn http2_inside_tunnel(
    proxy: &RunningProxy,
    server: SocketAddr,
) -> SendRequest<Body> {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let connect = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    stream.write_all(connect.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let io = TokioIo::new(stream);
    let (client, connection) = client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn get_http2(url: &str) -> Request<Body> {
    Request::get(url).body(empty()).unwrap()
}

struct SendOnDrop(mpsc::UnboundedSender<&'static str>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send("cancelled");
    }
}
