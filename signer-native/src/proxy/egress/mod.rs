//! The way to the servers: TCP, or a parent proxy, and TLS on top.

mod ahead;
mod dial;
mod frames;
mod parent;
mod places;
mod reach;
mod records;
mod resolver;
mod trust;
mod upstream_io;
mod whereabouts;
mod wire;

pub use parent::{ParentProxy, ParentProxyError};
pub use trust::{Trust, TrustError, certificates};

use super::Settings;
use super::error::Error;
use super::request_body::RequestBody;
use crate::admin::Metrics;
use ahead::Ahead;
use dial::{Bounded, Dialer};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use places::Places;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use upstream_io::Remembering;

pub(super) use places::{NoPlace, answering};
pub(super) use reach::{Barrier, OwnAddresses, Reach, Route};
pub(super) use upstream_io::History;
pub(super) use wire::Wire;

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct Egress {
    /// Which certificates are believed.
    pub trust: Trust,
    /// The proxy that everything goes through, if there is one.
    pub parent: Option<Arc<ParentProxy>>,
}

/// How a request is to be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/2 where the server offers it by ALPN, else HTTP/1.1.
    Negotiated,
    /// HTTP/1.1, for an upgrade.
    Http1,
    /// HTTP/2 without TLS, where the client has shown that it knows (RFC 9113 §3.3).
    Http2PriorKnowledge,
}

/// Connections to servers, kept and reused by the requests of one route: what was connected to
/// under one rule is never used under another.
#[derive(Debug)]
pub(super) struct Upstreams {
    reach: Arc<Reach>,
    by_name: Connections,
    by_address: HashMap<usize, Connections>,
}

#[derive(Debug)]
struct Connections {
    negotiated: Client<Ahead<Https>, RequestBody>,
    ahead: Ahead<Https>,
    http1: HttpClient,
    http2: HttpClient,
    tunnels: Bounded<Dialer>,
}

type Https = Bounded<Remembering<HttpsConnector<Dialer>>>;
type HttpClient = Client<Https, RequestBody>;

/// Finds out that a server is gone, which no TCP packet says.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The header section of a response, in bytes.
pub(super) const MOST_OF_A_RESPONSE_HEAD: usize = 400 << 10;

/// The HTTP library wants a number too: half of what its type for header sections holds.
const MOST_FIELDS: usize = 16 << 10;

impl Upstreams {
    pub(super) fn new(
        egress: &Egress,
        settings: &Settings,
        reach: Arc<Reach>,
        metrics: &Metrics,
    ) -> Self {
        let open = metrics.upstream_connections().clone();
        let places = Places::new(settings.max_upstream_connections, open);
        let connections = |route| {
            let dialer = Dialer::new(
                Arc::clone(&reach),
                route,
                egress.parent.clone(),
                settings.connect_timeout,
                places.clone(),
            );
            Connections::new(egress, settings, &dialer)
        };
        let by_address = reach.rules_by_address();
        Self {
            by_name: connections(Route::ByName),
            by_address: by_address
                .map(|rule| (rule, connections(Route::ByAddress(rule))))
                .collect(),
            reach: Arc::clone(&reach),
        }
    }

    /// Where there are none, a dialer that refuses what another rule decides.
    fn of(&self, route: Route) -> &Connections {
        match route {
            Route::ByName => &self.by_name,
            Route::ByAddress(rule) => self.by_address.get(&rule).unwrap_or(&self.by_name),
        }
    }

    /// The rules on what is reached.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Sends a request and waits for the header section of the response.
    pub(super) async fn request(
        &self,
        request: Request<RequestBody>,
        route: Route,
        protocol: Protocol,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.of(route).request(request, protocol).await
    }

    /// Begins to connect to an `https` server that will be asked for something, most likely.
    pub(super) fn expect(&self, authority: &http::uri::Authority, route: Route) {
        let uri = http::Uri::builder()
            .scheme("https")
            .authority(authority.clone())
            .path_and_query("/")
            .build();
        // Who asks for it is told what is wrong with it.
        if let Ok(uri) = uri {
            self.of(route).ahead.begin(uri);
        }
    }

    /// A connection for bytes that are none of our business.
    pub(super) async fn connect(
        &self,
        authority: &http::uri::Authority,
        route: Route,
    ) -> Result<TokioIo<Wire>, Error> {
        let uri = http::Uri::builder()
            .scheme("http")
            .authority(authority.clone())
            .path_and_query("/")
            .build()
            .map_err(|_| Error::Authority)?;
        let wire = self.of(route).tunnels.connect(uri).await;
        let wire = wire.map_err(|error| Error::from_dialing(authority.clone(), &*error))?;
        Ok(TokioIo::new(wire))
    }
}

impl Connections {
    fn new(egress: &Egress, settings: &Settings, dialer: &Dialer) -> Self {
        let tls = egress.trust.client_config();
        let bounded = |inner, http2_only| {
            let inner = Remembering::new(inner, http2_only);
            Bounded::new(inner, settings.connect_timeout)
        };
        let https = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
        };
        let negotiated = https().enable_http1().enable_http2();
        let http1 = https().enable_http1();
        let http2 = https().enable_http2();
        let ahead = Ahead::new(bounded(negotiated.wrap_connector(dialer.clone()), false));
        Self {
            negotiated: client(settings).build(ahead.clone()),
            ahead,
            http1: client(settings)
                .build(bounded(http1.wrap_connector(dialer.tunnelling()), false)),
            http2: client(settings)
                .http2_only(true)
                .build(bounded(http2.wrap_connector(dialer.tunnelling()), true)),
            tunnels: Bounded::new(dialer.tunnelling(), settings.connect_timeout),
        }
    }

    async fn request(
        &self,
        request: Request<RequestBody>,
        protocol: Protocol,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        let client = match protocol {
            Protocol::Negotiated => return self.negotiated.request(request).await,
            Protocol::Http1 => &self.http1,
            Protocol::Http2PriorKnowledge => &self.http2,
        };
        client.request(request).await
    }
}

fn client(settings: &Settings) -> Builder {
    let mut client = Client::builder(TokioExecutor::new());
    client
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(settings.pool_idle_timeout)
        .http1_preserve_header_case(true)
        .http1_title_case_headers(true)
        .http1_max_buf_size(MOST_OF_A_RESPONSE_HEAD)
        .http1_max_headers(MOST_FIELDS)
        .http2_max_header_list_size(MOST_OF_A_RESPONSE_HEAD as u32)
        .http2_keep_alive_interval(PING_INTERVAL);
    client
}
