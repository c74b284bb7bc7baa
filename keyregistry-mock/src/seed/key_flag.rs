//! Key flags: `service=NAME[,kid=ID],file=PATH`.

use super::{SeedKey, Seeds, read_text};
use crate::error::Unexpected;
use crate::jwk::PublicJwk;
use crate::store::KeyState;
use jwt_keys::pem;
use serde_json::Value;
use std::path::PathBuf;

/// Reads one flag and the file it names.
pub(super) fn read(flag: &str, seeds: &mut Seeds) {
    let place = format!("--key {flag:?}");
    let Some(flag) = seeds.check(&place, KeyFlag::parse(flag)) else {
        return;
    };
    let place = flag.file.display().to_string();
    let text = read_text(&flag.file, KEY_FILE);
    if let Some(text) = seeds.check(&place, text) {
        read_file(&flag, &text, &place, seeds);
    }
}

const KEY_FILE: &str = "a file with a JWK, a JWK Set or the PEM of a public key";

#[derive(Debug, PartialEq, Eq)]
struct KeyFlag {
    service: String,
    kid: Option<String>,
    file: PathBuf,
}

impl KeyFlag {
    fn parse(flag: &str) -> Result<Self, Unexpected> {
        let expected = "service=NAME[,kid=ID],file=PATH, a comma inside a value written twice";
        let unexpected = |found: String| Unexpected::new(found, expected);
        let (mut service, mut kid, mut file) = (None, None, None);
        for field in split_fields(flag) {
            let (name, value) = field.split_once('=').unwrap_or((&field, ""));
            let target = match name {
                "service" => &mut service,
                "kid" => &mut kid,
                "file" => &mut file,
                _ => return Err(unexpected(format!("unknown field {name:?}"))),
            };
            if value.is_empty() {
                return Err(unexpected(format!("no value for {name:?}")));
            }
            if target.replace(value.to_owned()).is_some() {
                return Err(unexpected(format!("{name:?} given twice")));
            }
        }
        let missing = |name: &str| unexpected(format!("no field {name:?}"));
        Ok(Self {
            service: service.ok_or_else(|| missing("service"))?,
            kid,
            file: file.ok_or_else(|| missing("file"))?.into(),
        })
    }
}

/// Splits at single commas; two commas are one that belongs to the value.
fn split_fields(flag: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut characters = flag.chars().peekable();
    while let Some(character) = characters.next() {
        if character != ',' || characters.next_if_eq(&',').is_some() {
            field.push(character);
        } else {
            fields.push(std::mem::take(&mut field));
        }
    }
    fields.push(field);
    fields
}

fn read_file(flag: &KeyFlag, text: &str, place: &str, seeds: &mut Seeds) {
    if pem::as_text(text.as_bytes()).is_some() {
        add(flag, PublicJwk::from_pem(text), place, seeds);
        return;
    }
    let json = serde_json::from_str(text)
        .map_err(|error| Unexpected::new(format!("neither PEM nor JSON: {error}"), KEY_FILE));
    let Some(json) = seeds.check(place, json) else {
        return;
    };
    match key_set(&json) {
        Some(keys) => read_key_set(flag, keys, place, seeds),
        None => add(flag, PublicJwk::from_json(json), place, seeds),
    }
}

/// A JWK Set is an object whose `keys` is a list (RFC 7517 §5.1).
fn key_set(json: &Value) -> Option<&[Value]> {
    json.get("keys")?.as_array().map(Vec::as_slice)
}

fn read_key_set(flag: &KeyFlag, keys: &[Value], place: &str, seeds: &mut Seeds) {
    if keys.is_empty() || flag.kid.is_some() && keys.len() > 1 {
        let found = format!("a JWK Set of {} keys", keys.len());
        let expected = "at least one key, and exactly one where kid= names it";
        seeds.mistake(place, Unexpected::new(found, expected));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let place = format!("{place}: keys[{index}]");
        add(flag, PublicJwk::from_json(key.clone()), &place, seeds);
    }
}

fn add(flag: &KeyFlag, jwk: Result<PublicJwk, Unexpected>, place: &str, seeds: &mut Seeds) {
    let Some(jwk) = seeds.check(place, jwk) else {
        return;
    };
    let key = SeedKey {
        jwk,
        state: KeyState::Approved,
        expires: None,
        place: place.to_owned(),
    };
    seeds.add(&flag.service, flag.kid.as_deref(), key);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(service: &str, kid: Option<&str>, file: &str) -> KeyFlag {
        KeyFlag {
            service: service.to_owned(),
            kid: kid.map(str::to_owned),
            file: file.into(),
        }
    }

    #[test]
    fn names_may_hold_anything_with_commas_written_twice() {
        let cases = [
            ("service=a,file=f", flag("a", None, "f")),
            ("file=f,kid=k=,service=a", flag("a", Some("k="), "f")),
            (
                "service=https://example.com:8080/a?b=c,kid=x:y,file=d/f.pem",
                flag("https://example.com:8080/a?b=c", Some("x:y"), "d/f.pem"),
            ),
            (
                "service=a,,kid=b,,,kid=,,,file=f,,g",
                flag("a,kid=b,", Some(","), "f,g"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(KeyFlag::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_key_flag_is_refused_for_its_reason() {
        let cases = [
            ("", "unknown field \"\""),
            ("my-service=key.pem", "unknown field \"my-service\""),
            ("service=a", "no field \"file\""),
            ("file=f", "no field \"service\""),
            ("service=a,file=f,", "unknown field \"\""),
            ("service=,file=f", "no value for \"service\""),
            ("service=a,kid,file=f", "no value for \"kid\""),
            ("service=a,service=b,file=f", "\"service\" given twice"),
        ];
        for (text, found) in cases {
            assert_eq!(KeyFlag::parse(text).unwrap_err().found, found, "{text}");
        }
    }
}
