//! Routes: which cluster a request goes to, how long it may be silent, and what is sent again.

use super::upgrades::is_websocket;
use super::{grpc_cluster, upstream_cluster};
use serde_json::{Value, json};

/// How long nothing may come or go in a request: a body that stops, an answer that does not begin.
pub(super) const IDLE_TIMEOUT: &str = "300s";

/// The same for streams whose nature is to be silent for long: WebSockets and gRPC.
const LONG_IDLE_TIMEOUT: &str = "3600s";

/// What is sent again whatever the request: what has not left Envoy, and what an HTTP/2 server
/// says it has not processed (RFC 9113 §8.7, REFUSED_STREAM and the last stream of a GOAWAY).
const NOT_PROCESSED: &str = "reset-before-request,refused-stream";

/// Beyond that, requests that ask for nothing but an answer: RFC 9110 §9.2.2, "if the underlying
/// connection is closed before any of the response is received". A connection that the server
/// closes just when it is used again is such a case.
const NO_ANSWER: &str = "reset,refused-stream";

/// Methods of requests that may reach an upstream twice (RFC 9110 §9.2.1). PUT and DELETE could as
/// well, but few upstreams are so strict.
const SAFE_METHODS: &str = "GET|HEAD|OPTIONS";

/// How often a request is sent again.
const RETRIES: u32 = 2;

/// The routes of the verifier `index`, to an upstream with this path.
pub(super) fn routes(index: usize, prefix: &str) -> Value {
    let route = |cluster: String, idle_timeout, retry_on| {
        json!({
            "cluster": cluster,
            "prefix_rewrite": with_slash(prefix),
            // How long an answer may take is the client's and the upstream's affair.
            "timeout": "0s",
            "idle_timeout": idle_timeout,
            "retry_policy": {"retry_on": retry_on, "num_retries": RETRIES},
        })
    };
    let upstream = || upstream_cluster(index);
    json!([
        {
            "match": {"prefix": "/", "grpc": {}},
            "route": route(grpc_cluster(index), LONG_IDLE_TIMEOUT, NOT_PROCESSED),
        },
        {
            "match": {"prefix": "/", "headers": [is_websocket()]},
            "route": route(upstream(), LONG_IDLE_TIMEOUT, NOT_PROCESSED),
        },
        {
            "match": {"prefix": "/", "headers": [{
                "name": ":method",
                "string_match": {"safe_regex": {"regex": SAFE_METHODS}},
            }]},
            "route": route(upstream(), IDLE_TIMEOUT, NO_ANSWER),
        },
        {
            "match": {"prefix": "/"},
            "route": route(upstream(), IDLE_TIMEOUT, NOT_PROCESSED),
        },
    ])
}

fn with_slash(path: &str) -> String {
    format!("{}/", path.trim_end_matches('/'))
}
