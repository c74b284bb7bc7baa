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
/// What Envoy's own access log can tell.
mod access_log;
/// Every algorithm, by the host and in the VM.
mod algorithms;
/// What the upstream's answer is on its way: cut off, early, with trailers.
mod answers;
/// Certificates and keys as openssl makes them and people write them.
mod certificates;
/// A request on its whole way: signer, Envoy with the filter, upstream.
mod chain;
/// Clocks that are wrong: which, and by how much.
mod clocks;
/// The command: its configuration, its signals, its end.
mod command;
/// The reference documentation: every key, nothing else, and examples that are read.
mod documentation;
/// What other users of the machine can do to a running Envoy's files.
mod envoy_files;
/// What Envoy refuses or puts right by itself, and what becomes of a filter that fails.
mod envoy_guards;
/// What clients can do to the log.
mod envoy_log;
/// The examples in envoy/examples, each loaded and asked.
mod examples;
/// Strangers and services that share key fetches and nonces.
mod fetch_fairness;
/// The filter's own configuration: refused by Envoy at load, with our words.
mod filter_configuration;
/// gRPC: HTTP/2 to the upstream, trailers, refusals as its clients understand them.
mod grpc;
/// What the upstream gets of a token.
mod handover;
/// Files that another user of the machine has planted.
mod hostile_files;
/// Requests that no honest client sends.
mod hostile_requests;
/// HTTPS through the signer: its certificates, and who must agree on the host.
mod interception;
/// Key servers of the type `jwks`: a set for each issuer.
mod jwks;
/// The signer killed at each step of a key's life.
mod key_crashes;
/// When keys are fetched, and what happens when they cannot be.
mod key_fetches;
/// The first key of a service, and the signers that share it.
mod key_first_start;
/// One key after the other, under load.
mod key_rotation;
/// Key servers in every state, and how they are spared.
mod key_servers;
/// How many fields a head may have, and how large it may be, both ways.
mod large_heads;
/// Where a verifier listens: ports, unix sockets.
mod listeners;
/// Clients that speak HTTP/1.0.
mod old_clients;
/// Another plugin in the same Envoy that writes to the memory of the filter.
mod other_plugins;
/// HTTP in all its versions, and what lives on top of it.
mod protocols;
/// What a request says of the proxies it came through.
mod proxies_in_front;
/// Errors that Envoy makes: each has a reason in its body.
mod reasons;
/// What the log says of refusals, and how much of it.
mod refusal_log;
/// Each rule on tokens, with its status and its reason.
mod refusals;
/// A registry that is down, slow, or says something else.
mod registry_outages;
/// A client of the signer that tries to become the service: nothing is signed for a registry.
mod registry_takeover;
/// Tokens for the registry on requests.
mod registry_tokens;
/// A whole life of a key at the registry, with curl and openssl alone.
mod registry_trace;
/// What is sent again to an upstream, and what never is.
mod repeated_requests;
/// Single use, however many try at once.
mod replays;
/// What a restart forgets, and the guard against it.
mod restart_guard;
/// The vectors of Wycheproof, checked by Envoy's own function.
mod signature_vectors;
/// Running the signer: its admin address, its log, its socket, its end.
mod signer_operations;
/// Which requests the signer signs, and how.
mod signer_policy;
/// What the signer leads to, and what it never does.
mod signer_reach;
/// Clients of the signer that say nothing, or nothing complete.
mod silent_clients;
/// Clients that open connections to a verifier and say nothing, or not enough.
mod silent_connections;
/// docs/threat-model.md: every attack in it has its tests.
mod threat_model;
/// TLS to clients: versions, protocols, certificates that change.
mod tls_termination;
/// How large, how deep and how odd a token may be.
mod token_bounds;
/// Tokens that may be used again, and what ends that.
mod token_reuse;
/// What a client offers to upgrade to, and the answers to it.
mod upgrades;
/// Which servers the signer believes.
mod upstream_tls;
/// Whom Envoy calls: http, https and unix sockets, with a path before the request's.
mod upstreams;
/// Requests that wait for keys: thousands of them at once, and what they leave to others.
mod waiting_requests;
/// WebSockets: verified like any request, then left alone.
mod websockets;
