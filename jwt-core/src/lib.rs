//! The token rules of jwtproxy as pure functions: no I/O, no clock, no randomness of their own.
//!
//! What the rules need from outside (the time, a key, a signature check, a claimed nonce) is
//! handed in, so the same code runs in Envoy's wasm VM, in the native processes and in tests.

pub mod audience;
pub mod issue;
pub mod time;
