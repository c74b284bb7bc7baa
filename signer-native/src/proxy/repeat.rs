//! Which requests are sent once more after a failure, so that the client does not notice it.
//!
//! Nothing goes out a second time that a server may have acted on, but for what RFC 9110 §9.2.2
//! permits:
//!
//! | failure | repeated |
//! |---|---|
//! | the request was not written | all methods |
//! | `REFUSED_STREAM` (RFC 9113 §8.7: "closed prior to any processing having occurred") | all methods |
//! | a GOAWAY with `NO_ERROR` for a stream above its last (§6.8: "were not or will not be processed") | all methods |
//! | a connection that was used before ends before the first byte of the answer | idempotent methods |
//!
//! A body goes out again if all that was read of it so far was kept.

use super::egress::History;
use super::request_body::ClientBody;
use h2::Reason;
use http::{Extensions, Method};
use hyper_util::client::legacy;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often a request is sent. A server may have closed several connections at once.
const ATTEMPTS: u32 = 6;

/// Before a server that refuses streams is asked for the third time; doubles.
const PAUSE: Duration = Duration::from_millis(10);

/// The attempts of one request.
#[derive(Debug)]
pub(super) struct Attempts {
    method: Method,
    failed: u32,
}

/// What is known of a request that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The server has not acted on it.
    Unprocessed,
    /// The server has not taken it, and may be busy.
    Refused,
    /// The server may have acted on it, and has not begun to answer.
    Unanswered,
    /// Nothing that speaks for another attempt.
    Final,
}

impl Attempts {
    pub(super) fn of(method: &Method) -> Self {
        Self {
            method: method.clone(),
            failed: 0,
        }
    }

    /// Whether the request is to be sent once more; waits before it says so where that helps.
    pub(super) async fn go_on(&mut self, error: &legacy::Error, body: &ClientBody) -> bool {
        self.failed += 1;
        if self.failed >= ATTEMPTS || !body.can_be_repeated() {
            return false;
        }
        match failure(error) {
            Failure::Unprocessed => true,
            Failure::Refused => {
                if self.failed > 1 {
                    sleep(PAUSE * 2_u32.pow(self.failed - 2)).await;
                }
                true
            }
            Failure::Unanswered => is_idempotent(&self.method),
            Failure::Final => false,
        }
    }
}

/// RFC 9110 §9.2.2. Methods that are not known here may be anything.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

fn failure(error: &legacy::Error) -> Failure {
    if error.is_connect() {
        return Failure::Final;
    }
    let history = history(error);
    let unprocessed = (history.as_ref()).is_some_and(|history| history.newest_is_unprocessed());
    let unanswered = match &history {
        Some(history) if history.ended_when_reused() => Failure::Unanswered,
        _ => Failure::Final,
    };
    let mut gone = false;
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return match error.reason() {
                Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => {
                    Failure::Refused
                }
                Some(Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
                    if unprocessed {
                        Failure::Unprocessed
                    } else {
                        // Never written, or just when the GOAWAY came.
                        Failure::Unanswered
                    }
                }
                _ if error.is_io() || error.is_go_away() && error.is_remote() => unanswered,
                _ => Failure::Final,
            };
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            if error.is_canceled() {
                // With such an error hyper gives the request back: it was still in the queue.
                return Failure::Unprocessed;
            }
            gone |= error.is_incomplete_message();
            if error.is_user() {
                // The body has not failed, or there were no question: the connection has ended
                // while the request waited to become one of its streams.
                return if unprocessed {
                    Failure::Unprocessed
                } else {
                    Failure::Unanswered
                };
            }
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            gone |= is_end(error);
        }
    }
    if gone { unanswered } else { Failure::Final }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

/// What has passed on the connection that the request was on.
fn history(error: &legacy::Error) -> Option<Arc<History>> {
    let mut extras = Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    extras.remove()
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
