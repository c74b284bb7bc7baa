//! Many requests at once, over few connections: streams of HTTP/2.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http2::handshake;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Streams that Envoy lets a connection have at once.
const STREAMS: usize = 100;

/// Requests that are under way.
pub struct Streams(JoinSet<u16>);

impl Streams {
    /// Sends a request with each of these tokens. All are on their way when it returns.
    pub async fn send(address: SocketAddr, tokens: impl IntoIterator<Item = String>) -> Self {
        let mut tokens = tokens.into_iter().peekable();
        let mut requests = JoinSet::new();
        while tokens.peek().is_some() {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let handshake = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.expect("a handshake");
            tokio::spawn(connection);
            for token in tokens.by_ref().take(STREAMS) {
                let request = Request::get(format!("http://{address}/"))
                    .header("authorization", format!("Bearer {token}"))
                    .body(Empty::<Bytes>::new());
                let answer = sender.send_request(request.expect("a request"));
                requests.spawn(async move {
                    match answer.await {
                        Ok(answer) => read(answer).await,
                        Err(error) => panic!("a stream without an answer: {error}"),
                    }
                });
            }
        }
        Self(requests)
    }

    /// The statuses of the answers, and how many there are of each.
    pub async fn statuses(self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        for status in self.0.join_all().await {
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    }
}

async fn read(answer: Response<Incoming>) -> u16 {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await;
    body.expect("a whole body");
    status
}
