//! The peers of the end-to-end tests and of the demonstration.
//!
//! Each is a value that writes its own configuration, listens on a free port of the loopback
//! interface, is ready once it is there, and ends when it is dropped.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what fails here fails the test"
)]

pub mod authority;
pub mod certificates;
pub mod client;
pub mod curl;
pub mod front;
pub mod gate;
pub mod grpc;
pub mod https_upstream;
pub mod jwtproxy;
pub mod key_server;
pub mod keys;
pub mod own_envoy;
pub mod raw_upstream;
pub mod received;
pub mod registry;
pub mod signer;
pub mod streams;
pub mod tokens;
pub mod tools;
pub mod upstream;
pub mod verifier;
pub mod websocket;
