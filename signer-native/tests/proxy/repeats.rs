//! What a server has not acted on is sent again, with another token; nothing else is.

use crate::client::send;
use crate::connections::{http2_inside_tunnel, interceptor};
use crate::message::{empty, full, request, streamed, text, within};
use crate::running_proxy::RunningProxy;
use crate::upstream::read_head;
use h2::Reason;
use hyper::body::Bytes;
use hyper::{Request, Response};
use signer_native::proxy::{Parts, Settings};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as a server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    line: String,
    token: String,
    body: String,
}

/// What servers saw, in order.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    fn push(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }

    fn of(&self, line: &str) -> Vec<Seen> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|seen| seen.line == line)
            .cloned()
            .collect()
    }

    /// No server is to see a token twice.
    fn assert_fresh_tokens(&self) {
        let mut tokens: Vec<_> = (self.0.lock().unwrap().iter())
            .map(|seen| seen.token.clone())
            .collect();
        let all = tokens.len();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), all);
    }
}

struct Server {
    address: SocketAddr,
    log: Log,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream, Log, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Log::default();
        let task = tokio::spawn({
            let log = log.clone();
            async move {
                for number in 0.. {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream, log.clone(), number));
                }
            }
        });
        Self { address, log, task }
    }

    /// One that answers so many requests of each connection, and ends it when the next has come.
    async fn http1(answered: usize) -> Self {
        Self::start(move |mut stream, log, _| async move {
            for number in 0..=answered {
                let Some(seen) = read_request(&mut stream).await else {
                    return;
                };
                log.push(seen);
                if number < answered {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut first = [0];
    if stream.peek(&mut first).await.unwrap_or(0) == 0 {
        return None;
    }
    let head = read_head(stream).await;
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let value = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        value.map_or_else(String::new, |(_, value)| value.to_owned())
    };
    let length = field("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    within(stream.read_exact(&mut body)).await.unwrap();
    Some(Seen {
        line: head.lines().next().unwrap().to_owned(),
        token: field("authorization"),
        body: String::from_utf8(body).unwrap(),
    })
}

#[tokio::test]
async fn a_get_on_a_connection_that_ends_is_sent_again() {
    let proxy = RunningProxy::start().await;
    let server = Server::http1(1).await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"] {
        for number in 0..4 {
            let url = server.url(&format!("/{number}"));
            let response = send(&proxy, request(method, &url, empty())).await;
            assert_eq!(response.status(), 200, "{method} {number}");
        }
    }
    server.log.assert_fresh_tokens();
}

#[tokio::test]
async fn a_put_is_sent_again_with_its_whole_body() {
    let proxy = RunningProxy::start().await;
    let server = Server::http1(1).await;
    for path in ["/a", "/b"] {
        let put = request("PUT", &server.url(path), full("content"));
        assert_eq!(send(&proxy, put).await.status(), 200);
    }
    let seen = server.log.of("PUT /b HTTP/1.1");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.body == "content"), "{seen:?}");
    server.log.assert_fresh_tokens();
}

#[tokio::test]
async fn what_is_not_idempotent_reaches_a_server_once() {
    let proxy = RunningProxy::start().await;
    for method in ["POST", "PATCH", "LOCK"] {
        for body in ["", "content"] {
            let server = Server::http1(1).await;
            let first = request("GET", &server.url("/"), empty());
            assert_eq!(send(&proxy, first).await.status(), 200);
            let second = request(method, &server.url("/once"), full(body));
            let response = send(&proxy, second).await;
            assert_eq!(response.status(), 502);
            let reason = text(response).await;
            assert!(reason.contains("no answer from"), "{reason}");
            let seen = server.log.of(&format!("{method} /once HTTP/1.1"));
            assert_eq!(seen.len(), 1, "{method} {body:?}");
        }
    }
}

#[tokio::test]
async fn what_a_new_connection_did_not_answer_is_not_sent_again() {
    let proxy = RunningProxy::start().await;
    let server = Server::http1(0).await;
    let response = send(&proxy, request("GET", &server.url("/"), empty())).await;
    assert_eq!(response.status(), 502);
    assert_eq!(server.log.of("GET / HTTP/1.1").len(), 1);
}

#[tokio::test]
async fn behind_the_first_byte_of_an_answer_nothing_is_sent_again() {
    let proxy = RunningProxy::start().await;
    let server = Server::start(|mut stream, log, _| async move {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 20",
        ] {
            let Some(seen) = read_request(&mut stream).await else {
                return;
            };
            log.push(seen);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let first = send(&proxy, request("GET", &server.url("/"), empty())).await;
    assert_eq!(text(first).await, "ok");
    let second = send(&proxy, request("GET", &server.url("/half"), empty())).await;
    assert_eq!(second.status(), 502);
    assert_eq!(server.log.of("GET /half HTTP/1.1").len(), 1);
}

/// A body that is larger than what is kept.
#[tokio::test]
async fn a_body_that_was_not_kept_is_not_sent_in_part() {
    let proxy = RunningProxy::start().await;
    let server = Server::http1(1).await;
    let large: &'static str = "x".repeat(1 << 20).leak();
    let first = request("PUT", &server.url("/"), full(large));
    assert_eq!(send(&proxy, first).await.status(), 200);
    let second = request("PUT", &server.url("/large"), full(large));
    assert_eq!(send(&proxy, second).await.status(), 502);
    assert_eq!(server.log.of("PUT /large HTTP/1.1").len(), 1);
}

#[tokio::test]
async fn attempts_come_to_an_end() {
    let proxy = http2_proxy().await;
    let server = Server::start(|stream, log, _| async move {
        http2(stream, log, |_| Then::Reset(Reason::REFUSED_STREAM)).await;
    })
    .await;
    let (status, reason) = http2_request(&proxy, &server, "POST").await;
    assert_eq!(status, 502, "{reason}");
    let seen = server.log.of("POST /x");
    assert!((2..10).contains(&seen.len()), "{}", seen.len());
    server.log.assert_fresh_tokens();
}

#[tokio::test]
async fn a_refused_stream_is_opened_again_whatever_the_method() {
    let proxy = http2_proxy().await;
    for method in ["GET", "POST", "PATCH"] {
        let server = Server::start(|stream, log, _| async move {
            http2(stream, log, |number| match number {
                0 => Then::Reset(Reason::REFUSED_STREAM),
                _ => Then::Answer,
            })
            .await;
        })
        .await;
        let (status, body) = http2_request(&proxy, &server, method).await;
        assert_eq!((status, &*body), (200, "content"));
        assert_eq!(server.log.of(&format!("{method} /x")).len(), 2);
        server.log.assert_fresh_tokens();
    }
}

#[tokio::test]
async fn a_stream_that_was_reset_for_another_reason_is_not_opened_again() {
    let proxy = http2_proxy().await;
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
        let server = Server::start(move |stream, log, _| async move {
            http2(stream, log, |_| Then::Reset(reason)).await;
        })
        .await;
        let (status, _) = http2_request(&proxy, &server, "GET").await;
        assert_eq!(status, 502);
        assert_eq!(server.log.of("GET /x").len(), 1);
    }
}

#[tokio::test]
async fn what_a_goaway_leaves_unprocessed_is_sent_again_whatever_the_method() {
    let proxy = http2_proxy().await;
    for method in ["GET", "POST", "PATCH"] {
        let server = Server::start(|stream, log, number| async move {
            match number {
                0 => goaway(stream, 0, Reason::NO_ERROR).await,
                _ => http2(stream, log, |_| Then::Answer).await,
            }
        })
        .await;
        let (status, body) = http2_request(&proxy, &server, method).await;
        assert_eq!((status, &*body), (200, "content"), "{method}");
    }
}

/// After such a GOAWAY the connection ends as well.
#[tokio::test]
async fn what_a_goaway_covers_is_not_sent_again() {
    let proxy = http2_proxy().await;
    for last in [1, u32::MAX >> 1] {
        for method in ["GET", "POST"] {
            let server = Server::start(move |stream, log, number| async move {
                match number {
                    0 => goaway(stream, last, Reason::NO_ERROR).await,
                    _ => http2(stream, log, |_| Then::Answer).await,
                }
            })
            .await;
            let (status, reason) = http2_request(&proxy, &server, method).await;
            assert_eq!(status, 502, "{method} {last}: {reason}");
            assert_eq!(server.log.of(&format!("{method} /x")).len(), 0);
        }
    }
}

#[tokio::test]
async fn a_post_that_a_goaway_with_an_error_ended_is_not_sent_again() {
    let proxy = http2_proxy().await;
    let server = Server::start(|stream, log, number| async move {
        match number {
            0 => goaway(stream, 0, Reason::ENHANCE_YOUR_CALM).await,
            _ => http2(stream, log, |_| Then::Answer).await,
        }
    })
    .await;
    let (status, _) = http2_request(&proxy, &server, "POST").await;
    assert_eq!(status, 502);
}

#[tokio::test]
async fn over_http_2_the_origin_is_in_authority_alone() {
    let proxy = http2_proxy().await;
    let server = Server::start(|stream, log, _| async move {
        http2(stream, log, |_| Then::Answer).await;
    })
    .await;
    let mut client = http2_inside_tunnel(&proxy, server.address).await;
    let with_host = Request::get(server.url("/x"))
        .header("Host", server.address.to_string())
        .body(empty())
        .unwrap();
    let response = within(client.send_request(with_host)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-hosts"], "0");
    let other_host = Request::get(server.url("/other"))
        .header("Host", "evil.test")
        .body(empty())
        .unwrap();
    let response = within(client.send_request(other_host)).await.unwrap();
    assert_eq!(response.status(), 421);
    assert!(server.log.of("GET /other").is_empty());
}

/// The client's fault is what it did not send itself, and nothing else.
#[tokio::test]
async fn a_server_that_ends_while_a_body_is_sent_is_not_the_clients_fault() {
    let proxy = RunningProxy::start().await;
    let server = Server::start(|mut stream, _, _| async move {
        read_head(&mut stream).await;
    })
    .await;
    let (mut sender, body) = streamed();
    let post = request("POST", &server.url("/"), body);
    let sending = tokio::spawn(async move {
        while sender
            .send_data(Bytes::from_static(&[b'x'; 9999]))
            .await
            .is_ok()
        {}
    });
    let response = send(&proxy, post).await;
    assert_eq!(response.status(), 502);
    sending.abort();
}

async fn http2_proxy() -> RunningProxy {
    let parts = Parts {
        interceptor: Some(interceptor()),
        ..Parts::default()
    };
    RunningProxy::start_from(parts, Settings::default()).await
}

async fn http2_request(proxy: &RunningProxy, server: &Server, method: &str) -> (u16, String) {
    let mut client = http2_inside_tunnel(proxy, server.address).await;
    let request = Request::builder()
        .method(method)
        .uri(server.url("/x"))
        .body(full("content"))
        .unwrap();
    let response = within(client.send_request(request)).await.unwrap();
    (response.status().as_u16(), text(response).await)
}

enum Then {
    Answer,
    Reset(Reason),
}

/// Gives each request of a connection its body back, or what `then` says.
async fn http2(stream: TcpStream, log: Log, then: impl Fn(usize) -> Then) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut number = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let headers = request.headers().clone();
        let line = format!("{} {}", request.method(), request.uri().path());
        let then = then(number);
        number += 1;
        let log = log.clone();
        tokio::spawn(async move {
            let mut seen = Seen {
                line,
                token: headers
                    .get("authorization")
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .into(),
                body: String::new(),
            };
            let mut body = request.into_body();
            if let Then::Reset(reason) = then {
                log.push(seen);
                respond.send_reset(reason);
                return;
            }
            while let Some(Ok(data)) = body.data().await {
                seen.body.push_str(str::from_utf8(&data).unwrap());
            }
            let hosts = headers.get_all("host").iter().count();
            let response = Response::builder().header("X-Hosts", hosts);
            let mut answer = respond
                .send_response(response.body(()).unwrap(), false)
                .unwrap();
            let content = Bytes::from(seen.body.clone());
            log.push(seen);
            answer.send_data(content, true).unwrap();
        });
    }
}

/// Reads the beginning of one request, tells the client to go away, and closes.
async fn goaway(mut stream: TcpStream, last: u32, reason: Reason) {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await.unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == 1 {
            break;
        }
    }
    let frame = [
        &[0, 0, 8, 7, 0, 0, 0, 0, 0][..],
        &last.to_be_bytes(),
        &u32::from(reason).to_be_bytes(),
    ];
    stream.write_all(&frame.concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    // What is left unread would make the close a reset, and the GOAWAY could be lost.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}
