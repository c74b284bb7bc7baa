//! Where a TLS record ends (RFC 8446 §5.1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const HEAD: usize = 5;

/// A stream that knows whether what was read ends with a whole TLS record.
///
/// A server that closes its connection without close_notify ends it there, an interrupted one most
/// likely elsewhere.
#[derive(Debug)]
pub(super) struct Records<S> {
    stream: S,
    boundary: Boundary,
}

#[derive(Debug, Default)]
struct Boundary {
    /// Of the payload of the current record.
    left: usize,
    head: [u8; HEAD],
    filled: usize,
}

impl<S> Records<S> {
    pub(super) fn of(stream: S) -> Self {
        Self {
            stream,
            boundary: Boundary::default(),
        }
    }

    pub(super) fn is_at_boundary(&self) -> bool {
        self.boundary.left == 0 && self.boundary.filled == 0
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }
}

impl Boundary {
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                taken
            } else {
                let taken = (HEAD - self.filled).min(bytes.len());
                let end = self.filled + taken;
                if let (Some(to), Some(from)) =
                    (self.head.get_mut(self.filled..end), bytes.get(..taken))
                {
                    to.copy_from_slice(from);
                }
                self.filled = end;
                if self.filled == HEAD {
                    let [_, _, _, high, low] = self.head;
                    self.left = usize::from(high) << 8 | usize::from(low);
                    self.filled = 0;
                }
                taken
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        self.boundary.advance(new);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_behind_a_whole_record() {
        let record = [&[23, 3, 3, 1, 2][..], &[7; 258]].concat();
        let records = [&record[..], &record].concat();
        for size in [1, 4, 100, 1000] {
            let mut boundary = Boundary::default();
            let mut read = 0;
            for piece in records.chunks(size) {
                boundary.advance(piece);
                read += piece.len();
                let at_boundary = boundary.left == 0 && boundary.filled == 0;
                assert_eq!(at_boundary, read % record.len() == 0, "{read}");
            }
        }
    }
}
