//! The body of a request on its way to the server.

use http::HeaderMap;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

/// What is kept of one body, so that it can be sent again.
const MOST_OF_ONE: usize = 64 << 10;

/// What is kept of all bodies together.
const MOST_OF_ALL: usize = 32 << 20;

/// How much is kept of all bodies.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<AtomicUsize>);

impl Kept {
    fn reserve(&self, length: usize) -> bool {
        let fits = |kept: usize| kept.checked_add(length).filter(|all| *all <= MOST_OF_ALL);
        let reserved = (self.0).fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        reserved.is_ok()
    }

    fn release(&self, length: usize) {
        self.0.fetch_sub(length, Ordering::AcqRel);
    }
}

/// The body of a client's request, which can be sent once more as long as little of it was read.
#[derive(Debug)]
pub(super) struct ClientBody(Option<Arc<Mutex<Source>>>);

/// What one attempt to send the request sends: the body as it comes, less what does not belong into
/// a trailer section.
#[derive(Debug)]
pub(super) struct RequestBody {
    source: Option<Arc<Mutex<Source>>>,
    attempt: u32,
    /// How many of the kept frames it has sent.
    sent: usize,
    trailers_sent: bool,
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("{0}")]
    Client(String),
    /// No connection that has failed finishes a request.
    #[error("the request is sent on another connection")]
    SentElsewhere,
}

#[derive(Debug)]
struct Source {
    incoming: Incoming,
    attempt: u32,
    /// Everything read so far; `None` once that is too much.
    read: Option<Vec<Bytes>>,
    read_length: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
    failure: Option<String>,
    kept: Kept,
}

impl ClientBody {
    pub(super) fn new(incoming: Incoming, kept: Kept) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        Self(Some(Arc::new(Mutex::new(Source {
            incoming,
            attempt: 0,
            read: Some(Vec::new()),
            read_length: 0,
            trailers: None,
            ended: false,
            failure: None,
            kept,
        }))))
    }

    /// For the next attempt; those before it send nothing more.
    pub(super) fn attempt(&self) -> RequestBody {
        let attempt = self.0.as_deref().map(|source| {
            let mut source = lock(source);
            source.attempt += 1;
            source.attempt
        });
        RequestBody {
            source: self.0.clone(),
            attempt: attempt.unwrap_or_default(),
            sent: 0,
            trailers_sent: false,
        }
    }

    /// Whether all of it can be sent once more.
    pub(super) fn can_be_repeated(&self) -> bool {
        let source = self.0.as_deref().map(lock);
        source.is_none_or(|source| source.read.is_some() && source.failure.is_none())
    }

    /// Why the client did not send all of it.
    pub(super) fn failure(&self) -> Option<String> {
        lock(self.0.as_deref()?).failure.clone()
    }

    /// There is an answer: no attempt follows.
    pub(super) fn answered(&self) {
        if let Some(source) = &self.0 {
            lock(source).forget();
        }
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn keep(&mut self, data: &Bytes) {
        let Some(read) = &mut self.read else { return };
        let fits = self.read_length + data.len() <= MOST_OF_ONE;
        if fits && self.kept.reserve(data.len()) {
            self.read_length += data.len();
            read.push(data.clone());
        } else {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.read = None;
        self.kept.release(std::mem::take(&mut self.read_length));
    }

    /// Takes the next frame from the client.
    fn poll_incoming(&mut self, context: &mut Context<'_>) -> Poll<Option<FrameOrError>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let failure = reasons(&error);
                self.failure = Some(failure.clone());
                return Poll::Ready(Some(Err(BodyError::Client(failure))));
            }
            None => {
                self.ended = true;
                return Poll::Ready(None);
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                self.keep(&data);
                Frame::data(data)
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                clean(&mut trailers);
                self.ended = true;
                self.trailers = self.read.is_some().then(|| trailers.clone());
                Frame::trailers(trailers)
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.forget();
    }
}

type FrameOrError = Result<Frame<Bytes>, BodyError>;

fn reasons(error: &hyper::Error) -> String {
    let first: &dyn std::error::Error = error;
    let all = std::iter::successors(Some(first), |&error| error.source());
    let all: Vec<_> = all.map(ToString::to_string).collect();
    all.join(": ")
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
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<FrameOrError>> {
        let this = &mut *self;
        let Some(source) = this.source.as_deref() else {
            return Poll::Ready(None);
        };
        let mut source = lock(source);
        if source.attempt != this.attempt {
            return Poll::Ready(Some(Err(BodyError::SentElsewhere)));
        }
        if let Some(data) = source.read.as_ref().and_then(|read| read.get(this.sent)) {
            this.sent += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if source.ended && !this.trailers_sent {
            this.trailers_sent = true;
            let trailers = source.trailers.clone();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(source.poll_incoming(context));
        match &frame {
            Some(Ok(frame)) if frame.is_data() => this.sent += 1,
            _ => this.trailers_sent = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.as_deref().map(lock);
        source.is_none_or(|source| {
            let all_sent = source
                .read
                .as_ref()
                .is_none_or(|read| read.len() <= self.sent);
            let no_trailers = self.trailers_sent || source.trailers.is_none();
            all_sent && no_trailers && (source.ended || source.incoming.is_end_stream())
        })
    }

    fn size_hint(&self) -> SizeHint {
        let Some(source) = self.source.as_deref() else {
            return SizeHint::with_exact(0);
        };
        let source = lock(source);
        let unsent = source.read.as_ref().and_then(|read| read.get(self.sent..));
        let unsent = unsent
            .unwrap_or_default()
            .iter()
            .map(Bytes::len)
            .sum::<usize>() as u64;
        let coming = source.incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(coming.lower() + unsent);
        if let Some(upper) = coming.upper() {
            hint.set_upper(upper + unsent);
        }
        hint
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
