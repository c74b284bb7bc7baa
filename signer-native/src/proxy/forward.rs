//! One request: from the client, signed, to its origin server, and the response back.

use super::Settings;
use super::error::Error;
use super::hop_by_hop;
use super::target::Target;
use crate::signing::RequestSigner;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jwt_core::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::{debug, info, warn};

/// What goes back to the client: the upstream's body as it comes, or a text of ours.
pub(super) type ResponseBody = Either<Incoming, Full<Bytes>>;

/// Signs and forwards requests, over connections that it keeps and reuses.
#[derive(Debug)]
pub(super) struct Forwarder {
    client: Client<HttpConnector, Incoming>,
    signer: Arc<RequestSigner>,
}

impl Forwarder {
    pub(super) fn new(signer: Arc<RequestSigner>, settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .http1_preserve_header_case(true)
            .http1_title_case_headers(true)
            .build(connector);
        Self { client, signer }
    }

    /// Answers a request, whatever happens.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let started = Instant::now();
        let method = request.method().clone();
        let uri = request.uri().clone();
        let version = request.version();
        let mut response = match self.forward(request).await {
            Ok(response) => response.map(Either::Left),
            Err(error) => refuse(&error, &uri),
        };
        if version == Version::HTTP_10 {
            close_after(&mut response);
        }
        debug!(
            %method,
            target = %Loggable(&uri),
            status = response.status().as_u16(),
            duration = ?started.elapsed(),
            "request"
        );
        response
    }

    /// Dropped when the client goes away, and the upstream request with it.
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Error> {
        let target = Target::of(&request)?;
        let request = self.sign(request, &target)?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| Error::from_client(target.authority.clone(), &error))?;
        pass_back(response, target)
    }

    /// The request as the origin server gets it.
    fn sign(
        &self,
        mut request: Request<Incoming>,
        target: &Target,
    ) -> Result<Request<Incoming>, Error> {
        if let Some(coding) = hop_by_hop::unknown_transfer_coding(request.headers()) {
            return Err(Error::RequestTransferCoding(coding));
        }
        let authorization = self.signer.authorization(&target.audience, now())?;
        hop_by_hop::from_request(request.headers_mut());
        let unknown_length = request.body().size_hint().exact().is_none();
        let headers = request.headers_mut();
        delimit(headers, unknown_length);
        // After the removal: a client cannot have these two taken off by nominating them.
        headers.insert(HOST, target.host()?);
        headers.insert(AUTHORIZATION, authorization);
        *request.uri_mut() = target.uri.clone();
        // RFC 9112 §2.3: "Intermediaries that process HTTP messages […] MUST send their own
        // HTTP-version in forwarded messages".
        *request.version_mut() = Version::HTTP_11;
        Ok(request)
    }
}

/// The response as the client gets it.
fn pass_back(
    mut response: Response<Incoming>,
    target: Target,
) -> Result<Response<Incoming>, Error> {
    // RFC 9110 §15.2.2: 101 accepts an Upgrade, and none is ever sent.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::SwitchedProtocols(target.authority));
    }
    if let Some(coding) = hop_by_hop::unknown_transfer_coding(response.headers()) {
        return Err(Error::ResponseTransferCoding(target.authority, coding));
    }
    hop_by_hop::from_response(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}

/// RFC 9112 §6.3: without Content-Length or Transfer-Encoding a request has no body. hyper adds
/// what is needed, except on methods that seldom have one: a GET would lose its chunked body.
fn delimit(headers: &mut HeaderMap, unknown_length: bool) {
    if unknown_length && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// RFC 9112 §9.3: "A proxy server MUST NOT maintain a persistent connection with an HTTP/1.0
/// client".
fn close_after(response: &mut Response<ResponseBody>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

fn refuse(error: &Error, uri: &Uri) -> Response<ResponseBody> {
    let target = Loggable(uri);
    if error.status().is_server_error() {
        warn!(%target, %error, "request failed");
    } else {
        info!(%target, %error, "request refused");
    }
    error.to_response().map(Either::Right)
}

fn now() -> Timestamp {
    // A clock before 1970 gives tokens that every verifier refuses, which is right.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_unix(since_epoch.unwrap_or_default())
}

/// A request target without user information and query, either of which may be secret.
struct Loggable<'a>(&'a Uri);

impl fmt::Display for Loggable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(formatter, "{scheme}://")?;
        }
        if let Some(authority) = self.0.authority() {
            let after_userinfo = authority.as_str().rsplit('@').next();
            formatter.write_str(after_userinfo.unwrap_or_default())?;
        }
        formatter.write_str(self.0.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_neither_user_information_nor_query() {
        let shown = |uri: &str| Loggable(&uri.parse().unwrap()).to_string();
        assert_eq!(
            shown("http://user:pass@a.test:81/path?access_token=x"),
            "http://a.test:81/path"
        );
        assert_eq!(shown("user:pass@a.test:443"), "a.test:443");
        assert_eq!(shown("/path?access_token=x"), "/path");
    }
}
