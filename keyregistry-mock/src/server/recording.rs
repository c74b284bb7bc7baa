//! Which requests came, for tests to ask.

use super::metrics::Metrics;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A request and the status it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// Path and query as they arrived, nothing decoded.
    pub target: String,
    /// The service, decoded, when the path names one.
    pub service: Option<String>,
    /// The key id, decoded, when the path names one.
    pub kid: Option<String>,
    /// The status of the answer.
    pub status: StatusCode,
}

/// The requests so far, if they are kept. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct RequestLog {
    requests: Option<Arc<Mutex<Vec<RecordedRequest>>>>,
    metrics: Arc<Metrics>,
}

impl RequestLog {
    pub(super) fn new(keep: bool) -> Self {
        Self {
            requests: keep.then(Arc::default),
            metrics: Arc::default(),
        }
    }

    /// The numbers of all requests, kept or not.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.lock()
            .map_or_else(Vec::new, |requests| requests.clone())
    }

    pub(super) fn key_requests(&self, service: &str, kid: &str) -> usize {
        let is_one = |request: &&RecordedRequest| {
            request.method == Method::GET
                && request.service.as_deref() == Some(service)
                && request.kid.as_deref() == Some(kid)
        };
        self.lock()
            .map_or(0, |requests| requests.iter().filter(is_one).count())
    }

    fn add(&self, request: RecordedRequest) {
        self.metrics.count(&request.method, request.status);
        if let Some(mut requests) = self.lock() {
            requests.push(request);
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Vec<RecordedRequest>>> {
        let requests = self.requests.as_ref()?;
        Some(requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Middleware that records a request and its answer.
pub(super) async fn record(
    State(log): State<RequestLog>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let target = request.uri().path_and_query().map_or("", |it| it.as_str());
    let target = target.to_owned();
    let response = next.run(request).await;

    let status = response.status();
    tracing::debug!(%method, target, status = status.as_u16(), "request");
    log.add(RecordedRequest {
        method,
        target,
        service: param(params.as_ref(), "service"),
        kid: param(params.as_ref(), "kid"),
        status,
    });
    response
}

fn param<E>(params: Result<&RawPathParams, E>, name: &str) -> Option<String> {
    let mut params = params.ok()?.iter();
    let (_, value) = params.find(|(key, _)| *key == name)?;
    Some(value.to_owned())
}
