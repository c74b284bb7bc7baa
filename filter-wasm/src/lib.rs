//! The verifier as a proxy-wasm HTTP filter.
//!
//! [`gate::Gate`] decides, as a state machine over plain values that runs anywhere; the modules
//! below `host` translate Envoy's calls to it and exist only in the wasm build.

pub mod authorization;
pub mod configuration;
pub mod gate;
#[cfg(target_arch = "wasm32")]
mod host;
pub mod keys;
pub mod nonces;
pub mod reply;
pub mod shared_data;
