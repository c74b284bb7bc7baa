//! The contenders as Envoy is told of them.

use crate::tokens::{AUDIENCE, ISSUER, Key, LIFETIME};
use serde_json::{Value, json};
use std::path::Path;

/// What our filter remembers.
#[derive(Clone, Copy)]
pub(super) enum Nonces {
    /// Nothing: `void`.
    Void,
    /// `local`, with room for so many.
    Local(usize),
}

/// Our filter with one given key.
pub(super) fn filter(module: &Path, key: &Key, nonces: Nonces) -> Vec<Value> {
    let nonce_storage = match nonces {
        Nonces::Void => json!({"type": "void"}),
        Nonces::Local(capacity) => json!({"type": "local", "options": {"capacity": capacity}}),
    };
    let configuration = json!({
        "audience": AUDIENCE,
        "max_ttl": format!("{}s", LIFETIME.as_secs()),
        "nonce_storage": nonce_storage,
        // As jwtproxy sets one.
        "shared_data_secret": "0123456789abcdef0123456789abcdef",
        "key_server": {"type": "preshared", "options": {
            "issuer": ISSUER,
            "key_id": key.key_id(),
            "public_key": key.public_pem(),
        }},
    });
    wasm(module, &configuration)
}

/// One that does nothing.
pub(super) fn idle(module: &Path) -> Vec<Value> {
    wasm(module, &json!({}))
}

fn wasm(module: &Path, configuration: &Value) -> Vec<Value> {
    vec![json!({
        "name": "wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "wasm",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": "bench",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": configuration,
                },
            },
        },
    })]
}

/// Envoy's own, with its cache of tokens or without.
pub(super) fn jwt_authn(keys: &[&Key], cached: bool) -> Vec<Value> {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "forward": true,
        "local_jwks": {"inline_string": json!({"keys": keys}).to_string()},
    });
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
    }
    vec![json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"service": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "service"}}],
        },
    })]
}
