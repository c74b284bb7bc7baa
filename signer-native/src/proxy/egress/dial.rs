//! Opening connections.

use super::parent::ParentProxy;
use super::wire::Wire;
use crate::admin::Open;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Why a connection that could be had is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum DialError {
    #[error("the address is the one of this proxy")]
    Loop,
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// Connects to the host of a URL, or to the parent proxy.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    tcp: HttpConnector,
    parent: Option<Arc<ParentProxy>>,
    /// Whether plain HTTP goes through a tunnel of the parent as well.
    tunnels_http: bool,
    own: Option<SocketAddr>,
    /// How many connections there are.
    open: Gauge,
}

impl Dialer {
    pub(super) fn new(
        parent: Option<Arc<ParentProxy>>,
        connect_timeout: Duration,
        own: Option<SocketAddr>,
        open: Gauge,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.enforce_http(false);
        Self {
            tcp,
            parent,
            tunnels_http: false,
            own,
            open,
        }
    }

    /// The same, but through a parent proxy all bytes pass untouched.
    pub(super) fn tunnelling(&self) -> Self {
        Self {
            tunnels_http: true,
            ..self.clone()
        }
    }

    async fn dial(mut self, uri: Uri) -> Result<Wire, BoxError> {
        let Some(parent) = self.parent.take() else {
            let stream = self.tcp.call(uri).await?;
            self.refuse_loop(&stream)?;
            return Ok(Wire::new(stream, false, Open::count(&self.open)));
        };
        if !self.tunnels_http && uri.scheme() != Some(&Scheme::HTTPS) {
            let stream = self.tcp.call(parent.uri().clone()).await?;
            return Ok(Wire::new(stream, true, Open::count(&self.open)));
        }
        let mut tunnel = Tunnel::new(parent.uri().clone(), self.tcp.clone());
        if let Some(credentials) = parent.credentials() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let stream = tunnel.call(with_port(uri)?).await?;
        Ok(Wire::new(stream, false, Open::count(&self.open)))
    }

    /// A request to the proxy's own address would come back for ever.
    fn refuse_loop(&self, stream: &TokioIo<TcpStream>) -> Result<(), BoxError> {
        let (Some(own), stream) = (self.own, stream.inner()) else {
            return Ok(());
        };
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        if leads_to(own, peer, local) {
            return Err(DialError::Loop.into());
        }
        Ok(())
    }
}

impl Service<Uri> for Dialer {
    type Response = Wire;
    type Error = BoxError;
    type Future = BoxFuture<Wire>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// Whether a connection from `local` to `peer` arrives at a listener on `own`. Who listens on all
/// addresses is reached at any of the machine's, and such a connection has it at both ends.
fn leads_to(own: SocketAddr, peer: SocketAddr, local: SocketAddr) -> bool {
    if peer.port() != own.port() {
        return false;
    }
    let (own, address) = (own.ip().to_canonical(), peer.ip().to_canonical());
    if !own.is_unspecified() {
        return own == address;
    }
    let is_here = address.is_loopback() || address == local.ip().to_canonical();
    // 0.0.0.0 takes no IPv6 connections.
    is_here && (own.is_ipv6() || address.is_ipv4())
}

/// A tunnel has no default port.
fn with_port(uri: Uri) -> Result<Uri, http::Error> {
    let mut parts = uri.into_parts();
    if let Some(authority) = &parts.authority
        && authority.port().is_none()
    {
        let port = match parts.scheme.as_ref() {
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            _ => 80,
        };
        let text = format!("{}:{port}", authority.host());
        parts.authority = Some(text.parse::<Authority>()?);
    }
    Ok(Uri::from_parts(parts)?)
}

/// A connector whose every step together has so much time: name, TCP, parent proxy, TLS.
#[derive(Clone, Debug)]
pub(super) struct Bounded<C> {
    inner: C,
    patience: Duration,
}

impl<C> Bounded<C> {
    pub(super) fn new(inner: C, patience: Duration) -> Self {
        Self { inner, patience }
    }
}

impl<C> Bounded<C>
where
    C: Service<Uri, Error = BoxError> + Clone,
{
    pub(super) async fn connect(&self, uri: Uri) -> Result<C::Response, BoxError> {
        let connecting = self.inner.clone().call(uri);
        match timeout(self.patience, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(DialError::TimedOut(self.patience).into()),
        }
    }
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri, Error = BoxError> + Clone + Send + Sync + 'static,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.connect(uri).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_known_under_each_of_its_names() {
        let leads =
            |own: &str, peer: &str, local: &str| leads_to(addr(own), addr(peer), addr(local));
        assert!(leads("127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1:5"));
        assert!(leads("[::]:8080", "127.0.0.1:8080", "127.0.0.1:5"));
        assert!(leads("[::]:8080", "[::1]:8080", "[::1]:5"));
        assert!(leads("0.0.0.0:8080", "10.0.0.7:8080", "10.0.0.7:5"));
        assert!(leads("[::]:8080", "[::ffff:10.0.0.7]:8080", "10.0.0.7:5"));

        assert!(!leads("127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:5"));
        assert!(!leads("127.0.0.1:8080", "127.0.0.2:8080", "127.0.0.1:5"));
        assert!(!leads("0.0.0.0:8080", "10.0.0.8:8080", "10.0.0.7:5"));
        assert!(!leads("0.0.0.0:8080", "[::1]:8080", "[::1]:5"));
    }

    #[test]
    fn a_tunnel_always_has_a_port() {
        let of = |uri: &str| with_port(uri.parse().unwrap()).unwrap().to_string();
        assert_eq!(of("https://a.test/"), "https://a.test:443/");
        assert_eq!(of("http://[::1]/x"), "http://[::1]:80/x");
        assert_eq!(of("http://a.test:8080/"), "http://a.test:8080/");
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
