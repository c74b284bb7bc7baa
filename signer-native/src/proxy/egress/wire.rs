//! A TCP connection to a server or to the parent proxy.

use super::places::Occupied;
use super::records::Records;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The connection, and whether requests on it are for a proxy.
#[derive(Debug)]
pub(in crate::proxy) struct Wire {
    stream: TokioIo<Records<TcpStream>>,
    to_parent: bool,
    place: Occupied,
}

impl Wire {
    pub(super) fn new(stream: TokioIo<TcpStream>, to_parent: bool, place: Occupied) -> Self {
        Self {
            stream: TokioIo::new(Records::of(stream.into_inner())),
            to_parent,
            place,
        }
    }

    /// Whether what was read so far ends with a TLS record, where it is TLS.
    pub(super) fn is_at_record_boundary(&self) -> bool {
        self.stream.inner().is_at_boundary()
    }
}

impl Connection for Wire {
    /// To a proxy requests go in absolute-form (RFC 9112 §3.2.2).
    fn connected(&self) -> Connected {
        let stream = self.stream.inner().stream();
        let connected = stream.connected().proxy(self.to_parent);
        if self.place.is_scarce() {
            connected.poison();
        }
        connected
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Wire {
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
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
