//! Envoy's bootstrap: a listener for each verifier, with the filter in it, and the clusters that
//! it and the filter call.

use crate::verifier::{HttpUrl, KeyServer, VerifierProxy};
use jwt_core::config::filter::{Endpoint, FilterConfig, KeyServer as FilterKeyServer, Keyregistry};
use serde_json::{Value, json};
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

/// How long the filter waits for a registry's answer, and Envoy for a connection.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Far above what one machine serves; it keeps descriptors and memory bounded.
const MAX_CONNECTIONS: u32 = 50_000;

/// Where Envoy finds the files that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The filter's module.
    pub filter_wasm: &'a Path,
    /// The socket of the admin interface. A socket in a private folder, not a port: whoever can
    /// reach the admin interface can stop Envoy.
    pub admin_socket: &'a Path,
}

/// The bootstrap for these verifiers.
pub fn bootstrap(verifiers: &[VerifierProxy], files: Files<'_>) -> Value {
    let listeners: Vec<_> = verifiers
        .iter()
        .enumerate()
        .map(|(i, verifier)| listener(i, verifier, files))
        .collect();
    let clusters: Vec<_> = verifiers
        .iter()
        .enumerate()
        .flat_map(|(i, verifier)| clusters(i, verifier))
        .collect();
    json!({
        "node": {"id": "jwtproxy", "cluster": "jwtproxy"},
        "admin": {"address": {"pipe": {"path": files.admin_socket, "mode": 0o600}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "stats_config": {"stats_tags": [
            {"tag_name": "reason", "regex": r"^wasmcustom\.jwtproxy\.refused(\.(\w+))$"},
            {"tag_name": "outcome", "regex": r"^wasmcustom\.jwtproxy\.key_fetches(\.(\w+))$"},
            {"tag_name": "outcome", "regex": r"^wasmcustom\.jwtproxy\.key_cache(\.(\w+))$"},
            {"tag_name": "by", "regex": r"^wasmcustom\.jwtproxy\.signatures(\.(\w+))$"},
        ]},
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": MAX_CONNECTIONS,
            },
        }]},
    })
}

/// The name of a verifier's listener, in the order of the configuration.
pub fn listener_name(index: usize) -> String {
    format!("verifier_proxies[{index}]")
}

fn upstream_cluster(index: usize) -> String {
    format!("upstream_{index}")
}

fn registry_cluster(index: usize) -> String {
    format!("keyregistry_{index}")
}

fn listener(index: usize, verifier: &VerifierProxy, files: Files<'_>) -> Value {
    json!({
        "name": listener_name(index),
        "address": {"socket_address": {
            "address": verifier.listen.ip.to_string(),
            "port_value": verifier.listen.port,
            // As elsewhere, [::] is every address, IPv4 included.
            "ipv4_compat": verifier.listen.ip == Ipv6Addr::UNSPECIFIED,
        }},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": http_connection_manager(index, verifier, files),
        }]}],
    })
}

fn http_connection_manager(index: usize, verifier: &VerifierProxy, files: Files<'_>) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": format!("verifier_{index}"),
        // What the path means must be the same for us and for the upstream.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        // The peer's address counts, not what it says of itself.
        "use_remote_address": true,
        // The upstream's responses pass as they are.
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": false,
        "request_headers_timeout": "10s",
        "http_filters": [
            {
                "name": "jwtproxy",
                "typed_config": wasm_filter(&filter_config(index, verifier), files.filter_wasm),
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": true,
                },
            },
        ],
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            // What Envoy tells itself.
            "request_headers_to_remove": ["x-envoy-external-address", "x-envoy-internal"],
            "routes": [{
                "match": {"prefix": "/"},
                "route": {
                    "cluster": upstream_cluster(index),
                    "prefix_rewrite": with_slash(verifier.upstream.path()),
                    // How long an answer may take is the client's and the upstream's affair.
                    "timeout": "0s",
                },
            }],
        }]},
    })
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

fn filter_config(index: usize, verifier: &VerifierProxy) -> FilterConfig {
    let key_server = match &verifier.key_server {
        KeyServer::Preshared(preshared) => FilterKeyServer::Preshared(preshared.clone()),
        KeyServer::Keyregistry { url, cache } => FilterKeyServer::Keyregistry(Keyregistry {
            endpoint: Endpoint {
                cluster: registry_cluster(index),
                authority: url.authority().to_owned(),
                path: url.path().to_owned(),
                timeout: REGISTRY_TIMEOUT,
            },
            cache: *cache,
        }),
    };
    FilterConfig {
        rules: verifier.rules.clone(),
        key_server,
    }
}

fn clusters(index: usize, verifier: &VerifierProxy) -> Vec<Value> {
    let mut clusters = vec![cluster(&upstream_cluster(index), &verifier.upstream)];
    if let KeyServer::Keyregistry { url, .. } = &verifier.key_server {
        clusters.push(cluster(&registry_cluster(index), url));
    }
    clusters
}

fn cluster(name: &str, url: &HttpUrl) -> Value {
    json!({
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": format!("{}s", REGISTRY_TIMEOUT.as_secs()),
        // `localhost` is often two addresses with a server behind one of them.
        "dns_lookup_family": "ALL",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
                "address": url.host(),
                "port_value": url.port(),
            }}}}]}],
        },
    })
}

fn with_slash(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}
