//! The body of a request.

use super::routes::error;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use std::time::Duration;
use tokio::time::timeout;

/// How long a client may take for a body, which is a few kilobytes at most.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// All of it, arrived in time.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match timeout(BODY_READ_TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(error(rejection.status(), &rejection.body_text())),
            Err(_) => Err(error(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::channel::Channel;
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_refused() {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        sender.send_data(Bytes::from_static(b"{")).await.unwrap();
        let request = Request::new(axum::body::Body::new(body));
        let read = timeout(Duration::from_secs(60), Body::from_request(request, &()));
        let refusal = read.await.unwrap().err().unwrap();
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
