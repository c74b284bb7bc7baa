//! What must hold of the parsers that read a stranger's bytes, whatever these are.
//!
//! Each function takes any bytes and panics where something does not hold. The targets in
//! `fuzz_targets/` hand them to libFuzzer (`make fuzz`); `tests/seeds.rs` goes through the seeds
//! and the inputs that were found with them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "what fails here is a finding"
)]

mod audience;
mod configuration;
mod credentials;
mod duration;
mod excludes;
mod framing;
mod hosts;
mod keys;
mod publications;
mod registry_answer;
mod signer_target;
mod token;
mod verification;

pub use audience::audience;
pub use configuration::{filter_configuration, yaml};
pub use credentials::credentials;
pub use duration::duration;
pub use excludes::excludes;
pub use framing::framing;
pub use hosts::hosts;
pub use keys::{jwk, jwk_set, pem};
pub use publications::publications;
pub use registry_answer::registry_answer;
pub use signer_target::signer_target;
pub use token::token;
pub use verification::verification;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// All of them, by the names of their targets.
pub const TARGETS: &[(&str, Property)] = &[
    ("audience", audience),
    ("credentials", credentials),
    ("duration", duration),
    ("excludes", excludes),
    ("filter_configuration", filter_configuration),
    ("framing", framing),
    ("hosts", hosts),
    ("jwk", jwk),
    ("jwk_set", jwk_set),
    ("pem", pem),
    ("publications", publications),
    ("registry_answer", registry_answer),
    ("signer_target", signer_target),
    ("token", token),
    ("verification", verification),
    ("yaml", yaml),
];

/// What stands before the first line feed, and what comes after it.
fn two_parts(data: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let first = parts.next().unwrap_or_default();
    (first, parts.next().unwrap_or_default())
}

/// The same of text.
fn two_lines(data: &[u8]) -> Option<(&str, &str)> {
    str::from_utf8(data).ok()?.split_once('\n')
}

/// Scheme, host and port of a URL as browsers read it.
fn origin(text: &str) -> Option<(String, Option<String>, Option<u16>)> {
    let url = url::Url::parse(text).ok()?;
    // The host of a scheme that browsers do not know keeps its case.
    let host = url.host_str().map(str::to_ascii_lowercase);
    Some((url.scheme().to_owned(), host, url.port_or_known_default()))
}
