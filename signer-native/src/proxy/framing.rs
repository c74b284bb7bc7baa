//! What HTTP/1 clients send, let through only where its framing has one reading.
//!
//! Request smuggling lives on two parties that find the end of a request at different places.
//! hyper reads each of these shapes in the right way or refuses it, but some it repairs without a
//! word: of `Content-Length` beside `Transfer-Encoding` it drops the length, of two equal lengths
//! it drops one, and it takes a bare LF for a line's end. RFC 9112 leaves a server the choice to
//! refuse them all, and no honest client sends them:
//!
//! | shape | RFC 9112 |
//! |---|---|
//! | `Content-Length` and `Transfer-Encoding` | §6.1, §6.3: "ought to be handled as an error" |
//! | several `Content-Length` fields, or a list in one | §6.3: "MUST treat it as an unrecoverable error", but for equal ones |
//! | any `Transfer-Encoding` but one `chunked` | §6.1, §6.3: refused unless understood |
//! | obs-fold | §5.2: "MUST either reject the message by sending a 400 (Bad Request) […] or replace" |
//! | whitespace before the colon | §5.1: "MUST reject" |
//! | a bare CR, a NUL | §2.2: invalid |
//! | a bare LF as a line's end | §2.2: "MAY recognize" |
//!
//! A chunked body is read as strictly. It has been forwarded in part when something is wrong with
//! it, so the connection ends there.

//!
//! What follows a CONNECT or a request with `Upgrade` is held back until its answer is known: the
//! bytes of another protocol where the answer switches to one, and never a request. (The connection
//! ends with any other answer, see [`super::server`].)

mod chunked;
mod exchange;
mod head;
mod request_line;
#[cfg(feature = "testing")]
mod testing;

pub(super) use exchange::Exchange;
pub(super) use request_line::encoded_utf8;
#[cfg(feature = "testing")]
pub use testing::{Messages, messages};

use super::error::Malformed;
use super::idle::Usage;
use chunked::Chunked;
use head::{Body, Found, Scan};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client that has ended its side of the connection waits for an answer.
const HALF_CLOSED: Duration = Duration::from_secs(10);

/// How long a client goes on sending a request that has its answer.
const LINGERING: Duration = Duration::from_secs(2);

/// In place of a refused request, so that it is answered in its turn: after those before it.
const PLACEHOLDER: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// A client's connection whose requests are looked at before hyper reads them.
///
/// It hands on the bytes of one message at most at a time. So the answer to a request is begun
/// before the next one is looked at, and a refusal is never taken for an earlier one's.
#[derive(Debug)]
pub(super) struct StrictFraming<S> {
    stream: S,
    state: State,
    /// The message asks for another protocol.
    asks_to_switch: bool,
    /// Read, but not passed on.
    input: Vec<u8>,
    /// Looked at, to be read.
    output: Vec<u8>,
    max_head: usize,
    exchange: Exchange,
    usage: Option<Arc<Usage>>,
    /// Ends the wait for an answer, or for the rest of what the client sends.
    alarm: Option<Pin<Box<Sleep>>>,
    lingering: bool,
}

#[derive(Debug)]
enum State {
    /// In a header section, or before one.
    Head(Scan),
    /// In a body with so many bytes to come.
    Length(u64),
    Chunked(Chunked),
    /// Behind a message that asks for another protocol, until it is answered.
    Held,
    /// Another protocol, or what the client has sent last: nothing that is for us to look at.
    Open,
    /// What comes is thrown away.
    Refused,
    /// The end of a body cannot be found, so nothing behind it is a request.
    Lost,
}

impl<S> StrictFraming<S> {
    pub(super) fn new(stream: S, max_head: usize) -> Self {
        Self {
            stream,
            state: State::Head(Scan::default()),
            asks_to_switch: false,
            input: Vec::new(),
            output: Vec::new(),
            max_head,
            exchange: Exchange::default(),
            usage: None,
            alarm: None,
            lingering: false,
        }
    }

    /// A client that sends nothing more may still wait for its answer: it gets it while `usage`
    /// says that there is one to come, if it comes soon.
    pub(super) fn answering(mut self, usage: Arc<Usage>) -> Self {
        self.usage = Some(usage);
        self
    }

    /// For those who answer the requests.
    pub(super) fn exchange(&self) -> Exchange {
        self.exchange.clone()
    }

    /// Moves what may be read now from the input to the output.
    fn advance(&mut self) {
        let passed = match &mut self.state {
            State::Head(_) => return self.advance_head(),
            State::Refused | State::Lost => {
                self.input.clear();
                return;
            }
            State::Held => return,
            State::Open => self.input.len(),
            State::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX);
                let passed = here.min(self.input.len());
                *left -= passed as u64;
                if *left == 0 {
                    self.end_message();
                }
                passed
            }
            State::Chunked(chunked) => {
                let (passed, end) = chunked.advance(&self.input);
                match end {
                    chunked::End::NotYet => {}
                    chunked::End::Complete => self.end_message(),
                    chunked::End::Malformed => {
                        // hyper takes some of these, and would find an end.
                        self.state = State::Lost;
                        return;
                    }
                }
                passed
            }
        };
        self.pass(passed);
    }

    fn pass(&mut self, length: usize) {
        if length == self.input.len() && self.output.is_empty() {
            self.output = std::mem::take(&mut self.input);
        } else {
            self.output.extend(self.input.drain(..length));
        }
    }

    fn advance_head(&mut self) {
        let State::Head(scan) = &mut self.state else {
            return;
        };
        let new = self.input.get(scan.length()..).unwrap_or_default();
        let length = match scan.advance(new) {
            Found::End(length) if length <= self.max_head => length,
            Found::NotYet if scan.length() <= self.max_head => return,
            Found::BadLine => return self.refuse(Malformed::LineEnd),
            // hyper's own limit is that of its buffer: it would take some that go beyond.
            Found::End(_) | Found::NotYet => return self.refuse(Malformed::TooLarge),
        };
        let head = self.input.get(..length).unwrap_or_default();
        match head::framing(head) {
            Ok(framing) => {
                let encoded = head::encoded(head);
                self.asks_to_switch = framing.asks_to_switch;
                match framing.body {
                    Body::Length(0) => self.end_message(),
                    Body::Length(length) => self.state = State::Length(length),
                    Body::Chunked => self.state = State::Chunked(Chunked::default()),
                }
                if let Some(encoded) = encoded {
                    self.output.extend(encoded);
                    self.input.drain(..length);
                } else {
                    self.pass(length);
                }
            }
            Err(problem) => self.refuse(problem),
        }
    }

    fn end_message(&mut self) {
        self.state = if self.asks_to_switch {
            State::Held
        } else {
            State::Head(Scan::default())
        };
    }

    fn refuse(&mut self, problem: Malformed) {
        self.exchange.refuse(problem);
        self.state = State::Refused;
        self.output.extend_from_slice(PLACEHOLDER);
    }
}

impl<S: AsyncRead + Unpin> StrictFraming<S> {
    /// Reads more; whether there was any.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [std::mem::MaybeUninit::uninit(); 8 << 10];
        let mut space = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut space))?;
        self.input.extend_from_slice(space.filled());
        Poll::Ready(Ok(!space.filled().is_empty()))
    }

    /// After the end of what the client sends: waits for the answer to its last request.
    ///
    /// An end of one direction and of both look the same from here, so that this is limited: the
    /// request of a client that is gone is given up as well.
    fn poll_answered(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let complete = matches!(self.state, State::Head(_)) && self.input.is_empty();
        match &self.usage {
            Some(usage) if complete && usage.is_in_use() => self.poll_alarm(context, HALF_CLOSED),
            _ => Poll::Ready(()),
        }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience)));
        alarm.as_mut().poll(context)
    }

    /// Whether the client may be sending what is not read any more.
    fn is_in_the_middle(&self) -> bool {
        match self.state {
            State::Head(_) => !self.input.is_empty(),
            State::Length(_) | State::Chunked(_) | State::Refused | State::Lost => true,
            State::Held | State::Open => false,
        }
    }

    /// Waits for the end of the connection, or for its protocol to change.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.exchange.has_switched() {
            self.state = State::Open;
            return Poll::Ready(Ok(()));
        }
        if self.input.is_empty() && !ready!(self.poll_input(context))? {
            self.state = State::Open;
            return Poll::Ready(Ok(()));
        }
        // What goes on with another protocol reads anew.
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictFraming<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.output.is_empty() {
                let length = this.output.len().min(buffer.remaining());
                buffer.put_slice(this.output.get(..length).unwrap_or_default());
                this.output.drain(..length);
                if this.output.is_empty() {
                    // Nothing is held for a connection that waits.
                    this.output = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if matches!(this.state, State::Held) {
                ready!(this.poll_held(context))?;
            }
            if this.input.is_empty() && matches!(this.state, State::Open) {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            this.advance();
            if matches!(this.state, State::Lost) {
                let problem = "its chunks are malformed";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
            }
            if this.output.is_empty()
                && !matches!(this.state, State::Held)
                && !ready!(this.poll_input(context))?
            {
                ready!(this.poll_answered(context));
                // The client has ended, perhaps in the middle: hyper knows what that means.
                this.state = State::Open;
                if this.input.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictFraming<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// What has arrived and was not read makes the system answer with a reset, which takes the
    /// response away from a client that was still sending. So this reads on for a while.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.lingering {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.is_in_the_middle() {
                return Poll::Ready(Ok(()));
            }
            this.lingering = true;
            this.alarm = None;
        }
        loop {
            if this.poll_alarm(context, LINGERING).is_ready() {
                return Poll::Ready(Ok(()));
            }
            this.input.clear();
            if !matches!(ready!(this.poll_input(context)), Ok(true)) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests;
