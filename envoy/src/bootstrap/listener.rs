//! Listeners: what comes in, and what it has to pass before it goes on.

use super::cluster::BUFFER_LIMIT;
use super::replies::local_replies;
use super::routes::{IDLE_TIMEOUT, routes};
use super::{Files, filter_config, forwarded, listener_name, tls, upgrades};
use crate::verifier::{HttpUrl, ListenAddress, Upstream, VerifierProxy};
use jwt_core::config::filter::FilterConfig;
use serde_json::{Value, json};
use std::net::Ipv6Addr;
use std::path::Path;

/// How long a client may take to say anything at all: its ClientHello, the line of its first
/// request, or the preface of HTTP/2.
const FIRST_BYTES_TIMEOUT: &str = "5s";

/// How long a client may take for its part of the TLS handshake.
const HANDSHAKE_TIMEOUT: &str = "10s";

/// How long a client may take for a request's head.
const HEAD_TIMEOUT: &str = "10s";

/// How long a connection may be without a request; much less where connections are scarce.
const CONNECTION_IDLE_TIMEOUT: &str = "3600s";

/// How long a client that is told of the end of its idle connection may still use it.
const DRAIN_TIMEOUT: &str = "2s";

/// How large the header section of a request may be. Bytes are the bound: as many fields as fit.
pub(super) const MAX_REQUEST_HEAD_KIB: u32 = 60;

/// More fields than [`MAX_REQUEST_HEAD_KIB`] have room for; Envoy's default is 100.
const MAX_REQUEST_FIELDS: u32 = MAX_REQUEST_HEAD_KIB * 1024;

pub(super) fn listener(index: usize, verifier: &VerifierProxy, files: Files<'_>) -> Value {
    let certificate = verifier.certificate.as_ref();
    json!({
        "name": listener_name(index),
        "address": address(&verifier.listen),
        "per_connection_buffer_limit_bytes": BUFFER_LIMIT,
        "listener_filters": [inspector(certificate.is_some())],
        "listener_filters_timeout": FIRST_BYTES_TIMEOUT,
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": http_connection_manager(index, verifier, files),
            }],
            "transport_socket": certificate.map(|_| tls::downstream(index, files.secrets)),
            "transport_socket_connect_timeout": HANDSHAKE_TIMEOUT,
        }],
    })
}

/// Looks at the first bytes of a connection, so that there must be some: what has not come in time
/// closes a connection that no HTTP timeout would, since to them it is just idle.
fn inspector(tls: bool) -> Value {
    match tls {
        true => json!({
            "name": "envoy.filters.listener.tls_inspector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
            },
        }),
        false => json!({
            "name": "envoy.filters.listener.http_inspector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
            },
        }),
    }
}

fn address(listen: &ListenAddress) -> Value {
    match listen {
        ListenAddress::Tcp(address) => json!({"socket_address": {
            "address": address.ip.to_string(),
            "port_value": address.port,
            // As elsewhere, [::] is every address, IPv4 included.
            "ipv4_compat": address.ip == Ipv6Addr::UNSPECIFIED,
        }}),
        ListenAddress::Unix(socket) => json!({"pipe": {
            "path": socket.path(),
            "mode": socket.mode(),
        }}),
    }
}

fn http_connection_manager(index: usize, verifier: &VerifierProxy, files: Files<'_>) -> Value {
    let trusted_hops = verifier.rules.access.trusted_hops;
    let filter = json!({
        "name": "jwtproxy",
        "typed_config": wasm_filter(&filter_config(index, verifier, files), files.filter_wasm),
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true,
        },
    });
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("verifier_{index}"),
        // What the path means must be the same for us and for the upstream.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        // The peer's address counts, not what it says of itself, unless it is a trusted proxy.
        "use_remote_address": true,
        "xff_num_trusted_hops": trusted_hops,
        "early_header_mutation_extensions": forwarded::sanitizer(trusted_hops),
        // The upstream's responses pass as they are.
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": false,
        // A client that sends slowly, or much before it is verified, costs little.
        "request_headers_timeout": HEAD_TIMEOUT,
        "stream_idle_timeout": IDLE_TIMEOUT,
        "max_request_headers_kb": MAX_REQUEST_HEAD_KIB,
        "common_http_protocol_options": {
            "max_headers_count": MAX_REQUEST_FIELDS,
            "idle_timeout": CONNECTION_IDLE_TIMEOUT,
        },
        "drain_timeout": DRAIN_TIMEOUT,
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * 1024,
            "initial_connection_window_size": 1024 * 1024,
        },
        "http_protocol_options": {
            // Only a forward proxy's clients write whole URLs as their target.
            "allow_absolute_url": false,
            // What nginx speaks to its upstreams by default, and many health checks.
            "accept_http_10": true,
            "default_host_for_http_10": default_host(verifier),
            "enable_trailers": true,
            "ignore_http_11_upgrade": upgrades::ignored(),
        },
        "local_reply_config": local_replies(),
        "upgrade_configs": upgrades::permitted(&filter, &router),
        "http_filters": [filter, router],
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            // What Envoy tells itself.
            "request_headers_to_remove": ["x-envoy-external-address", "x-envoy-internal"],
            "routes": routes(index, verifier.upstream.path()),
        }]},
    })
}

/// The `Host` of an HTTP/1.0 request without one: that of the audience, else of the upstream.
fn default_host(verifier: &VerifierProxy) -> String {
    let audience = verifier.rules.policy.audience.as_str();
    let of_audience = HttpUrl::parse(audience).ok();
    let url = of_audience.as_ref().or(match &verifier.upstream {
        Upstream::Http(url) => Some(url),
        Upstream::Unix(_) => None,
    });
    url.map_or("localhost", HttpUrl::authority).to_owned()
}

fn wasm_filter(config: &FilterConfig, module: &Path) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "jwtproxy",
            "root_id": "jwtproxy",
            // Never open: a VM that has crashed refuses requests and is started anew.
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": "jwtproxy",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": config.to_json().to_string(),
            },
        },
    })
}
