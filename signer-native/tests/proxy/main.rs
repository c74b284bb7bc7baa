//! The forward proxy between real sockets, all on loopback and on ports the system chooses.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

// What takes part: the proxy, the servers behind it, the clients before it.
mod client;
mod message;
mod running_proxy;
mod upstream;

// The token that arrives.
mod signing;
// What passes: fields, bodies.
mod bodies;
mod fields;
// How connections are used, and how they end.
mod connections;
mod repeats;
mod shutdown;
mod transparency;
// What does not pass, and what the client is told.
mod access;
mod failures;
mod refusals;
mod smuggling;
mod upgrades;
// How much it takes.
mod limits;
// CONNECT without a look inside.
mod tunnels;
