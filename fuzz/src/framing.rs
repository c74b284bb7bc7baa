//! Where the requests of a connection to the signer end.

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use signer_native::proxy::testing::{Messages, messages};
use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

const MAX_HEAD: usize = 16 << 10;

/// The first byte says in which pieces the others arrive. What is passed on to hyper are the
/// messages that hyper finds in it: two readings would be request smuggling.
pub fn framing(data: &[u8]) {
    let Some((piece, sent)) = data.split_first() else {
        return;
    };
    let whole = messages(sent, sent.len(), MAX_HEAD);
    let pieces = messages(sent, usize::from(*piece), MAX_HEAD);
    assert_eq!(whole.ends, pieces.ends, "depends on the pieces");
    assert_eq!(whole.is_refused, pieces.is_refused);
    assert_eq!(whole_messages(&whole), whole_messages(&pieces));
    assert!(is_sent(&whole.passed, sent), "changed");

    let mut alone = Vec::new();
    let mut start = 0;
    for end in &whole.ends {
        let found = requests_in(&whole.passed[start..*end]);
        assert!(found.len() <= 1, "one message is several: {found:?}");
        // A request that hyper refuses is the last one.
        alone.extend(found);
        start = *end;
    }
    let together = requests_in(whole_messages(&whole));
    assert!(alone.starts_with(&together), "{alone:?} {together:?}");
    // What hyper finds malformed within a body is the end of the connection.
    assert!(
        alone
            .iter()
            .all(|request| request.body != Err(Broken::Short)),
        "{alone:?}"
    );
    let broken = together.iter().position(|request| request.body.is_err());
    assert!(broken.is_none_or(|at| at + 1 == together.len()), "read on");
}

/// Whether that are the bytes that were sent, but for those of a target that go percent-encoded.
fn is_sent(mut passed: &[u8], sent: &[u8]) -> bool {
    for byte in sent {
        let encoded = format!("%{byte:02X}");
        if let Some(rest) = passed.strip_prefix(&[*byte]) {
            passed = rest;
        } else if !passed.is_empty() {
            let unusual = matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..);
            match passed.strip_prefix(encoded.as_bytes()) {
                Some(rest) if unusual => passed = rest,
                _ => return false,
            }
        } else {
            return true;
        }
    }
    passed.is_empty()
}

fn whole_messages(messages: &Messages) -> &[u8] {
    let end = messages.ends.last().copied().unwrap_or_default();
    &messages.passed[..end]
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    method: String,
    uri: String,
    headers: usize,
    body: Result<Bytes, Broken>,
}

/// Why a body has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// hyper waits for more of it.
    Short,
    Malformed,
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        let sources = std::iter::successors(error.source(), |error| (*error).source());
        let kinds = sources.filter_map(|source| source.downcast_ref::<io::Error>());
        match kinds
            .map(io::Error::kind)
            .any(|kind| kind == io::ErrorKind::UnexpectedEof)
        {
            true => Self::Short,
            false if error.is_incomplete_message() => Self::Short,
            false => Self::Malformed,
        }
    }
}

/// What hyper reads.
fn requests_in(input: &[u8]) -> Vec<Found> {
    let found = RefCell::new(Vec::new());
    let answer = |request: Request<Incoming>| async {
        let (parts, body) = request.into_parts();
        let body = body.collect().await;
        found.borrow_mut().push(Found {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: parts.headers.len(),
            body: match body {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) => Err(Broken::of(&error)),
            },
        });
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    };
    let stream = Stream(input.to_vec(), 0);
    let connection = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        // The client has sent all it sends, and waits for answers.
        .half_close(true)
        .serve_connection(stream, service_fn(answer));
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    let has_ended = (0..10_000).any(|_| connection.as_mut().poll(&mut context).is_ready());
    assert!(has_ended, "hyper waits");
    found.take()
}

/// Bytes that are there at once, and then the end.
struct Stream(Vec<u8>, usize);

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buffer.remaining().min(self.0.len() - self.1);
        buffer.put_slice(&self.0[self.1..self.1 + length]);
        self.1 += length;
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
