//! One connection of a client, from its first request to its end.

use super::egress::answering;
use super::forward::ResponseBody;
use super::framing::{Exchange, StrictFraming};
use super::idle::{InFlightBody, Usage};
use super::server::Server;
use super::target::Scope;
use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;
use transport::connections::Connection;

/// The version that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

/// Finds out that a client is gone, which no TCP packet says.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes are the limit, never the number of fields: a name of one byte, a colon and CRLF.
const SHORTEST_FIELD: usize = 4;

/// What runs as long as a connection.
///
/// Boxed, because a future that is handed on is held twice by each that it is handed to: idle
/// connections would take tens of kilobytes.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves a connection until either side closes it, or until its requests are finished once the
/// shutdown has begun. Ends it at once where it must close for another one.
pub(super) fn serve<S>(
    server: Arc<Server>,
    stream: S,
    scope: Scope,
    speaks: Speaks,
    admitted: Arc<Connection>,
) -> Serving
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let closing = Arc::clone(&admitted);
    let serving: Serving = match speaks {
        Speaks::Http1 => Box::pin(serve_http1(server, stream, scope, admitted)),
        Speaks::Http2 => Box::pin(serve_http2(server, stream, scope, admitted)),
    };
    Box::pin(async move {
        tokio::select! {
            () = serving => {}
            () = closing.must_close() => debug!("connection closed for another one"),
        }
    })
}

async fn serve_http1<S>(server: Arc<Server>, stream: S, scope: Scope, admitted: Arc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = &server.settings;
    let usage = Arc::new(Usage::new());
    let mut stream = StrictFraming::new(stream, settings.max_header_size);
    if let Scope::Proxy = scope {
        // The end of a tunnel is one of both directions.
        stream = stream.answering(Arc::clone(&usage));
    }
    let exchange = stream.exchange();
    let service = service(Arc::clone(&server), scope, exchange, usage, admitted);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_read_timeout)
        .max_buf_size(settings.max_header_size)
        // Of trailer sections as well.
        .max_header_size(settings.max_header_size)
        .max_headers(settings.max_header_size / SHORTEST_FIELD)
        .preserve_header_case(true)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    run(Box::pin(connection), server.lifetime.draining()).await;
}

async fn serve_http2<S>(server: Arc<Server>, stream: S, scope: Scope, admitted: Arc<Connection>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let settings = &server.settings;
    let usage = Arc::new(Usage::new());
    let service = service(
        Arc::clone(&server),
        scope,
        Exchange::default(),
        Arc::clone(&usage),
        admitted,
    );
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        // What is larger by less gets a reason, see `Server::check_size`.
        .max_header_list_size(u32::try_from(settings.max_header_size * 2).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    // Of an HTTP/1.1 connection hyper sees that it is unused.
    let end = async {
        tokio::select! {
            () = server.lifetime.draining() => {}
            () = usage.unused(settings.header_read_timeout) => {}
        }
    };
    run(Box::pin(connection), end).await;
}

type AnswerBody = InFlightBody<ResponseBody>;
type Answer = Result<Response<AnswerBody>, Infallible>;

/// What answers the requests of a connection.
fn service(
    server: Arc<Server>,
    scope: Scope,
    exchange: Exchange,
    usage: Arc<Usage>,
    admitted: Arc<Connection>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<AnswerBody>,
    Error = Infallible,
    Future = Pin<Box<dyn Future<Output = Answer> + Send>>,
> + Send {
    let scope = Arc::new(scope);
    service_fn(move |mut request: Request<Incoming>| {
        let (server, scope) = (Arc::clone(&server), Arc::clone(&scope));
        // Behind a CONNECT the first request is still to come.
        let work = match *request.method() {
            Method::CONNECT => admitted.preparation(),
            _ => admitted.request(),
        };
        let in_flight = usage.request(work);
        if request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE) {
            // The connection can outlive this request.
            request.extensions_mut().insert(Arc::clone(&admitted));
        }
        // Now: a refusal that comes later is of a later request.
        let refused = exchange.refused();
        let exchange = exchange.clone();
        let source = admitted.source();
        let switches_by_success = request.method() == Method::CONNECT;
        let answer: Pin<Box<dyn Future<Output = Answer> + Send>> = Box::pin(async move {
            let answer = server.answer(request, &scope, refused);
            let response = answering(source, answer).await;
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS
                || switches_by_success && status.is_success()
            {
                exchange.switch();
            }
            Ok(response.map(|body| in_flight.with(body)))
        });
        // hyper keeps room for it as long as the connection: only while there is one.
        answer
    })
}

/// A connection that can be asked to end.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn shut_down(self: Pin<&mut Self>);
}

impl<S, C> Graceful for http1::UpgradeableConnection<TokioIo<S>, C>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Service<Request<Incoming>, Response = Response<AnswerBody>, Error = Infallible>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, C> Graceful for http2::Connection<TokioIo<S>, C, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Service<Request<Incoming>, Response = Response<AnswerBody>, Error = Infallible>,
    C::Future: Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn run(mut connection: Pin<Box<impl Graceful>>, end: impl Future<Output = ()>) {
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = end => {
            connection.as_mut().shut_down();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
