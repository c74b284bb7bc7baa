//! PUT and DELETE of a key: from HTTP to [`crate::publication`], and back.

use super::body::Body;
use super::client::{self, Peer};
use super::routes::{Service, error};
use crate::publication::{self, Denied, Publication, Published};
use crate::store::Source;
use axum::Extension;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jwt_core::key::KeyName;
use jwt_core::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

/// What the owner of a key plans for it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Terms {
    /// Seconds since 1970.
    expiration: Option<i64>,
    /// Seconds.
    rotation: Option<u32>,
}

impl Terms {
    fn expires(&self) -> Result<Option<Timestamp>, Denied> {
        expires(self.expiration)
    }
}

pub(super) fn expires(expiration: Option<i64>) -> Result<Option<Timestamp>, Denied> {
    let in_range = |seconds| {
        Timestamp::from_seconds(seconds)
            .ok_or_else(|| Denied::Malformed("the expiration is out of range".into()))
    };
    expiration.map(in_range).transpose()
}

pub(super) async fn put_key(
    State(it): State<Service>,
    Path((service, kid)): Path<(String, String)>,
    terms: Result<Query<Terms>, QueryRejection>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Body(jwk): Body,
) -> Response {
    let outcome = blocking(move || {
        let Query(terms) = terms.map_err(|problem| Denied::Malformed(problem.body_text()))?;
        let now = it.clock.now();
        let name = key_name(service, kid)?;
        let publication = Publication::new(name, &jwk, terms.expires()?, terms.rotation, now)?;
        let source = peer.map_or_else(Source::unknown, |Extension(peer)| {
            client::source(peer, &headers, it.trusted_hops)
        });
        let publication = publication.from_source(source);
        let token = bearer(&headers)?;
        let outcome = publication::publish(&it.registry, &it.rules, &publication, token, now)?;
        let (key, thumbprint) = (publication.name(), publication.thumbprint());
        let source = publication.source();
        tracing::info!(%key, thumbprint, %source, ?outcome, "published");
        Ok(outcome)
    });
    match outcome.await {
        Ok(Published::Approved) => Json(json!({"state": "approved"})).into_response(),
        Ok(Published::AwaitsApproval) => {
            let body = Json(json!({"state": "pending"}));
            (StatusCode::ACCEPTED, body).into_response()
        }
        Err(denied) => deny(&denied),
    }
}

pub(super) async fn delete_key(
    State(it): State<Service>,
    Path((service, kid)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body,
) -> Response {
    let outcome = blocking(move || {
        let name = key_name(service, kid)?;
        let token = bearer(&headers)?;
        let now = it.clock.now();
        publication::revoke(&it.registry, &it.rules, &name, &body, token, now)?;
        tracing::info!(key = %name, "revoked by its owner");
        Ok(())
    });
    match outcome.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(denied) => deny(&denied),
    }
}

pub(super) fn key_name(service: String, kid: String) -> Result<KeyName, Denied> {
    let problem = "a service and a key id have 1 to 1024 bytes";
    KeyName::new(service, kid).map_err(|_| Denied::Malformed(problem.into()))
}

/// RFC 6750 §2.1: `Authorization: Bearer <token>`; the scheme's case is of no importance
/// (RFC 9110 §11.1).
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Denied> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(no_token());
    };
    let value = value.to_str().map_err(|_| no_token())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(no_token)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim_start())
    } else {
        Err(no_token())
    }
}

fn no_token() -> Denied {
    Denied::Malformed("expected one header \"Authorization: Bearer <JWT>\"".into())
}

/// What waits for the disk, or for arithmetic, leaves the asynchronous threads alone.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Denied> + Send + 'static,
) -> Result<T, Denied> {
    let finished = tokio::task::spawn_blocking(work).await;
    finished.unwrap_or(Err(Denied::Failed))
}

/// The one place that says which failure is whose.
pub(super) fn deny(denied: &Denied) -> Response {
    let status = match denied {
        Denied::Malformed(_) => StatusCode::BAD_REQUEST,
        Denied::Forbidden(_) => StatusCode::FORBIDDEN,
        Denied::Unknown => StatusCode::NOT_FOUND,
        Denied::Conflict(_) => StatusCode::CONFLICT,
        Denied::Full => StatusCode::SERVICE_UNAVAILABLE,
        Denied::Storage(problem) => {
            tracing::error!(error = %problem, "keys cannot be kept");
            StatusCode::SERVICE_UNAVAILABLE
        }
        Denied::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, &denied.to_string())
}
