//! The part of a verifier's configuration that the YAML file and the filter share.

use super::reader::{self, Section};
use crate::audience::Audience;
use crate::config::duration;
use crate::policy::{ClaimsVerifier, Policy};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Live nonces a `local` store has room for unless configured otherwise.
const DEFAULT_CAPACITY: u32 = 1_000_000;

/// Where used nonces are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceStorage {
    /// In the memory of this Envoy, shared by its workers.
    Local {
        /// The most nonces that may be live at once.
        capacity: u32,
    },
    /// Nowhere: tokens may be used again.
    Void,
}

/// What a verifier is to do, wherever its configuration comes from.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What is demanded of tokens.
    pub policy: Policy,
    /// Where used nonces are remembered.
    pub nonce_storage: NonceStorage,
}

/// Reads the keys that are the same in the YAML file and in the filter's JSON.
pub fn rules(section: &mut Section<'_>) -> Option<Rules> {
    let policy = policy(section);
    let nonce_storage = nonce_storage(section);
    Some(Rules {
        policy: policy?,
        nonce_storage: nonce_storage?,
    })
}

/// The keys `audience`, `max_skew`, `max_ttl` and `claims_verifiers`.
fn policy(section: &mut Section<'_>) -> Option<Policy> {
    let audience = section.field("audience").required(reader::text);
    let max_skew = section
        .field("max_skew")
        .or(Duration::from_secs(60), reader::duration);
    let max_ttl = section
        .field("max_ttl")
        .or(Duration::from_secs(300), reader::duration);
    let claims_verifiers = section.field("claims_verifiers").sections(claims_verifier);
    Some(Policy {
        audience: Audience::new(audience?),
        max_skew: max_skew?,
        max_ttl: max_ttl?,
        claims_verifiers: claims_verifiers?,
    })
}

/// The key `nonce_storage`.
fn nonce_storage(section: &mut Section<'_>) -> Option<NonceStorage> {
    section.field("nonce_storage").section(|storage| {
        let kind = storage
            .field("type")
            .or("local", reader::one_of(&["local", "void"]))?;
        storage.field("options").section(|options| match kind {
            "local" => {
                // Nonces are purged whenever their bucket is written; the key of the original is
                // taken and needs nothing more.
                options
                    .field("purge_interval")
                    .or(Duration::ZERO, reader::duration)?;
                let range = reader::integer(1..=100_000_000);
                let capacity = options.field("capacity").or(DEFAULT_CAPACITY, range)?;
                Some(NonceStorage::Local { capacity })
            }
            _ => Some(NonceStorage::Void),
        })
    })
}

fn claims_verifier(section: &mut Section<'_>) -> Option<ClaimsVerifier> {
    section
        .field("type")
        .required(reader::one_of(&["static"]))?;
    let claims = section
        .field("options")
        .section(|options| Some(options.fields()))?;
    if claims.is_empty() {
        section.mistake("expected \"options\" with at least one claim");
        return None;
    }
    Some(ClaimsVerifier::Static(claims))
}

/// Writes what [`rules`] reads.
pub(super) fn write(rules: &Rules, into: &mut Map<String, Value>) {
    let Rules {
        policy,
        nonce_storage,
    } = rules;
    let claims_verifiers: Vec<_> = (policy.claims_verifiers.iter())
        .map(|ClaimsVerifier::Static(claims)| json!({"type": "static", "options": claims}))
        .collect();
    let nonce_storage = match nonce_storage {
        NonceStorage::Local { capacity } => {
            json!({"type": "local", "options": {"capacity": capacity}})
        }
        NonceStorage::Void => json!({"type": "void"}),
    };
    for (name, value) in [
        ("audience", json!(policy.audience.as_str())),
        ("max_skew", json!(duration::format(policy.max_skew))),
        ("max_ttl", json!(duration::format(policy.max_ttl))),
        ("claims_verifiers", json!(claims_verifiers)),
        ("nonce_storage", nonce_storage),
    ] {
        into.insert(name.to_owned(), value);
    }
}
