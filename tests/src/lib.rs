//! End-to-end: real Envoy, real signer, real registry.
