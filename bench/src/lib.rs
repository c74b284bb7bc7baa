//! Contenders, load, and what is made of their figures.
//!
//! Speeds are compared by the CPU time that a request takes in the process under measurement: the
//! load runs on another core, and what it is waited for does not count.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what fails here fails the run"
)]

pub mod contest;
pub mod envoy_peer;
pub mod fleet;
pub mod goal;
pub mod http;
pub mod load;
pub mod machine;
pub mod process;
pub mod report;
pub mod signer;
pub mod tokens;
pub mod verifier;
