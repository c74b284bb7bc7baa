//! CONNECT (RFC 9110 §9.3.6): the inside is either read and signed, or passes untouched.

use super::connection::{self, Speaks};
use super::egress::Route;
use super::error::Error;
use super::forward::ResponseBody;
use super::prefixed::Prefixed;
use super::relay;
use super::server::Server;
use super::target::{Origin, Scope, Tunnel};
use crate::admin::Outcome;
use crate::policy::Permitted;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tracing::debug;
use transport::connections::{Connection, Source};

/// What a client sends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// A TLS handshake record (RFC 8446 §5.1).
    Tls,
    /// The preface of HTTP/2 (RFC 9113 §3.4): no method begins like it.
    Http2,
    /// Most likely a request of HTTP/1.
    Other,
}

impl Opening {
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => None,
            [0x16, ..] => Some(Self::Tls),
            b"P" | b"PR" => None,
            [b'P', b'R', b'I', ..] => Some(Self::Http2),
            _ => Some(Self::Other),
        }
    }
}

/// Answers a CONNECT. What follows runs by itself once the client has the answer.
pub(super) async fn open(
    server: Arc<Server>,
    mut request: Request<Incoming>,
) -> Result<(Response<ResponseBody>, Outcome), Error> {
    let origin = Origin::of_connect(&request)?;
    let admitted: Arc<Connection> = request
        .extensions_mut()
        .remove()
        .ok_or(Error::NotProxyRequest)?;
    let client = hyper::upgrade::on(&mut request);
    let upstreams = server.forwarder.upstreams();
    let decided = upstreams
        .reach()
        .decide_tunnel(&origin.authority, &origin.host, origin.port)
        .await
        .map_err(|barrier| Error::from_barrier(origin.authority.clone(), &barrier))?;
    let route = decided.route;
    let outcome = match decided.permitted {
        Permitted::Tunnel => {
            let upstream = upstreams.connect(&origin.authority, route).await?;
            let idle_timeout = server.settings.idle_timeout;
            let work = admitted.request();
            server.lifetime.spawn(async move {
                relay::join(client, upstream, idle_timeout).await;
                drop(work);
            });
            Outcome::Tunnelled
        }
        Permitted::Sign(_) | Permitted::Pass if server.interceptor.is_some() => {
            let inside = intercept(Arc::clone(&server), client, origin, route, admitted);
            server.lifetime.spawn(inside);
            Outcome::Intercepted
        }
        Permitted::Sign(_) | Permitted::Pass => return Err(Error::NoAuthority),
    };
    Ok((Response::new(Either::Right(Full::default())), outcome))
}

/// Boxed, since the inside is served by the same code as the outside.
fn intercept(
    server: Arc<Server>,
    client: OnUpgrade,
    origin: Origin,
    route: Route,
    admitted: Arc<Connection>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let Ok(client) = client.await else { return };
        let authority = origin.authority.clone();
        let inside = serve_inside(server, client, origin, route, Arc::clone(&admitted));
        let ended = tokio::select! {
            ended = inside => ended,
            // Without a request so far, perhaps in the middle of its handshake.
            () = admitted.must_close() => Ok(()),
        };
        if let Err(error) = ended {
            debug!(%authority, %error, "tunnel ended");
        }
    })
}

async fn serve_inside(
    server: Arc<Server>,
    client: Upgraded,
    origin: Origin,
    route: Route,
    admitted: Arc<Connection>,
) -> io::Result<()> {
    let mut stream = TokioIo::new(client);
    let patience = server.settings.header_read_timeout;
    let (opening, first) = tokio::select! {
        read = timeout(patience, read_opening(&mut stream)) => read??,
        // Nothing is in flight yet.
        () = server.lifetime.draining() => return Ok(()),
    };
    let stream = Prefixed::new(first, stream);
    let plain = match opening {
        Opening::Tls => None,
        Opening::Http2 => Some(Speaks::Http2),
        Opening::Other => Some(Speaks::Http1),
    };
    if let Some(speaks) = plain {
        let scope = Scope::Tunnel(Tunnel {
            scheme: Scheme::HTTP,
            origin,
            named_otherwise: None,
        });
        connection::serve(server, stream, scope, speaks, admitted).await;
        return Ok(());
    }
    let (stream, named_otherwise) = timeout(
        patience,
        handshake(&server, stream, &origin, route, admitted.source()),
    )
    .await??;
    let speaks = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speaks::Http2,
        _ => Speaks::Http1,
    };
    let scope = Scope::Tunnel(Tunnel {
        scheme: Scheme::HTTPS,
        origin,
        named_otherwise,
    });
    connection::serve(server, stream, scope, speaks, admitted).await;
    Ok(())
}

async fn read_opening(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Opening, Vec<u8>)> {
    let mut first = Vec::new();
    loop {
        if let Some(opening) = Opening::of(&first) {
            return Ok((opening, first));
        }
        first.push(stream.read_u8().await?);
    }
}

type Tls<S> = tokio_rustls::server::TlsStream<S>;

/// TLS with the client, under the name of the CONNECT's host. What else the client names comes back,
/// so that it can be told: no certificate is made for it, or each handshake could cost a signature.
async fn handshake<S>(
    server: &Server,
    stream: S,
    origin: &Origin,
    route: Route,
    source: Source,
) -> io::Result<(Tls<S>, Option<String>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let interceptor = server.interceptor.as_ref();
    let interceptor = interceptor.ok_or(io::ErrorKind::Unsupported)?;
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let sni = start.client_hello().server_name().map(ToOwned::to_owned);
    let speaks_other = start.client_hello().alpn().is_some_and(|mut offered| {
        !offered.any(|protocol| matches!(protocol, b"h2" | b"http/1.1"))
    });
    let named_otherwise = sni.filter(|name| !origin.host.is_named(name));
    let name = origin.host.server_name();
    let name = name.ok_or_else(|| io::Error::other("no certificate can name this host"))?;
    if named_otherwise.is_none() && !interceptor.knows(&name) {
        // Both handshakes at a time. A host that is known has connections that are kept, mostly.
        let upstreams = server.forwarder.upstreams();
        upstreams.expect(&origin.authority, route);
    }
    let tls = interceptor.tls_for(name, source).await;
    let mut tls = tls.map_err(io::Error::other)?;
    if speaks_other {
        // RFC 7301 §3.2 has an alert for that, but servers answer as if nothing was offered, and
        // clients such as curl --http1.0 go on with HTTP/1.
        Arc::make_mut(&mut tls).alpn_protocols.clear();
    }
    Ok((start.into_stream(tls).await?, named_otherwise))
}
