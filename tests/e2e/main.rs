//! The behaviour that users see, each with the real Envoy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

/// Who gets in without a token, who is sent elsewhere, and where a token may be.
mod access;
/// Every algorithm, by the host and in the VM.
mod algorithms;
/// A request on its whole way: signer, Envoy with the filter, upstream.
mod chain;
/// The command: its configuration, its signals, its end.
mod command;
/// The filter's own configuration: refused by Envoy at load, with our words.
mod filter_configuration;
/// What the upstream gets of a token.
mod handover;
/// Requests that no honest client sends.
mod hostile_requests;
/// HTTPS through the signer: its certificates, and who must agree on the host.
mod interception;
/// When keys are fetched, and what happens when they cannot be.
mod key_fetches;
/// Key servers in every state, and how they are spared.
mod key_servers;
/// HTTP in all its versions, and what lives on top of it.
mod protocols;
/// Each rule on tokens, with its status and its reason.
mod refusals;
/// Single use, however many try at once.
mod replays;
/// Running the signer: its admin address, its log, its socket, its end.
mod signer_operations;
/// Which requests the signer signs, and how.
mod signer_policy;
/// Which servers the signer believes.
mod upstream_tls;
