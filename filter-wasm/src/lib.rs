//! The verifier: a proxy-wasm HTTP filter for Envoy.
