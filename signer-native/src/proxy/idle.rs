//! Connections on which nothing happens.

use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use transport::connections::Work;

/// A stream that fails once no byte has passed in either direction for some time, whatever is
/// spoken on it.
#[derive(Debug)]
pub(super) struct IdleTimeout<S, H = ()> {
    stream: S,
    patience: Duration,
    last: Instant,
    alarm: Pin<Box<Sleep>>,
    _held: H,
}

impl<S> IdleTimeout<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            last: Instant::now(),
            alarm: Box::pin(sleep(patience)),
            _held: (),
        }
    }

    /// Keeps that as long as the stream, which outlives whoever serves it once it is upgraded.
    pub(super) fn holding<H>(self, held: H) -> IdleTimeout<S, H> {
        IdleTimeout {
            stream: self.stream,
            patience: self.patience,
            last: self.last,
            alarm: self.alarm,
            _held: held,
        }
    }
}

impl<S, H> IdleTimeout<S, H> {
    /// Notes progress, and where there is none, how long there was none.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.last = Instant::now();
            return result;
        }
        // Set anew only when it rings: that is cheaper than with each byte.
        while self.alarm.as_mut().poll(context).is_ready() {
            let end = self.last + self.patience;
            if end <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(end);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin, H: Unpin> AsyncRead for IdleTimeout<S, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watched(context, result)
    }
}

impl<S: AsyncWrite + Unpin, H: Unpin> AsyncWrite for IdleTimeout<S, H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watched(context, result)
    }
}

/// How busy a connection is with requests: over HTTP/2 pings pass even when it is not.
#[derive(Debug)]
pub(super) struct Usage {
    in_flight: AtomicUsize,
    last: Mutex<Instant>,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    usage: Arc<Usage>,
    _work: Work,
}

/// The body of a response: while it is sent its request is in flight.
#[derive(Debug)]
pub(super) struct InFlightBody<B> {
    body: B,
    _in_flight: InFlight,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Until the value is dropped.
    pub(super) fn request(self: &Arc<Self>, work: Work) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight {
            usage: Arc::clone(self),
            _work: work,
        }
    }

    /// Whether a request is in flight.
    pub(super) fn is_in_use(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) > 0
    }

    /// Ready once there has been no request for so long.
    pub(super) async fn unused(&self, patience: Duration) {
        loop {
            let end = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if self.in_flight.load(Ordering::SeqCst) > 0 {
                sleep(patience).await;
            } else if end <= Instant::now() {
                return;
            } else {
                sleep_until(end).await;
            }
        }
    }
}

impl InFlight {
    /// Until that body has been sent.
    pub(super) fn with<B>(self, body: B) -> InFlightBody<B> {
        InFlightBody {
            body,
            _in_flight: self,
        }
    }
}

impl<B: Body + Unpin> Body for InFlightBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let usage = &self.usage;
        let mut last = usage.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Instant::now();
        usage.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use transport::connections::{Connections, Limits, Source};

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_stream_and_traffic_in_either_direction_keeps_it() {
        let (mut other, stream) = tokio::io::duplex(10);
        let mut stream = IdleTimeout::new(stream, Duration::from_secs(10));
        for _ in 0..3 {
            let nothing = tokio::time::timeout(Duration::from_secs(9), stream.read_u8()).await;
            assert!(nothing.is_err());
            stream.write_all(b"x").await.unwrap();
            other.read_u8().await.unwrap();
        }
        let silence = stream.read_u8().await.unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_unused_after_its_last_request() {
        let usage = Arc::new(Usage::new());
        let patience = Duration::from_secs(10);
        let connections = Connections::new(Limits::of(1));
        let work = Arc::new(connections.admit(Source::LOCAL)).request();
        let request = usage.request(work);
        let started = Instant::now();
        let unused = usage.unused(patience);
        let end = async {
            sleep(Duration::from_secs(35)).await;
            drop(request);
        };
        tokio::join!(unused, end);
        assert!(started.elapsed() >= Duration::from_secs(45));
    }
}
