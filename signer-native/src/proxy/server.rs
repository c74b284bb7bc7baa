//! The requests of clients.

use super::credentials::Credentials;
use super::error::{Error, Malformed};
use super::forward::{Forwarder, ResponseBody};
use super::lifetime::Lifetime;
use super::log::Loggable;
use super::target::Scope;
use super::{Settings, tunnel};
use crate::admin::{Metrics, Outcome};
use crate::interception::Interceptor;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Either;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Instant;
use tracing::{debug, info, warn};

/// What all connections share.
pub(super) struct Server {
    pub(super) forwarder: Forwarder,
    pub(super) interceptor: Option<Interceptor>,
    pub(super) credentials: Option<Credentials>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: Settings,
    pub(super) lifetime: Lifetime,
}

impl Server {
    /// Answers a request, whatever happens.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        scope: &Scope,
        refused: Option<Malformed>,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let asked = Asked::of(&request);
        let responded = match refused {
            None => Arc::clone(&self).respond(request, scope).await,
            Some(problem) => Err(Error::Malformed(problem)),
        };
        let (mut response, outcome) = responded.unwrap_or_else(|error| refuse(&error, &asked));
        self.metrics.request(outcome);
        if asked.ends_the_connection(response.status()) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        if asked.version == Version::HTTP_10 {
            // hyper would say keep-alive as well.
            *response.version_mut() = Version::HTTP_10;
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
    ) -> Result<(Response<ResponseBody>, Outcome), Error> {
        if request.version() == Version::HTTP_2 {
            self.check_size(request.headers())?;
        }
        let to_proxy = matches!(scope, Scope::Proxy);
        if let (true, Some(credentials)) = (to_proxy, &self.credentials) {
            credentials.check(request.headers())?;
        }
        if to_proxy && request.method() == Method::CONNECT {
            return tunnel::open(self, request).await;
        }
        let (response, outcome) = self
            .forwarder
            .forward(request, scope, &self.lifetime)
            .await?;
        Ok((response.map(Either::Left), outcome))
    }

    /// Of HTTP/2; as RFC 9113 §6.5.2 counts it, without the pseudo-header fields. The HTTP library
    /// lets twice as much pass, since its own refusal has no reason in it.
    fn check_size(&self, headers: &HeaderMap) -> Result<(), Error> {
        let lengths = (headers.iter()).map(|(name, value)| name.as_str().len() + value.len() + 32);
        if lengths.sum::<usize>() > self.settings.max_header_size {
            return Err(Error::Malformed(Malformed::TooLarge));
        }
        Ok(())
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
            Version::HTTP_10 | Version::HTTP_11 if self.method == Method::CONNECT => {
                !status.is_success()
            }
            Version::HTTP_10 => true,
            Version::HTTP_11 => self.upgrade && status != StatusCode::SWITCHING_PROTOCOLS,
            _ => false,
        }
    }
}

fn refuse(error: &Error, asked: &Asked) -> (Response<ResponseBody>, Outcome) {
    let target = &asked.target;
    let outcome = if error.status().is_server_error() {
        warn!(%target, %error, "request failed");
        Outcome::Failed
    } else {
        info!(%target, %error, "request refused");
        Outcome::Refused
    };
    (error.to_response().map(Either::Right), outcome)
}
