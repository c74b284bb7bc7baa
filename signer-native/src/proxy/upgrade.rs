//! WebSocket (RFC 6455), the one protocol that a request may switch to.
//!
//! Others are not passed on: behind `h2c` a client would go on with requests that nobody signs.

use super::lifetime::Lifetime;
use super::relay;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use transport::connections::{Connection, Work};

/// The client's side of an upgrade it has asked for.
#[derive(Debug)]
pub(super) struct Upgrade {
    client: OnUpgrade,
    idle_timeout: Duration,
    /// Of the client's connection, which stays in use.
    work: Option<Work>,
}

impl Upgrade {
    /// RFC 6455 §4.1: a GET of HTTP/1.1 with `Upgrade: websocket` and `Connection: Upgrade`.
    pub(super) fn wanted<B>(request: &mut Request<B>, idle_timeout: Duration) -> Option<Self> {
        let wanted = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && names(request.headers(), UPGRADE, "websocket")
            && names(request.headers(), CONNECTION, "upgrade");
        let admitted: Option<&Arc<Connection>> = request.extensions().get();
        let work = admitted.map(Connection::request);
        wanted.then(|| Self {
            work,
            client: hyper::upgrade::on(request),
            idle_timeout,
        })
    }

    /// Joins both sides once the client has the response, until both close.
    pub(super) fn join<B>(self, response: &mut Response<B>, lifetime: &Lifetime) {
        let upstream = hyper::upgrade::on(&mut *response);
        ask(response.headers_mut());
        lifetime.spawn(async move {
            let Ok(upstream) = upstream.await else { return };
            relay::join(self.client, TokioIo::new(upstream), self.idle_timeout).await;
            drop(self.work);
        });
    }
}

/// The two fields, as they were before the hop-by-hop ones were taken off.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
}

/// Whether a list-based field has that member.
fn names(headers: &HeaderMap, field: http::HeaderName, member: &str) -> bool {
    super::hop_by_hop::list(headers, &field)
        .any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
}
