//! Configuration: reading it with every mistake named in one go, and the verifier's part of it.

pub mod duration;
pub mod filter;
pub mod reader;
pub mod verifier;
