//! The other listener: for those who approve, revoke and import keys, with a token.

use super::body::Body;
use super::connections::{self, Listening};
use super::routes::{self, MAX_BODY, error};
use super::writes::{bearer, blocking, deny, expires, key_name};
use crate::clock::Clock;
use crate::error::{Error, Unexpected};
use crate::publication::{self, Denied, Publication, PurgeFilter};
use crate::store::{KeyState, NamedKey, Registry};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jwt_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What those who manage keys must show.
#[derive(Clone)]
pub struct AdminToken(Arc<str>);

/// Shorter ones can be guessed.
const MIN_TOKEN_LENGTH: usize = 16;

impl AdminToken {
    /// The text of a file, without white space around it.
    pub fn new(text: &str) -> Result<Self, Unexpected> {
        let token = text.trim();
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() < MIN_TOKEN_LENGTH || !is_visible {
            return Err(Unexpected::new(
                format!("a token of {} bytes", token.len()),
                format!("at least {MIN_TOKEN_LENGTH} visible ASCII characters on one line"),
            ));
        }
        Ok(Self(token.into()))
    }

    /// The value of `Authorization` that shows it.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn is(&self, shown: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), shown.as_bytes()).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// Those who manage keys are few.
const MAX_CONNECTIONS: usize = 64;

/// A running admin listener. It stops when dropped.
#[derive(Debug)]
pub struct AdminServer {
    listening: Listening,
}

impl AdminServer {
    /// Serves on an address; on port 0 the operating system chooses the port.
    pub async fn start(
        address: SocketAddr,
        registry: Registry,
        token: AdminToken,
        clock: Clock,
    ) -> Result<Self, Error> {
        let bound = connections::bind(address).await?;
        let router = router(Admin { registry, clock }, token);
        Ok(Self {
            listening: bound.serve(router, None, MAX_CONNECTIONS),
        })
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Stops, as [`super::Server::shutdown`] does.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

#[derive(Clone)]
struct Admin {
    registry: Registry,
    clock: Clock,
}

fn router(admin: Admin, token: AdminToken) -> Router {
    let key = "/services/{service}/keys/{kid}";
    Router::new()
        .route("/keys", get(list))
        .route(key, get(show).put(import).delete(revoke))
        .route(&format!("{key}/approve"), post(approve))
        .route("/purge", post(purge))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "no such resource") })
        .method_not_allowed_fallback(routes::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(routes::refuse_malformed_ids))
        .layer(middleware::from_fn_with_state(token, demand_token))
        .with_state(admin)
}

async fn demand_token(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_ok_and(|shown| token.is(shown)) {
        return next.run(request).await;
    }
    // RFC 9110 §15.5.2: 401 comes with a challenge.
    let mut response = error(StatusCode::UNAUTHORIZED, "the admin token is required");
    let challenge = HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// No answer describes more keys.
const MAX_PAGE: usize = 1_000;

/// Which keys to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The name of the last key of the page before.
    #[serde(default)]
    after_service: String,
    #[serde(default)]
    after_kid: String,
    limit: Option<usize>,
}

/// A page of keys, and the name to go on from, if there are more.
async fn list(State(it): State<Admin>, page: Result<Query<Page>, QueryRejection>) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(problem) => return deny(&Denied::Malformed(problem.body_text())),
    };
    let limit = page.limit.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let keys = it.registry.page(
        &page.after_service,
        &page.after_kid,
        limit.saturating_add(1),
    );
    let now = it.clock.now();
    let shown: Vec<Value> = keys
        .iter()
        .take(limit)
        .map(|key| description(key, now))
        .collect();
    let last = keys.get(limit).and_then(|_| shown.last());
    let next = last.map(|key| json!({"after_service": key["service"], "after_kid": key["kid"]}));
    Json(json!({ "keys": shown, "next": next })).into_response()
}

async fn show(State(it): State<Admin>, Path((service, kid)): Path<(String, String)>) -> Response {
    let Some(key) = it.registry.get(&service, &kid) else {
        return unknown();
    };
    let jwk = key.jwk.to_json();
    let named = NamedKey { service, kid, key };
    let mut description = description(&named, it.clock.now());
    if let Some(members) = description.as_object_mut() {
        members.insert("jwk".into(), jwk);
    }
    Json(description).into_response()
}

/// Which key to approve.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    thumbprint: Option<String>,
}

async fn approve(
    State(it): State<Admin>,
    Path((service, kid)): Path<(String, String)>,
    approve: Result<Query<Approve>, QueryRejection>,
) -> Response {
    let outcome = blocking(move || {
        let Query(approve) = approve.map_err(|problem| Denied::Malformed(problem.body_text()))?;
        let thumbprint = approve.thumbprint.ok_or_else(|| {
            let problem = "expected ?thumbprint=, the RFC 7638 thumbprint of the key to approve: \
                           the id is what its publisher calls it";
            Denied::Malformed(problem.into())
        })?;
        let key = key_name(service, kid)?;
        publication::approve(&it.registry, &key, &thumbprint, it.clock.now())?;
        tracing::info!(%key, thumbprint, "approved by hand");
        Ok(true)
    });
    done(outcome.await)
}

async fn revoke(State(it): State<Admin>, Path((service, kid)): Path<(String, String)>) -> Response {
    let outcome = blocking(move || {
        let done = it.registry.remove(&service, &kid)?;
        tracing::info!(service, kid, done, "revoked by hand");
        Ok(done)
    });
    done(outcome.await)
}

/// On what terms to take a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    expiration: Option<i64>,
    #[serde(default)]
    restore: bool,
}

async fn import(
    State(it): State<Admin>,
    Path((service, kid)): Path<(String, String)>,
    terms: Result<Query<Import>, QueryRejection>,
    Body(jwk): Body,
) -> Response {
    let outcome = blocking(move || {
        let Query(terms) = terms.map_err(|problem| Denied::Malformed(problem.body_text()))?;
        let name = key_name(service, kid)?;
        let expires = expires(terms.expiration)?;
        let publication = Publication::new(name, &jwk, expires, None, it.clock.now())?;
        publication::import(&it.registry, &publication, terms.restore)?;
        let (key, thumbprint) = (publication.name(), publication.thumbprint());
        tracing::info!(%key, thumbprint, restore = terms.restore, "imported by hand");
        Ok(true)
    });
    done(outcome.await)
}

/// Which pending keys to remove.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    #[serde(default)]
    expired: bool,
    source: Option<String>,
    service: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

async fn purge(State(it): State<Admin>, wanted: Result<Query<Purge>, QueryRejection>) -> Response {
    let outcome = blocking(move || {
        let Query(wanted) = wanted.map_err(|problem| Denied::Malformed(problem.body_text()))?;
        let filter = PurgeFilter {
            expired: wanted.expired,
            source: wanted.source,
            service: wanted.service,
        };
        let now = it.clock.now();
        let keys = publication::purge(&it.registry, &filter, wanted.dry_run, now)?;
        let (count, dry_run) = (keys.len(), wanted.dry_run);
        tracing::info!(count, dry_run, ?filter, "purged by hand");
        let keys: Vec<Value> = keys.iter().map(|key| description(key, now)).collect();
        Ok(json!({ "keys": keys }))
    });
    match outcome.await {
        Ok(purged) => Json(purged).into_response(),
        Err(denied) => deny(&denied),
    }
}

fn done(outcome: Result<bool, Denied>) -> Response {
    match outcome {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => unknown(),
        Err(denied) => deny(&denied),
    }
}

fn unknown() -> Response {
    error(StatusCode::NOT_FOUND, "the key is unknown")
}

/// A key without its numbers.
fn description(named: &NamedKey, now: Timestamp) -> Value {
    let key = &named.key;
    let origin = key.origin.as_ref();
    let pending = origin.filter(|_| key.state == KeyState::Pending);
    json!({
        "service": named.service,
        "kid": named.kid,
        "state": key.state_name(now),
        "expires": key.expires.map(Timestamp::seconds),
        "rotation": key.rotation,
        "thumbprint": key.jwk.thumbprint(),
        "source": origin.map(|origin| origin.source.as_str()),
        "published": origin.map(|origin| origin.published.seconds()),
        "age": origin.map(|origin| now.since(origin.published).as_secs()),
        "pending_until": pending.map(|origin| origin.pending_until.seconds()),
    })
}
