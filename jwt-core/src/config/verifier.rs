//! The part of a verifier's configuration that the YAML file and the filter share.

use super::duration;
use super::reader::{self, Expected, Section};
use crate::algorithm::Algorithm;
use crate::audience::Audience;
use crate::authority::HostAndPort;
use crate::excludes::Exclude;
use crate::handover::{ClaimToHeader, Handover};
use crate::policy::{ClaimsVerifier, Policy};
use crate::token::limits::DEFAULT_MAX_SIZE;
use http::Uri;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Live nonces a `local` store has room for unless configured otherwise.
const DEFAULT_CAPACITY: u32 = 1_000_000;

/// What `max_token_size` may be. Envoy takes heads of up to 60 KiB.
const TOKEN_SIZES: RangeInclusive<u32> = 1024..=60 * 1024;

/// What a verifier is to do, wherever its configuration comes from.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What is demanded of tokens.
    pub policy: Policy,
    /// Where used nonces are remembered.
    pub nonce_storage: NonceStorage,
    /// Which requests need no token, and where a token may be.
    pub access: Access,
    /// What the upstream gets of a token.
    pub handover: Handover,
}

/// Where used nonces are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceStorage {
    /// In the memory of this Envoy, shared by its workers.
    Local {
        /// The most nonces that may be live at once.
        capacity: u32,
        /// Whether tokens issued before this Envoy started are refused: the memory of the one
        /// before is gone.
        restart_guard: bool,
    },
    /// Nowhere: tokens may be used again.
    Void,
}

/// How requests get in, or are sent elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Paths that need no token.
    pub excludes: Vec<Exclude>,
    /// Whether CORS preflights pass without a token on every path.
    pub allow_cors_preflight: bool,
    /// Whether the cookie `access_token` may carry the token.
    pub cookies_enabled: bool,
    /// Where requests without a good token are redirected to.
    pub auth_redirect_url: Option<String>,
    /// How many proxies in front are trusted in what they say of the request.
    pub trusted_hops: u32,
    /// What a proxy in front has taken off the path: begins with a slash and does not end with one.
    pub public_base_path: Option<String>,
}

/// Reads the keys that are the same in the YAML file and in the filter's JSON.
pub fn rules(section: &mut Section<'_>) -> Option<Rules> {
    let policy = policy(section);
    let nonce_storage = nonce_storage(section);
    let access = access(section);
    let handover = handover(section);
    Some(Rules {
        policy: policy?,
        nonce_storage: nonce_storage?,
        access: access?,
        handover: handover?,
    })
}

fn policy(section: &mut Section<'_>) -> Option<Policy> {
    let audience = section.field("audience").required(reader::text);
    let max_skew = section
        .field("max_skew")
        .or(Duration::from_secs(60), reader::duration);
    let max_ttl = section
        .field("max_ttl")
        .or(Duration::from_secs(300), reader::duration);
    let claims_verifiers = section.field("claims_verifiers").sections(claims_verifier);
    let max_token_size = section
        .field("max_token_size")
        .or(DEFAULT_MAX_SIZE as u32, reader::integer(TOKEN_SIZES));
    let algorithms = algorithms(section);
    Some(Policy {
        max_token_size: max_token_size?.try_into().ok()?,
        audience: Audience::new(audience?),
        algorithms: algorithms?,
        max_skew: max_skew?,
        max_ttl: max_ttl?,
        // What the restart guard sets when the verifier starts.
        not_issued_before: None,
        claims_verifiers: claims_verifiers?,
    })
}

/// All, unless there is a list.
fn algorithms(section: &mut Section<'_>) -> Option<Vec<Algorithm>> {
    let field = section.field("algorithms");
    if !field.is_present() {
        return Some(Algorithm::ALL.to_vec());
    }
    let algorithms = field.list(algorithm)?;
    if algorithms.is_empty() {
        section.mistake("expected \"algorithms\" with at least one algorithm");
        return None;
    }
    Some(algorithms)
}

fn algorithm(value: &Value) -> Result<Algorithm, Expected> {
    let found = value.as_str().and_then(Algorithm::from_name);
    let names = || Algorithm::ALL.map(Algorithm::name).join(", ");
    found.ok_or_else(|| format!("an algorithm, such as {}", names()))
}

fn claims_verifier(section: &mut Section<'_>) -> Option<ClaimsVerifier> {
    let kind = section.field("type").required(reader::one_of(&["static"]));
    let claims = section
        .field("options")
        .section(|options| Some(options.fields()))?;
    kind?;
    if claims.is_empty() {
        section.mistake("expected \"options\" with at least one claim");
        return None;
    }
    Some(ClaimsVerifier::Static(claims))
}

fn nonce_storage(section: &mut Section<'_>) -> Option<NonceStorage> {
    section.field("nonce_storage").section(|storage| {
        let kind = storage
            .field("type")
            .or("local", reader::one_of(&["local", "void"]));
        storage.field("options").section(|options| {
            // Nonces are purged whenever their bucket is written; the key of the original is
            // taken and needs nothing more.
            let purge_interval = options
                .field("purge_interval")
                .or(Duration::ZERO, reader::duration);
            if kind == Some("void") {
                return purge_interval.map(|_| NonceStorage::Void);
            }
            let range = reader::integer(1..=100_000_000);
            let capacity = options.field("capacity").or(DEFAULT_CAPACITY, range);
            let restart_guard = options.field("restart_guard").or(false, reader::boolean);
            kind?;
            purge_interval?;
            Some(NonceStorage::Local {
                capacity: capacity?,
                restart_guard: restart_guard?,
            })
        })
    })
}

fn access(section: &mut Section<'_>) -> Option<Access> {
    let excludes = section.field("excludes").list(exclude);
    let preflight = section
        .field("allow_cors_preflight")
        .or(false, reader::boolean);
    let cookies = section.field("cookies_enabled").or(false, reader::boolean);
    // The name in older files of the original.
    let auth_cookies = section
        .field("auth_cookies_enabled")
        .or(false, reader::boolean);
    let redirect = section
        .field("auth_redirect_url")
        .or(None, |value| absolute_url(value).map(Some));
    let trusted_hops = section
        .field("trusted_hops")
        .or(0, reader::integer(0..=100));
    let base_path = section.field("public_base_path").or(None, base_path);
    Some(Access {
        trusted_hops: trusted_hops?,
        public_base_path: base_path?,
        excludes: excludes?,
        allow_cors_preflight: preflight?,
        cookies_enabled: cookies? | auth_cookies?,
        auth_redirect_url: redirect?,
    })
}

fn exclude(value: &Value) -> Result<Exclude, Expected> {
    Exclude::parse(value.as_str().unwrap_or_default()).map_err(|error| error.to_string())
}

fn absolute_url(value: &Value) -> Result<String, Expected> {
    let url = value.as_str().filter(|text| {
        let uri: Option<Uri> = text.parse().ok();
        uri.is_some_and(|uri| {
            let has_host = uri
                .authority()
                .and_then(|it| HostAndPort::parse(it.as_str()));
            matches!(uri.scheme_str(), Some("http" | "https")) && has_host.is_some()
        })
    });
    url.map(str::to_owned)
        .ok_or_else(|| "an http or https URL".into())
}

/// The path of a URL. An empty one and `/` are none.
fn base_path(value: &Value) -> Result<Option<String>, Expected> {
    let is_of_path = |byte: u8| byte.is_ascii_graphic() && !b"?#\\".contains(&byte);
    let path = value.as_str().filter(|path| path.bytes().all(is_of_path));
    let path = path.ok_or("a path such as /app")?.trim_matches('/');
    Ok((!path.is_empty()).then(|| format!("/{path}")))
}

fn handover(section: &mut Section<'_>) -> Option<Handover> {
    let forward = section.field("forward").or(true, reader::boolean);
    let forward_unverified = section
        .field("forward_unverified")
        .or(true, reader::boolean);
    let payload = section
        .field("forward_payload_header")
        .or(None, |value| header_name(value).map(Some));
    let claims = section.field("claim_to_headers").sections(claim_to_header);
    let filter_state = section
        .field("claims_in_filter_state")
        .or(false, reader::boolean);
    let handover = Handover {
        forward: forward?,
        forward_unverified: forward_unverified?,
        forward_payload_header: payload?,
        claim_to_headers: claims?,
        claims_in_filter_state: filter_state?,
    };
    if let Some(name) = handover.name_given_twice() {
        section.mistake(format!(
            "claim_to_headers, forward_payload_header: found two fields named \"{name}\", expected \
             different names (\"-\" and \"_\" are the same to some servers)"
        ));
        return None;
    }
    Some(handover)
}

fn claim_to_header(section: &mut Section<'_>) -> Option<ClaimToHeader> {
    let claim_name = section.field("claim_name").required(reader::text);
    let header_name = section.field("header_name").required(header_name);
    Some(ClaimToHeader {
        claim_name: claim_name?,
        header_name: header_name?,
    })
}

/// A field that has no meaning to Envoy or to HTTP, which a claim must not change.
fn header_name(value: &Value) -> Result<String, Expected> {
    const TAKEN: [&str; 6] = [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "transfer-encoding",
    ];
    let name = value.as_str().filter(|text| is_token(text));
    name.map(str::to_ascii_lowercase)
        .filter(|name| !TAKEN.contains(&name.as_str()))
        .ok_or_else(|| "the name of a header field of its own, such as x-jwt-subject".into())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Writes what [`rules`] reads.
pub(super) fn write(rules: &Rules, into: &mut Map<String, Value>) {
    let Rules {
        policy,
        nonce_storage,
        access,
        handover,
    } = rules;
    let claims_verifiers: Vec<_> = (policy.claims_verifiers.iter())
        .map(|ClaimsVerifier::Static(claims)| json!({"type": "static", "options": claims}))
        .collect();
    let claim_to_headers: Vec<_> = (handover.claim_to_headers.iter())
        .map(|claim| json!({"claim_name": claim.claim_name, "header_name": claim.header_name}))
        .collect();
    for (name, value) in [
        ("audience", json!(policy.audience.as_str())),
        ("max_token_size", json!(policy.max_token_size)),
        ("max_skew", json!(duration::format(policy.max_skew))),
        ("max_ttl", json!(duration::format(policy.max_ttl))),
        (
            "algorithms",
            policy.algorithms.iter().map(|it| it.name()).collect(),
        ),
        ("claims_verifiers", json!(claims_verifiers)),
        ("nonce_storage", write_nonce_storage(*nonce_storage)),
        (
            "excludes",
            access.excludes.iter().map(Exclude::as_str).collect(),
        ),
        ("allow_cors_preflight", json!(access.allow_cors_preflight)),
        ("cookies_enabled", json!(access.cookies_enabled)),
        ("auth_redirect_url", json!(access.auth_redirect_url)),
        ("trusted_hops", json!(access.trusted_hops)),
        ("public_base_path", json!(access.public_base_path)),
        ("forward", json!(handover.forward)),
        ("forward_unverified", json!(handover.forward_unverified)),
        (
            "forward_payload_header",
            json!(handover.forward_payload_header),
        ),
        ("claim_to_headers", json!(claim_to_headers)),
        (
            "claims_in_filter_state",
            json!(handover.claims_in_filter_state),
        ),
    ] {
        into.insert(name.to_owned(), value);
    }
}

fn write_nonce_storage(nonce_storage: NonceStorage) -> Value {
    match nonce_storage {
        NonceStorage::Local {
            capacity,
            restart_guard,
        } => {
            let options = json!({"capacity": capacity, "restart_guard": restart_guard});
            json!({"type": "local", "options": options})
        }
        NonceStorage::Void => json!({"type": "void"}),
    }
}
