//! The token rules of jwtproxy as pure functions: no I/O, no clock, no randomness of their own.
//!
//! What the rules need from outside (the time, a key, a signature check, a claimed nonce) is
//! handed in, so the same code runs in Envoy's wasm VM, in the native processes and in tests.
//!
//! The way of a token, each step a type that only the step before can make:
//! [`token::Token`] → [`verify::CurrentToken`] → [`verify::AgreedToken`] →
//! [`verify::VerifiedToken`]. [`machine::Machine`] walks it and can pause where an answer has to
//! come from outside.

#[cfg(test)]
mod attacks;
pub mod audience;
pub mod authority;
mod backoff;
mod cache_control;
pub mod config;
pub mod excludes;
pub mod fetch_budget;
pub mod handover;
pub mod issue;
pub mod key;
pub mod key_cache;
pub mod key_lifecycle;
pub mod machine;
pub mod marks;
pub mod nonce;
pub mod nonce_bucket;
pub mod policy;
pub mod rate_limit;
pub mod refusal;
pub mod registry;
pub mod registry_token;
pub mod seal;
pub mod shared_key;
pub mod signature;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod token;
pub mod token_cache;
pub mod verify;

pub use jwt_keys::algorithm;
