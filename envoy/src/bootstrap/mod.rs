//! Envoy's bootstrap: a listener for each verifier, with the filter in it, and the clusters that
//! it and the filter call.

mod cluster;
mod forwarded;
mod listener;
mod overload;
mod replies;
mod routes;
mod tls;
mod upgrades;

use crate::Error;
use crate::certificate::{CertificateFiles, ForEnvoy};
use crate::connections::Limits;
use crate::verifier::{HttpUrl, KeyServer, Upstream, VerifierProxy};
use cluster::{Cluster, ClusterLimits, Protocol, Target};
use jwt_core::config::filter::{
    Endpoint, FilterConfig, Jwks, KeyServer as FilterKeyServer, Keyregistry,
};
use jwt_core::seal::Secret;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// How long the filter waits for a key server's answer.
const KEY_SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests to an upstream may be under way; far above what one machine serves.
const MAX_REQUESTS: u32 = 50_000;

/// Where Envoy finds the files that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The filter's module.
    pub filter_wasm: &'a Path,
    /// The socket of the admin interface. A socket in a private folder, not a port: the
    /// admin interface stops Envoy for any user who can reach it.
    pub admin_socket: &'a Path,
    /// Where the files of [`secret_file`] are.
    pub secrets: &'a Path,
    /// What other servers' certificates are verified with.
    pub ca_bundle: Option<&'a Path>,
    /// What the filter seals the values with that its workers share.
    pub shared_data_secret: Option<&'a Secret>,
}

/// The bootstrap for these verifiers.
pub fn bootstrap(
    verifiers: &[VerifierProxy],
    files: Files<'_>,
    limits: Limits,
) -> Result<Value, Error> {
    let listeners: Vec<_> = verifiers
        .iter()
        .enumerate()
        .map(|(i, verifier)| listener::listener(i, verifier, files))
        .collect();
    let mut clusters = Vec::new();
    for (i, verifier) in verifiers.iter().enumerate() {
        for cluster in clusters_of(i, verifier, limits) {
            clusters.push(cluster.to_json(files.ca_bundle)?);
        }
    }
    Ok(json!({
        "node": {"id": "jwtproxy", "cluster": "jwtproxy"},
        "admin": {
            "address": {"pipe": {"path": files.admin_socket, "mode": 0o600}},
            "ignore_global_conn_limit": true,
        },
        "static_resources": {"listeners": listeners, "clusters": clusters},
        "stats_config": {"stats_tags": [
            {"tag_name": "reason", "regex": r"^wasmcustom\.jwtproxy\.refused(\.(\w+))$"},
            {"tag_name": "outcome", "regex": r"^wasmcustom\.jwtproxy\.key_(?:fetches|cache)(\.(\w+))$"},
            {"tag_name": "by", "regex": r"^wasmcustom\.jwtproxy\.signatures(\.(\w+))$"},
        ]},
        "overload_manager": overload::manager(limits.downstream),
    }))
}

/// The name of a verifier's listener, in the order of the configuration.
pub fn listener_name(index: usize) -> String {
    format!("verifier_proxies[{index}]")
}

/// The name of the file that tells Envoy where a verifier's certificate is, and what the file says.
/// Envoy reads the certificate again whenever a file is moved into the folder `secrets`.
pub fn secret_file(
    index: usize,
    certificate: &CertificateFiles,
    for_envoy: &ForEnvoy,
    secrets: &Path,
) -> (String, Value) {
    (
        tls::secret_file_name(index),
        tls::secret(index, certificate, for_envoy, secrets),
    )
}

/// Any request that is not gRPC goes here, with HTTP/1.1.
fn upstream_cluster(index: usize) -> String {
    format!("upstream_{index}")
}

/// gRPC needs HTTP/2 all the way.
fn grpc_cluster(index: usize) -> String {
    format!("upstream_{index}_grpc")
}

/// The cluster of a key server's n-th URL.
fn key_server_cluster(index: usize, n: usize) -> String {
    format!("key_server_{index}_{n}")
}

fn clusters_of(index: usize, verifier: &VerifierProxy, limits: Limits) -> Vec<Cluster<'_>> {
    let target = match &verifier.upstream {
        Upstream::Http(url) => Target::Url(url),
        Upstream::Unix(path) => Target::Unix(path),
    };
    let upstream = |name, protocol, connections| Cluster {
        name,
        target,
        protocol,
        limits: Some(ClusterLimits {
            connections,
            requests: MAX_REQUESTS,
        }),
    };
    let key_server = |(n, url)| Cluster {
        name: key_server_cluster(index, n),
        target: Target::Url(url),
        protocol: Protocol::Http1,
        limits: None,
    };
    let mut clusters = vec![
        upstream(upstream_cluster(index), Protocol::Http1, limits.upstream),
        upstream(grpc_cluster(index), Protocol::Http2, limits.upstream_grpc),
    ];
    let urls = verifier.key_server.urls();
    clusters.extend(urls.into_iter().enumerate().map(key_server));
    clusters
}

fn filter_config(index: usize, verifier: &VerifierProxy, files: Files<'_>) -> FilterConfig {
    let key_server = match &verifier.key_server {
        KeyServer::Preshared(preshared) => FilterKeyServer::Preshared(preshared.clone()),
        KeyServer::Keyregistry { url, cache } => FilterKeyServer::Keyregistry(Keyregistry {
            endpoint: endpoint(index, 0, url),
            cache: *cache,
        }),
        KeyServer::Jwks { issuers, cache } => FilterKeyServer::Jwks(Jwks {
            issuers: (issuers.iter().enumerate())
                .map(|(n, (issuer, url))| (issuer.clone(), endpoint(index, n, url)))
                .collect(),
            cache: *cache,
        }),
    };
    FilterConfig {
        rules: verifier.rules.clone(),
        key_server,
        shared_data_secret: files.shared_data_secret.cloned(),
    }
}

/// How the filter calls a key server's n-th URL.
fn endpoint(index: usize, n: usize, url: &HttpUrl) -> Endpoint {
    Endpoint {
        cluster: key_server_cluster(index, n),
        authority: url.authority().to_owned(),
        path: url.path().to_owned(),
        timeout: KEY_SERVER_TIMEOUT,
    }
}
