//! The calls of the protocol, and how each answer looks on the wire.

use super::metrics::Metrics;
use super::recording::{self, RequestLog};
use super::{Options, writes};
use crate::clock::Clock;
use crate::jwk::PublicJwk;
use crate::publication::Rules;
use crate::store::{Lookup, Registry};
use axum::Json;
use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, Path, RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jwt_core::time::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// No key, and no JWK around it, is longer in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

/// All routes. Requests come by the log first, so that it sees refusals too.
pub(super) fn router(
    registry: Registry,
    rules: Rules,
    options: &Options,
    log: RequestLog,
) -> Router {
    let base = options.base_path.prefix();
    let service = Service {
        metrics: log.metrics(),
        registry,
        rules: Arc::new(rules),
        max_age: options.max_age,
        trusted_hops: options.trusted_hops,
        clock: options.clock,
    };
    Router::new()
        // Segments of the base path may begin with `:` or `*`, which older axum gave a meaning.
        .without_v07_checks()
        .route(&format!("{base}/services/{{service}}/keys"), get(list_keys))
        .route(
            &format!("{base}/services/{{service}}/keys/{{kid}}"),
            get(get_key).put(writes::put_key).delete(writes::delete_key),
        )
        // They tell about the process, not about what is behind the base path.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(refuse_malformed_ids))
        .layer(middleware::from_fn_with_state(log, recording::record))
        .layer(middleware::from_fn_with_state(options.clock, put_date))
        .with_state(service)
}

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) registry: Registry,
    pub(super) rules: Arc<Rules>,
    pub(super) clock: Clock,
    pub(super) trusted_hops: usize,
    max_age: Duration,
    metrics: Arc<Metrics>,
}

async fn metrics(State(it): State<Service>) -> Response {
    let (registry, now) = (it.registry.clone(), it.clock.now());
    // A disk that cannot be written leaves the numbers a little older.
    let _ = writes::blocking(move || Ok(registry.sweep(now)?)).await;
    let text = it.metrics.render(&it.registry);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// RFC 9110 §6.6.1: an origin server with a clock sends `Date`. Clients read it to find out
/// whose clock is wrong.
async fn put_date(State(clock): State<Clock>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let date = httpdate::fmt_http_date(clock.system_time());
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn list_keys(State(it): State<Service>, Path(service): Path<String>) -> Json<Value> {
    let keys = it.registry.keys(&service, it.clock.now());
    let keys: Vec<Value> = keys.iter().map(PublicJwk::to_json).collect();
    Json(json!({ "keys": keys }))
}

async fn get_key(
    State(it): State<Service>,
    Path((service, kid)): Path<(String, String)>,
) -> Response {
    let now = it.clock.now();
    match it.registry.find(&service, &kid, now) {
        Lookup::Approved { jwk, expires } => {
            let max_age = max_age(it.max_age, expires, now);
            let cache_control = format!("max-age={}", max_age.as_secs());
            (
                [(header::CACHE_CONTROL, cache_control)],
                Json(jwk.to_json()),
            )
                .into_response()
        }
        Lookup::Pending => error(StatusCode::CONFLICT, "the key awaits approval"),
        Lookup::Expired => error(StatusCode::FORBIDDEN, "the key has expired"),
        Lookup::Unknown => error(StatusCode::NOT_FOUND, "the key is unknown"),
    }
}

async fn not_found() -> Response {
    let message = "no such resource: keys are at services/<service>/keys/<key id>";
    error(StatusCode::NOT_FOUND, message)
}

/// Answers 405; the router adds the `Allow` header (RFC 9110 §15.5.6).
pub(super) async fn method_not_allowed() -> Response {
    let message = "the method is not allowed here: see the Allow header";
    error(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// Service and key id are percent-encoded UTF-8 (RFC 3986 §2.1). The router would take a stray
/// `%` for itself, which hides the mistake of a client that encodes nothing.
pub(super) async fn refuse_malformed_ids(
    params: Result<RawPathParams, RawPathParamsRejection>,
    uri: Uri,
    request: Request,
    next: Next,
) -> Response {
    let no_utf8 = matches!(
        params,
        Err(RawPathParamsRejection::InvalidUtf8InPathParam(_))
    );
    if no_utf8 || has_stray_percent(uri.path()) {
        let message = "a service or key id in the path is no percent-encoded UTF-8";
        return error(StatusCode::BAD_REQUEST, message);
    }
    next.run(request).await
}

/// Whether a percent sign begins no escape.
pub(super) fn has_stray_percent(path: &str) -> bool {
    let is_escape = |rest: &str| {
        let mut hex = rest.bytes().take(2).filter(u8::is_ascii_hexdigit);
        hex.next().is_some() && hex.next().is_some()
    };
    path.split('%').skip(1).any(|rest| !is_escape(rest))
}

/// Nobody may keep a key beyond its own expiry.
fn max_age(configured: Duration, expires: Option<Timestamp>, now: Timestamp) -> Duration {
    expires.map_or(configured, |expires| configured.min(expires.since(now)))
}

pub(super) fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_cached_no_longer_than_it_lives() {
        let at = |seconds| Timestamp::from_seconds(seconds);
        let now = at(1000).unwrap();
        let configured = Duration::from_secs(600);
        assert_eq!(max_age(configured, None, now), configured);
        assert_eq!(max_age(configured, at(9000), now), configured);
        assert_eq!(max_age(configured, at(1030), now), Duration::from_secs(30));
        assert_eq!(max_age(configured, at(1000), now), Duration::ZERO);
        // A fraction of a second is not a second.
        let almost = now + Duration::from_millis(999);
        assert_eq!(max_age(configured, Some(almost), now).as_secs(), 0);
    }

    #[test]
    fn an_escape_is_a_percent_sign_and_two_hex_digits() {
        for path in ["", "/", "/a%2Fb%2f", "/%25zz"] {
            assert!(!has_stray_percent(path), "{path}");
        }
        for path in ["%", "/100%", "/%2", "/%zz", "/%2Z", "/%%25", "/%+1"] {
            assert!(has_stray_percent(path), "{path}");
        }
    }
}
