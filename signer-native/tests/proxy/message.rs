//! Messages as the tests make and read them.

use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(crate) fn full(text: &'static str) -> Body {
    Full::from(text).boxed_unsync()
}

/// A body that is sent while the sender says more.
pub(crate) fn streamed() -> (Sender<Bytes>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, body.boxed_unsync())
}

/// A GET whose Host is not to be believed.
pub(crate) fn get(url: &str) -> Request<Body> {
    request("GET", url, empty())
}

pub(crate) fn request(method: &str, url: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(url)
        .header("Host", "not-the-target.test")
        .body(body)
        .unwrap()
}

/// The data of the next frame.
pub(crate) async fn next_chunk(body: &mut Incoming) -> Bytes {
    let frame = within(body.frame()).await.unwrap().unwrap();
    frame.into_data().unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = within(response.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Ends a test that would hang, with its name.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this should have happened at once")
}
