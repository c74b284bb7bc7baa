//! Runs Envoy with the jwtproxy filter: bootstrap, supervision, examples.
