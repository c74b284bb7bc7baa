//! The verifier as a proxy-wasm HTTP filter.
//!
//! [`gate::Gate`] decides, as a state machine over plain values that runs anywhere; the modules
//! below `host` translate Envoy's calls to it and exist only in the wasm build.

pub mod configuration;
pub mod credentials;
pub mod events;
pub mod gate;
#[cfg(target_arch = "wasm32")]
mod host;
pub mod keys;
pub mod nonces;
pub mod reply;
pub mod request;
pub mod sealed;
pub mod shared_data;
pub mod verify_signature;
