//! A connection to a server as HTTP sees it: behind TLS, where there is TLS.

use super::dial::{BoxError, BoxFuture};
use super::frames::{Frame, Frames};
use super::wire::Wire;
use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

/// The connection, and what has passed on it.
#[derive(Debug)]
pub(in crate::proxy) struct UpstreamIo {
    stream: TokioIo<MaybeHttpsStream<Wire>>,
    history: Arc<History>,
    frames: Option<Both>,
    /// No byte goes out any more, but what has come in can still be read.
    broken: bool,
}

#[derive(Debug)]
struct Both {
    sent: Frames,
    received: Frames,
}

/// What has passed on a connection, so that a request that failed on it can be judged.
#[derive(Debug, Default)]
pub(in crate::proxy) struct History {
    http2: AtomicBool,
    /// How often something was written after something had been read: on HTTP/1 a request.
    turns: AtomicU32,
    /// Something was read since the last turn began.
    answering: AtomicBool,
    /// The last stream that a request went out on.
    last_sent: AtomicU32,
    /// The last stream that the server processes, and one more: 0 is none.
    go_away: AtomicU32,
    /// A response has come on some stream.
    responded: AtomicBool,
}

impl History {
    /// Whether an earlier request was answered on the connection, and not a byte of an answer has
    /// come to the last one (to this one, on HTTP/2, where others may be answered meanwhile).
    pub(in crate::proxy) fn ended_when_reused(&self) -> bool {
        if self.http2.load(Ordering::Acquire) {
            return self.responded.load(Ordering::Acquire);
        }
        self.turns.load(Ordering::Acquire) > 1 && !self.answering.load(Ordering::Acquire)
    }

    /// Whether the server has said that it processes no stream as new as the newest.
    ///
    /// What the HTTP library reports of a GOAWAY is not enough: while the request passes from one
    /// task to another it reports the GOAWAY for streams that the server may be processing.
    pub(in crate::proxy) fn newest_is_unprocessed(&self) -> bool {
        let go_away = self.go_away.load(Ordering::Acquire);
        go_away > 0 && go_away <= self.last_sent.load(Ordering::Acquire)
    }

    fn received(&self, frame: Frame) {
        match frame {
            Frame::Headers(_) => self.responded.store(true, Ordering::Release),
            Frame::GoAway(last) => self.go_away.store(last + 1, Ordering::Release),
        }
    }

    fn sent(&self, frame: Frame) {
        // The trailers of an older one have a header section as well.
        if let Frame::Headers(stream) = frame {
            self.last_sent.fetch_max(stream, Ordering::AcqRel);
        }
    }

    fn has_read(&self) {
        self.answering.store(true, Ordering::Release);
    }

    fn has_written(&self) {
        let first = self.turns.load(Ordering::Acquire) == 0;
        if self.answering.swap(false, Ordering::AcqRel) || first {
            self.turns.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// RFC 9113 §3.4.
const CLIENT_PREFACE: usize = 24;

impl UpstreamIo {
    fn new(stream: MaybeHttpsStream<Wire>, http2_only: bool) -> Self {
        let http2 = http2_only || stream.connected().is_negotiated_h2();
        let history = History {
            http2: http2.into(),
            ..History::default()
        };
        Self {
            stream: TokioIo::new(stream),
            history: Arc::new(history),
            frames: http2.then(|| Both {
                sent: Frames::after(CLIENT_PREFACE),
                received: Frames::after(0),
            }),
            broken: false,
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        match &mut self.frames {
            Some(frames) => frames.sent.advance(bytes, |frame| self.history.sent(frame)),
            None => self.history.has_written(),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        match &mut self.frames {
            Some(Both { received, .. }) => {
                received.advance(bytes, |frame| self.history.received(frame));
            }
            None if !bytes.is_empty() => self.history.has_read(),
            None => {}
        }
    }

    /// Many servers close TLS connections without the close_notify that RFC 8446 §6.1 wants of
    /// them. For curl, Go and Node such an end is one, and here: what has a length or chunks is
    /// found to be cut off all the same. In the middle of a record it is a failure.
    fn ends_well(&self, error: &io::Error) -> bool {
        let MaybeHttpsStream::Https(tls) = self.stream.inner() else {
            return false;
        };
        let wire = tls.inner().get_ref().0.inner();
        error.kind() == io::ErrorKind::UnexpectedEof && wire.is_at_record_boundary()
    }

    /// A server may answer and close before it has read the whole request: on HTTP/1 what cannot be
    /// written is dropped, so that this answer is found.
    fn written(&mut self, result: Poll<io::Result<usize>>, all: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(_)) if self.frames.is_none() => {
                self.broken = true;
                Poll::Ready(Ok(all))
            }
            result => result,
        }
    }
}

impl Connection for UpstreamIo {
    fn connected(&self) -> Connected {
        let connected = self.stream.inner().connected();
        connected.extra(Arc::clone(&self.history))
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(context, buffer)) {
            Ok(()) => {
                self.received(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(Ok(()))
            }
            Err(error) if self.ends_well(&error) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = result {
            self.sent(bytes.get(..length).unwrap_or_default());
        }
        self.written(result, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.broken {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(flushed.map_ok(|()| 0), 0).map_ok(|_| ())
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
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(all));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(mut length)) = result {
            for slice in slices {
                let here = slice.get(..length).unwrap_or(slice);
                self.sent(here);
                length -= here.len();
                if length == 0 {
                    break;
                }
            }
        }
        self.written(result, all)
    }
}

/// A connector whose connections know what has passed on them.
#[derive(Clone, Debug)]
pub(super) struct Remembering<C> {
    inner: C,
    http2_only: bool,
}

impl<C> Remembering<C> {
    pub(super) fn new(inner: C, http2_only: bool) -> Self {
        Self { inner, http2_only }
    }
}

impl<C> Service<Uri> for Remembering<C>
where
    C: Service<Uri, Response = MaybeHttpsStream<Wire>, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = TokioIo<UpstreamIo>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let http2_only = self.http2_only;
        Box::pin(async move {
            let stream = connecting.await?;
            Ok(TokioIo::new(UpstreamIo::new(stream, http2_only)))
        })
    }
}
