//! Public keys: reading them, writing them, and checking signatures with them.
//!
//! A crate of its own because the filter is built with it small: behind a host that checks the
//! signatures, no request comes here.

pub mod algorithm;
mod ecdsa;
mod error;
mod jwk;
mod material;
pub mod pem;
mod public_key;
mod spki;

pub use ecdsa::ecdsa_in_der;
pub use error::KeyError;
pub use material::KeyType;
pub use public_key::PublicKey;
