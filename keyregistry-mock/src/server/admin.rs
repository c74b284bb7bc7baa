//! The other listener: for those who approve, revoke and import keys, with a token.

use super::body::Body;
use super::connections::{self, Listening};
use super::routes::{self, MAX_BODY, error};
use super::writes::{Terms, bearer, blocking, deny, key_name};
use crate::clock::Clock;
use crate::error::{Error, Unexpected};
use crate::publication::{self, Denied, Publication};
use crate::store::{NamedKey, Registry};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jwt_core::time::Timestamp;
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
            listening: bound.serve(router, None),
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

async fn list(State(it): State<Admin>) -> Json<Value> {
    let now = it.clock.now();
    let keys = it.registry.all();
    let keys: Vec<Value> = keys.iter().map(|key| description(key, now)).collect();
    Json(json!({ "keys": keys }))
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

async fn approve(
    State(it): State<Admin>,
    Path((service, kid)): Path<(String, String)>,
) -> Response {
    let outcome = blocking(move || {
        let done = it.registry.approve(&service, &kid)?;
        tracing::info!(service, kid, done, "approved by hand");
        Ok(done)
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

async fn import(
    State(it): State<Admin>,
    Path((service, kid)): Path<(String, String)>,
    terms: Result<Query<Terms>, QueryRejection>,
    Body(jwk): Body,
) -> Response {
    let outcome = blocking(move || {
        let Query(terms) = terms.map_err(|problem| Denied::Malformed(problem.body_text()))?;
        let name = key_name(service, kid)?;
        let publication = Publication::new(name, &jwk, terms.expires()?, None, it.clock.now())?;
        publication::import(&it.registry, &publication)?;
        tracing::info!(key = %publication.name(), "imported by hand");
        Ok(true)
    });
    done(outcome.await)
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
    json!({
        "service": named.service,
        "kid": named.kid,
        "state": key.state_name(now),
        "expires": key.expires.map(Timestamp::seconds),
        "rotation": key.rotation,
        "thumbprint": key.jwk.thumbprint(),
    })
}
