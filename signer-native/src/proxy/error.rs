//! What goes wrong with one request, and how the client is told.

use super::egress::{Barrier, MOST_OF_A_RESPONSE_HEAD, NoPlace};
use crate::signing::SigningError;
use http::header::{CONTENT_TYPE, PROXY_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy;
use std::error::Error as _;

/// Why a request was not forwarded, or got no answer.
///
/// The text goes to the client: it names the server asked for, never a token, a key or the user
/// information of a URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(
        "this is a forward proxy: the request target must be an absolute http:// or https:// URL, \
         as clients send it that are told to use a proxy"
    )]
    NotProxyRequest,
    #[error(
        "CONNECT needs a certificate authority, so https:// cannot go through this proxy: set \
         ca_key_file and ca_crt_file"
    )]
    NoAuthority,
    #[error("a CONNECT inside a tunnel is not supported")]
    NestedConnect,
    #[error("{0:?} is asked for on a connection to {1}")]
    Misdirected(String, Authority),
    #[error("the policy of this proxy denies requests to {0}")]
    Denied(Authority),
    #[error("{0} is this proxy itself")]
    Loop(Authority),
    #[error(
        "{0} is the key registry {1}: with a token for it a client could take over the keys of \
         this service"
    )]
    Registry(Authority, String),
    #[error(
        "{0} has the address of the key registry {1}: with a token for it a client could take over \
         the keys of this service; where it is another server, a rule of hosts says so with \
         \"beside_registry: true\""
    )]
    RegistryAddress(Authority, String),
    #[error("{0} is {1}, and no rule of hosts names it")]
    Guarded(Authority, &'static str),
    #[error("the scheme {0:?} is not supported, only \"http\" and \"https\"")]
    Scheme(String),
    #[error("the request target has no valid host and port")]
    Authority,
    #[error("a request needs exactly one Host header")]
    Host,
    #[error(transparent)]
    Malformed(Malformed),
    #[error("the header {0} becomes a claim, so it must come once and be text")]
    ClaimHeader(HeaderName),
    #[error("this proxy wants to know who asks: user and password, as HTTP Basic credentials")]
    ProxyAuthentication,
    #[error("the request body broke off: {0}")]
    RequestBody(String),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error("no connection to {0}: {1}; try again later")]
    NoPlace(Authority, NoPlace),
    #[error("cannot connect to {0}: {1}")]
    Unreachable(Authority, String),
    #[error("no answer from {0}: {1}")]
    NoAnswer(Authority, String),
    #[error("the header section of the response from {0} is larger than {1} bytes")]
    LargeResponse(Authority, usize),
    #[error("{0} answered with the transfer coding {1:?}, which nobody asked for")]
    ResponseTransferCoding(Authority, String),
    #[error("{0} switched protocols, which nobody asked for")]
    SwitchedProtocols(Authority),
}

/// What makes a request ambiguous, see [`super::framing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a request must not have both Content-Length and Transfer-Encoding")]
    BothLengths,
    #[error("a request must have one Content-Length at most, and that a number")]
    Lengths,
    #[error("the only Transfer-Encoding of a request may be \"chunked\"")]
    TransferCoding,
    #[error("a header field must not be folded over several lines")]
    Fold,
    #[error("a header field needs a name, with nothing between it and the colon")]
    Name,
    #[error(
        "the lines of a header section end with CRLF, and neither of the two nor NUL is in them"
    )]
    LineEnd,
    #[error("a request begins with a method, a target and HTTP/1.1, with one space between them")]
    RequestLine,
    #[error("the method of a request is a token")]
    Method,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    #[error(
        "the request target is not a URL: it has a space or a control character in it, a host that \
         cannot be one, or more than 65534 bytes"
    )]
    Target,
    #[error("a header field must not have control characters in its value")]
    Value,
    #[error("a CONNECT must not have content")]
    Connect,
    #[error("the header section of the request is larger than limits.header_size")]
    TooLarge,
}

impl Error {
    /// What the HTTP client says when `authority` did not answer, and what was wrong with the body
    /// that the client sent.
    pub(super) fn from_client(
        authority: Authority,
        error: &legacy::Error,
        body: Option<String>,
    ) -> Self {
        // The error itself only says "client error".
        let cause = error.source().unwrap_or(error);
        if let Some(reason) = body {
            Self::RequestBody(reason)
        } else if error.is_connect() {
            Self::from_dialing(authority, cause)
        } else if is_too_large(cause) {
            Self::LargeResponse(authority, MOST_OF_A_RESPONSE_HEAD)
        } else {
            Self::NoAnswer(authority, reasons(cause))
        }
    }

    /// What goes wrong while a connection to `authority` is opened.
    pub(super) fn from_dialing(authority: Authority, error: &Cause) -> Self {
        if let Some(barrier) = chain(error).find_map(|cause| cause.downcast_ref::<Barrier>()) {
            return Self::from_barrier(authority, barrier);
        }
        match chain(error).find_map(|cause| cause.downcast_ref::<NoPlace>()) {
            Some(no_place) => Self::NoPlace(authority, *no_place),
            None => Self::Unreachable(authority, reasons(error)),
        }
    }

    /// What keeps requests from `authority`.
    pub(super) fn from_barrier(authority: Authority, barrier: &Barrier) -> Self {
        match barrier {
            Barrier::Loop => Self::Loop(authority),
            Barrier::Denied => Self::Denied(authority),
            Barrier::Registry(registry) => Self::Registry(authority, registry.clone()),
            Barrier::RegistryAddress(registry) => {
                Self::RegistryAddress(authority, registry.clone())
            }
            Barrier::Admin => Self::Guarded(authority, "the admin address of this process"),
            Barrier::LinkLocal => {
                Self::Guarded(authority, "at a link-local or cloud metadata address")
            }
            Barrier::Authority => Self::Authority,
            Barrier::LookUp(_) | Barrier::NoAddress => {
                Self::Unreachable(authority, barrier.to_string())
            }
        }
    }

    /// The one place that says which failure is whose: 4xx the client's, 502 and 503 ours.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(Malformed::TooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotProxyRequest
            | Self::Scheme(_)
            | Self::Authority
            | Self::Host
            | Self::Loop(_)
            | Self::Malformed(_)
            | Self::ClaimHeader(_)
            | Self::NestedConnect
            | Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::NoAuthority
            | Self::Denied(_)
            | Self::Registry(..)
            | Self::RegistryAddress(..)
            | Self::Guarded(..) => StatusCode::FORBIDDEN,
            Self::NoPlace(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misdirected(..) => StatusCode::MISDIRECTED_REQUEST,
            Self::ProxyAuthentication => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Self::Signing(_)
            | Self::Unreachable(..)
            | Self::NoAnswer(..)
            | Self::LargeResponse(..)
            | Self::ResponseTransferCoding(..)
            | Self::SwitchedProtocols(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The response that tells the client.
    pub(super) fn to_response(&self) -> Response<Full<Bytes>> {
        let text = format!("jwtproxy: unable to sign request: {self}\n");
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Self::ProxyAuthentication = self {
            // RFC 9110 §11.7.1: "A proxy MUST send at least one Proxy-Authenticate header field in
            // each 407 (Proxy Authentication Required) response that it generates."
            let challenge = HeaderValue::from_static("Basic realm=\"jwtproxy\", charset=\"UTF-8\"");
            response.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
        }
        response
    }
}

type Cause = dyn std::error::Error + 'static;

/// An error and all that led to it.
fn chain(error: &Cause) -> impl Iterator<Item = &Cause> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

fn reasons(error: &Cause) -> String {
    let reasons: Vec<_> = chain(error).map(ToString::to_string).collect();
    reasons.join(": ")
}

/// Of an answer over HTTP/1.
fn is_too_large(error: &Cause) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse_too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_failure_is_plain_text_with_the_prefix() {
        let response = Error::from(SigningError::Random).to_response();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"jwtproxy: unable to sign request: the system gave no random"));
    }
}
