//! Clusters: whom Envoy and the filter call.

use super::tls;
use crate::Error;
use crate::verifier::HttpUrl;
use serde_json::{Value, json};
use std::path::Path;

/// How much of a body waits in memory for a slow reader, for each connection.
pub(super) const BUFFER_LIMIT: u32 = 32 * 1024;

/// How long a connection without a request stays open. Servers close theirs after 5 s (Node,
/// Apache, uvicorn) or later, and a request must not be on its way at that moment.
const IDLE_TIMEOUT: &str = "4s";

/// How large the header section of an answer may be. Bytes are the bound: as many fields as fit.
pub(super) const MAX_RESPONSE_HEAD_KIB: u32 = 256;

/// More fields than [`MAX_RESPONSE_HEAD_KIB`] have room for; Envoy's default is 100.
const MAX_RESPONSE_FIELDS: u32 = MAX_RESPONSE_HEAD_KIB * 1024;

/// One cluster to be.
pub(super) struct Cluster<'a> {
    pub(super) name: String,
    pub(super) target: Target<'a>,
    pub(super) protocol: Protocol,
    /// Without them Envoy's defaults are in force, 1024 of each.
    pub(super) limits: Option<ClusterLimits>,
}

/// How much there may be at once. A request that finds no connection waits for one.
#[derive(Clone, Copy)]
pub(super) struct ClusterLimits {
    pub(super) connections: u32,
    pub(super) requests: u32,
}

/// Where it is.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Url(&'a HttpUrl),
    Unix(&'a Path),
}

/// What is spoken to it.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    Http1,
    /// Without asking whether the server knows it.
    Http2,
}

impl Cluster<'_> {
    pub(super) fn to_json(&self, ca_bundle: Option<&Path>) -> Result<Value, Error> {
        // What is null is not there for Envoy.
        Ok(json!({
            "name": self.name,
            "type": self.target.discovery(),
            // `localhost` is often two addresses with a server behind one of them.
            "dns_lookup_family": "ALL",
            "connect_timeout": "5s",
            "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
            "circuit_breakers": self.limits.map(|limits| json!({"thresholds": [{
                "max_connections": limits.connections,
                "max_pending_requests": limits.requests,
                "max_requests": limits.requests,
                // Of requests that are sent again, at once.
                "max_retries": limits.connections,
            }]})),
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": self.target.address()}}]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": self.protocol.options(),
            },
            "transport_socket": self.transport_socket(ca_bundle)?,
        }))
    }

    fn transport_socket(&self, ca_bundle: Option<&Path>) -> Result<Option<Value>, Error> {
        match self.target {
            Target::Url(url) if url.is_secure() => {
                let ca_bundle = ca_bundle.ok_or_else(|| Error::NoTrustedCertificates {
                    url: format!("https://{}", url.authority()),
                })?;
                Ok(Some(tls::upstream(url, self.protocol.alpn(), ca_bundle)))
            }
            _ => Ok(None),
        }
    }
}

impl Target<'_> {
    fn discovery(self) -> &'static str {
        match self {
            // One connection at a time to whichever address answers, as other clients do it.
            Self::Url(_) => "LOGICAL_DNS",
            Self::Unix(_) => "STATIC",
        }
    }

    fn address(self) -> Value {
        match self {
            Self::Url(url) => json!({"socket_address": {
                "address": url.host(),
                "port_value": url.port(),
            }}),
            Self::Unix(path) => json!({"pipe": {"path": path}}),
        }
    }
}

impl Protocol {
    fn options(self) -> Value {
        let explicit = match self {
            Self::Http1 => json!({"http_protocol_options": {"enable_trailers": true}}),
            Self::Http2 => json!({"http2_protocol_options": {}}),
        };
        json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": explicit,
            "common_http_protocol_options": {
                "idle_timeout": IDLE_TIMEOUT,
                "max_headers_count": MAX_RESPONSE_FIELDS,
                "max_response_headers_kb": MAX_RESPONSE_HEAD_KIB,
            },
        })
    }

    fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}
