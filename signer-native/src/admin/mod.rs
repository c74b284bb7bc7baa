//! The admin address: whether the signer lives, whether it is ready, and what it counts.
//!
//! It has a port of its own, since what it tells is for operators and not for clients.

mod metrics;

pub(crate) use metrics::Open;
pub use metrics::{Metrics, Outcome};

use crate::proxy::next_connection;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use transport::connections::{Connections, Limits};

/// Whether requests can be signed now.
#[derive(Clone)]
pub struct Readiness {
    has_key: Arc<dyn Fn() -> bool + Send + Sync>,
    shutting_down: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready while `has_key` says that a key is active.
    pub fn new(has_key: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            has_key: Arc::new(has_key),
            shutting_down: Arc::default(),
        }
    }

    /// From now on never again: whoever balances load sends nothing more.
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
    }

    fn state(&self) -> Result<(), &'static str> {
        if self.shutting_down.load(Ordering::SeqCst) {
            return Err("shutting down");
        }
        if !(self.has_key)() {
            return Err("no key is active");
        }
        Ok(())
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Readiness")
            .field(&self.state())
            .finish()
    }
}

/// How long an admin connection may take for the header section of a request, or wait for one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Operators are few, and must not be locked out by connections that say nothing.
const LIMITS: Limits = Limits {
    connections: 64,
    silent_per_source: 16,
};

/// Serves the admin address until the future is dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness) {
    let limited = Connections::new(LIMITS);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, admitted) = next_connection(&listener, &limited) => {
                let (metrics, readiness) = (Arc::clone(&metrics), readiness.clone());
                let heard = Arc::clone(&admitted);
                let service = service_fn(move |request| {
                    heard.head_arrived();
                    let response = answer(&request, &metrics, &readiness);
                    async { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    tokio::select! {
                        _ = connection => {}
                        () = admitted.must_close() => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "alive\n"),
        "/readyz" => match readiness.state() {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        },
        "/metrics" => {
            let mut response = text(StatusCode::OK, &metrics.encoded());
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let kind = HeaderValue::from_static(kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "/healthz, /readyz or /metrics\n"),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_or_at_the_end_the_signer_is_not_ready() {
        let key = Arc::new(AtomicBool::new(false));
        let readiness = Readiness::new({
            let key = Arc::clone(&key);
            move || key.load(Ordering::SeqCst)
        });
        assert_eq!(readiness.state(), Err("no key is active"));
        key.store(true, Ordering::SeqCst);
        assert_eq!(readiness.state(), Ok(()));
        readiness.shut_down();
        assert_eq!(readiness.state(), Err("shutting down"));
    }
}
