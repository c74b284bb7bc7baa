//! What a request says of the way it has come.

use serde_json::{Value, json};

/// The fields in which proxies in front write, and those with which Envoys talk to each other. To
/// some upstreams (CGI, WSGI) `-` and `_` are the same.
const OF_PROXIES: &str = "forwarded|x[-_](?:forwarded[-_].*|real[-_]ip|envoy[-_].*)";

/// The same without those that a trusted proxy writes: names that no proxy uses, but that an
/// upstream could take for one of those.
const OF_NO_PROXY: &str =
    "x_forwarded[-_].*|x-forwarded_.*|x-forwarded-.*_.*|x_real[-_]ip|x-real_ip|x[-_]envoy[-_].*";

/// Removes what a client must not say, before Envoy adds what it knows itself.
pub(super) fn sanitizer(trusted_hops: u32) -> Value {
    let names = match trusted_hops {
        0 => OF_PROXIES,
        _ => OF_NO_PROXY,
    };
    json!([{
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"remove_on_match": {"key_matcher": {"safe_regex": {"regex": names}}}}],
        },
    }])
}
