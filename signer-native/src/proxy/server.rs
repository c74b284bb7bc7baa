//! Connections of clients, and the requests on them.

use super::error::Error;
use super::forward::{Forwarder, ResponseBody};
use super::lifetime::Lifetime;
use super::log::Loggable;
use super::target::Scope;
use super::{Settings, tunnel};
use crate::interception::Interceptor;
use crate::policy::Policy;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info, warn};

/// What all connections share.
pub(super) struct Server {
    pub(super) forwarder: Forwarder,
    pub(super) interceptor: Option<Interceptor>,
    pub(super) policy: Arc<Policy>,
    pub(super) settings: Settings,
    pub(super) lifetime: Lifetime,
}

/// The version that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// The client says so with its first bytes (RFC 9113 §3.4).
    Either,
}

/// Finds out that a client is gone, which no TCP packet says.
const PING_INTERVAL: Duration = Duration::from_secs(30);

impl Server {
    /// Serves a connection until either side closes it, or until its requests are finished once
    /// the shutdown has begun.
    pub(super) async fn serve<S>(self: Arc<Self>, stream: S, scope: Scope, speaks: Speaks)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let scope = Arc::new(scope);
        let service = service_fn(|request| {
            let (server, scope) = (Arc::clone(&self), Arc::clone(&scope));
            async move { Ok::<_, Infallible>(server.answer(request, &scope).await) }
        });
        let http = self.http(speaks);
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.lifetime.draining() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%error, "connection ended");
        }
    }

    fn http(&self, speaks: Speaks) -> auto::Builder<TokioExecutor> {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.settings.header_read_timeout)
            .preserve_header_case(true)
            .title_case_headers(true);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL);
        match speaks {
            Speaks::Http1 => http.http1_only(),
            Speaks::Http2 => http.http2_only(),
            Speaks::Either => http,
        }
    }

    /// Answers a request, whatever happens.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        scope: &Scope,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let asked = Asked::of(&request);
        let mut response = match self.respond(request, scope).await {
            Ok(response) => response,
            Err(error) => refuse(&error, &asked),
        };
        if asked.ends_the_connection(response.status()) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        debug!(
            method = %asked.method,
            target = %asked.target,
            status = response.status().as_u16(),
            duration = ?started.elapsed(),
            "request"
        );
        response
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        scope: &Scope,
    ) -> Result<Response<ResponseBody>, Error> {
        if request.method() == Method::CONNECT && matches!(scope, Scope::Proxy) {
            return tunnel::open(self, request).await;
        }
        let response = self
            .forwarder
            .forward(request, scope, &self.policy, &self.lifetime)
            .await?;
        Ok(response.map(Either::Left))
    }
}

/// What is remembered of a request until its end.
struct Asked {
    method: Method,
    target: Loggable,
    version: Version,
    upgrade: bool,
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        Self {
            method: request.method().clone(),
            target: Loggable::new(request.uri()),
            version: request.version(),
            upgrade: request.headers().contains_key(UPGRADE),
        }
    }

    /// RFC 9112 §9.3: "A proxy server MUST NOT maintain a persistent connection with an HTTP/1.0
    /// client". And what follows a CONNECT or an Upgrade that was not accepted may be meant for
    /// another protocol, so it is not read as a request.
    fn ends_the_connection(&self, status: StatusCode) -> bool {
        match self.version {
            Version::HTTP_10 => true,
            Version::HTTP_11 if self.method == Method::CONNECT => !status.is_success(),
            Version::HTTP_11 => self.upgrade && status != StatusCode::SWITCHING_PROTOCOLS,
            _ => false,
        }
    }
}

fn refuse(error: &Error, asked: &Asked) -> Response<ResponseBody> {
    let target = &asked.target;
    if error.status().is_server_error() {
        warn!(%target, %error, "request failed");
    } else {
        info!(%target, %error, "request refused");
    }
    error.to_response().map(Either::Right)
}
