//! Opening connections.

use super::parent::ParentProxy;
use super::places::{Applicant, Places};
use super::reach::{Reach, Route};
use super::wire::Wire;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
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

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DialError {
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// Connects to the host of a URL, or to the parent proxy.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    reach: Arc<Reach>,
    route: Route,
    connect_timeout: Duration,
    parent: Option<Arc<ParentProxy>>,
    /// Whether plain HTTP goes through a tunnel of the parent as well.
    tunnels_http: bool,
    /// How many connections there may be.
    places: Places,
}

impl Dialer {
    pub(super) fn new(
        reach: Arc<Reach>,
        route: Route,
        parent: Option<Arc<ParentProxy>>,
        connect_timeout: Duration,
        places: Places,
    ) -> Self {
        Self {
            reach,
            route,
            connect_timeout,
            parent,
            tunnels_http: false,
            places,
        }
    }

    /// The same, but through a parent proxy all bytes pass untouched.
    pub(super) fn tunnelling(&self) -> Self {
        Self {
            tunnels_http: true,
            ..self.clone()
        }
    }

    async fn dial(mut self, uri: Uri, applicant: Applicant) -> Result<Wire, BoxError> {
        // Before the name is looked up, which takes descriptors as well.
        let place = self.places.take(applicant).await?;
        let Some(parent) = self.parent.take() else {
            let addresses = self.reach.addresses(&uri, self.route).await?;
            let stream = self.connect(addresses).await?;
            return Ok(Wire::new(stream, false, place.occupy()));
        };
        let mut to_parent = self.tcp(GaiResolver::new());
        if !self.tunnels_http && uri.scheme() != Some(&Scheme::HTTPS) {
            let stream = to_parent.call(parent.uri().clone()).await?;
            return Ok(Wire::new(stream, true, place.occupy()));
        }
        let mut tunnel = Tunnel::new(parent.uri().clone(), to_parent);
        if let Some(credentials) = parent.credentials() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let stream = tunnel.call(with_port(uri)?).await?;
        Ok(Wire::new(stream, false, place.occupy()))
    }

    /// To the first of these addresses that answers, and to no other: the name that led to them is
    /// not looked up again.
    async fn connect(&self, addresses: Vec<SocketAddr>) -> Result<TokioIo<TcpStream>, BoxError> {
        let mut connector = self.tcp(Checked(addresses));
        // Has no port, so that the ones of the addresses are used.
        let stream = connector.call(Uri::from_static("http://checked.invalid"));
        Ok(stream.await?)
    }

    fn tcp<R>(&self, resolver: R) -> HttpConnector<R> {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.connect_timeout));
        tcp.enforce_http(false);
        tcp
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
        Box::pin(self.clone().dial(uri, Applicant::current()))
    }
}

/// A resolver that always gives these addresses, whatever it is asked for.
#[derive(Clone, Debug)]
struct Checked(Vec<SocketAddr>);

impl Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(self.0.clone().into_iter()))
    }
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
    fn a_tunnel_always_has_a_port() {
        let of = |uri: &str| with_port(uri.parse().unwrap()).unwrap().to_string();
        assert_eq!(of("https://a.test/"), "https://a.test:443/");
        assert_eq!(of("http://[::1]/x"), "http://[::1]:80/x");
        assert_eq!(of("http://a.test:8080/"), "http://a.test:8080/");
    }
}
