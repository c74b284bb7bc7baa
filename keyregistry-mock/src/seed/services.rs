//! Seed files: services and their keys as JSON.

use super::{SeedKey, Seeds, check_service, read_text};
use crate::error::Unexpected;
use crate::jwk::PublicJwk;
use crate::store::KeyState;
use jwt_core::time::Timestamp;
use serde_json::{Map, Value};
use std::path::Path;

/// Reads one seed file.
pub(super) fn read(file: &Path, seeds: &mut Seeds) {
    let place = file.display().to_string();
    let document = read_text(file, DOCUMENT).and_then(|text| parse(&text));
    if let Some(document) = seeds.check(&place, document) {
        read_document(&document, &place, seeds);
    }
}

const DOCUMENT: &str = r#"a JSON file {"services": {"<service>": {"keys": […]}}}"#;

fn parse(text: &str) -> Result<Value, Unexpected> {
    serde_json::from_str(text)
        .map_err(|error| Unexpected::new(format!("no JSON: {error}"), DOCUMENT))
}

fn read_document(document: &Value, file: &str, seeds: &mut Seeds) {
    let Some(document) = object(document, file, &["services"], seeds) else {
        return;
    };
    let Some(services) = required(document, "services", file, seeds) else {
        return;
    };
    let place = format!("{file}: services");
    let Value::Object(services) = services else {
        let expected = r#"an object {"<service>": {"keys": […]}}"#;
        seeds.mistake(place, Unexpected::new(kind(services), expected));
        return;
    };
    for (service, value) in services {
        read_service(service, value, &format!("{place}[{service:?}]"), seeds);
    }
}

fn read_service(service: &str, value: &Value, place: &str, seeds: &mut Seeds) {
    seeds.check(place, check_service(service));
    let Some(value) = object(value, place, &["keys"], seeds) else {
        return;
    };
    let Some(keys) = required(value, "keys", place, seeds) else {
        return;
    };
    let place = format!("{place}.keys");
    let Value::Array(keys) = keys else {
        seeds.mistake(place, Unexpected::new(kind(keys), "a list of keys"));
        return;
    };
    for (index, key) in keys.iter().enumerate() {
        read_key(service, key, &format!("{place}[{index}]"), seeds);
    }
}

/// Reads every member before it gives up on a key, so that each mistake is reported.
fn read_key(service: &str, key: &Value, place: &str, seeds: &mut Seeds) {
    let Some(key) = object(key, place, &["kid", "jwk", "state", "expires"], seeds) else {
        return;
    };
    let at = |name: &str| format!("{place}.{name}");
    let kid = seeds.check(&at("kid"), key_id(key.get("kid")));
    let state = seeds.check(&at("state"), state(key.get("state")));
    let expires = seeds.check(&at("expires"), expires(key.get("expires")));
    let jwk = required(key, "jwk", place, seeds)
        .and_then(|jwk| seeds.check(&at("jwk"), PublicJwk::from_json(jwk.clone())));
    if let (Some(kid), Some(state), Some(expires), Some(jwk)) = (kid, state, expires, jwk) {
        let place = place.to_owned();
        let key = SeedKey {
            jwk,
            state,
            expires,
            place,
        };
        seeds.add(service, kid, key);
    }
}

fn key_id(kid: Option<&Value>) -> Result<Option<&str>, Unexpected> {
    match kid {
        None => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid)),
        Some(other) => Err(Unexpected::new(kind(other), "a string, or no \"kid\"")),
    }
}

fn state(state: Option<&Value>) -> Result<KeyState, Unexpected> {
    let expected = "\"approved\" or \"pending\"";
    match state {
        None => Ok(KeyState::Approved),
        Some(Value::String(text)) => match text.as_str() {
            "approved" => Ok(KeyState::Approved),
            "pending" => Ok(KeyState::Pending),
            other => Err(Unexpected::new(format!("{other:?}"), expected)),
        },
        Some(other) => Err(Unexpected::new(kind(other), expected)),
    }
}

fn expires(expires: Option<&Value>) -> Result<Option<Timestamp>, Unexpected> {
    let expected = "whole seconds since 1970 up to the year 9999, or null for never";
    match expires {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number
            .as_u64()
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(Timestamp::from_seconds)
            .map(Some)
            .ok_or_else(|| Unexpected::new(number.to_string(), expected)),
        Some(other) => Err(Unexpected::new(kind(other), expected)),
    }
}

/// The members of an object, none but the known ones.
fn object<'a>(
    value: &'a Value,
    place: &str,
    known: &[&str],
    seeds: &mut Seeds,
) -> Option<&'a Map<String, Value>> {
    let known_names = known.join(", ");
    let Value::Object(members) = value else {
        let expected = format!("an object with {known_names}");
        seeds.mistake(place, Unexpected::new(kind(value), expected));
        return None;
    };
    for name in members
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
    {
        let found = format!("unknown member {name:?}");
        seeds.mistake(place, Unexpected::new(found, known_names.as_str()));
    }
    Some(members)
}

fn required<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    place: &str,
    seeds: &mut Seeds,
) -> Option<&'a Value> {
    let value = members.get(name);
    if value.is_none() {
        let found = format!("no member {name:?}");
        seeds.mistake(place, Unexpected::new(found, "it, as it is required"));
    }
    value
}

/// What a value is, without repeating it: it may be key material in the wrong place.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
