//! How Envoy runs the filter: its bootstrap from the verifiers of a configuration, the process
//! and its end.

mod address;
mod admin;
pub mod bootstrap;
pub mod certificate;
mod connections;
mod error;
mod folder;
mod locate;
mod log;
mod process;
mod reload;
mod reservation;
mod url;
pub mod verifier;

pub use connections::Limits;
pub use error::Error;
pub use locate::{ca_bundle, envoy as locate};
pub use process::{Envoy, Options};

/// The compiled filter, a proxy-wasm module.
pub const FILTER_WASM: &[u8] = include_bytes!(env!("JWTPROXY_FILTER_WASM"));
