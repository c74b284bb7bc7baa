//! The body of a request on its way to the server.

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Passes as it comes, less what does not belong into a trailer section.
#[derive(Debug)]
pub(super) struct RequestBody(Incoming);

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(body)
    }
}

/// RFC 9110 §6.5.1: fields for framing, routing and authentication must not be sent in trailers.
/// A server that merged them would find a second Authorization, not ours.
static NEVER_IN_TRAILERS: [HeaderName; 9] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    HOST,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.0)
            .poll_frame(context)
            .map_ok(|mut frame| {
                if let Some(trailers) = frame.trailers_mut() {
                    clean(trailers);
                }
                frame
            })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn clean(trailers: &mut HeaderMap) {
    for name in &NEVER_IN_TRAILERS {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_authorization_comes_after_the_body() {
        let names = [
            "authorization",
            "cookie",
            "host",
            "proxy-authorization",
            "te",
        ];
        let field = |name: &str| (name.parse().unwrap(), "x".parse().unwrap());
        let mut trailers: HeaderMap = names.into_iter().map(field).collect();
        trailers.append("authorization", "y".parse().unwrap());
        trailers.append("x-sum", "42".parse().unwrap());
        clean(&mut trailers);
        let left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum"]);
    }
}
