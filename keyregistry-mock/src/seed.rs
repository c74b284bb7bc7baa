//! The keys a registry starts with.
//!
//! Keys come from two kinds of places. A seed file describes whole services:
//!
//! ```json
//! {"services": {"my-service": {"keys": [
//!     {"kid": "key1", "jwk": {"kty": "RSA", "n": "…", "e": "AQAB"},
//!      "state": "approved", "expires": 1900000000}
//! ]}}}
//! ```
//!
//! Only `jwk` is required. `state` is `approved`, the default, or `pending`; `expires` is in
//! seconds since 1970, and `null`, the default, is never.
//!
//! A key flag, `service=NAME[,kid=ID],file=PATH`, names one file with a JWK, a JWK Set or the
//! PEM of a public key, whose keys are approved and never expire. A comma inside a value is
//! written twice; nothing else is special, so that a service may be any URL:
//! `service=https://example.com:8080/a=b,file=key.pem`.
//!
//! A key without an id anywhere gets its RFC 7638 thumbprint. An id given beside a JWK must be the
//! JWK's own, where it has one.

mod key_flag;
mod services;

use crate::error::{Error, Mistake, Unexpected};
use crate::jwk::PublicJwk;
use crate::store::{Key, KeyState, NamedKey};
use jwt_core::time::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use transport::files::read_trusted_text;

/// Reads seed files and key flags, or reports every mistake in all of them.
pub fn load(files: &[PathBuf], key_flags: &[String]) -> Result<Vec<NamedKey>, Error> {
    let mut seeds = Seeds::default();
    for file in files {
        services::read(file, &mut seeds);
    }
    for flag in key_flags {
        key_flag::read(flag, &mut seeds);
    }
    seeds.into_keys()
}

/// What was read so far, good and bad.
#[derive(Default)]
struct Seeds {
    keys: BTreeMap<(String, String), SeedKey>,
    mistakes: Vec<Mistake>,
}

struct SeedKey {
    jwk: PublicJwk,
    state: KeyState,
    expires: Option<Timestamp>,
    /// Where the key was found.
    place: String,
}

impl Seeds {
    fn mistake(&mut self, place: impl Into<String>, unexpected: Unexpected) {
        self.mistakes.push(Mistake {
            place: place.into(),
            unexpected,
        });
    }

    /// The value, or `None` and a mistake noted.
    fn check<T>(&mut self, place: &str, result: Result<T, Unexpected>) -> Option<T> {
        result.map_err(|wrong| self.mistake(place, wrong)).ok()
    }

    /// Takes a key of a service. `kid` is the id given beside the JWK.
    fn add(&mut self, service: &str, kid: Option<&str>, key: SeedKey) {
        let Some(kid) = self.check(&key.place, key_id(&key.jwk, kid)) else {
            return;
        };
        let name = (service.to_owned(), kid);
        if let Some(first) = self.keys.get(&name) {
            let found = format!("key {:?} of {:?} again", name.1, name.0);
            let expected = format!("each key once: the first is at {}", first.place);
            self.mistake(&key.place, Unexpected::new(found, expected));
            return;
        }
        self.keys.insert(name, key);
    }

    fn into_keys(self) -> Result<Vec<NamedKey>, Error> {
        if !self.mistakes.is_empty() {
            return Err(Error::Seeds(self.mistakes));
        }
        let named = |((service, kid), seed): ((String, String), SeedKey)| NamedKey {
            key: Key {
                jwk: seed.jwk.with_kid(&kid),
                state: seed.state,
                expires: seed.expires,
                rotation: None,
                origin: None,
            },
            service,
            kid,
        };
        Ok(self.keys.into_iter().map(named).collect())
    }
}

/// The id a key is published under: its name in a URL's path, so it cannot be empty.
fn key_id(jwk: &PublicJwk, given: Option<&str>) -> Result<String, Unexpected> {
    match (given, jwk.kid()) {
        (Some(""), _) | (None, Some("")) => {
            Err(Unexpected::new("an empty key id", "at least one character"))
        }
        (Some(given), Some(own)) if given != own => Err(Unexpected::new(
            format!("key id {given:?} for a JWK whose own \"kid\" is {own:?}"),
            "the same in both places, or in one only",
        )),
        (Some(kid), _) | (None, Some(kid)) => Ok(kid.to_owned()),
        (None, None) => Ok(jwk.thumbprint()),
    }
}

/// The name of a service stands in a URL's path, so it cannot be empty.
fn check_service(service: &str) -> Result<(), Unexpected> {
    if service.is_empty() {
        let expected = "the issuer whose keys they are";
        return Err(Unexpected::new("an empty service name", expected));
    }
    Ok(())
}

fn read_text(file: &Path, expected: &str) -> Result<String, Unexpected> {
    read_trusted_text(file).map_err(|error| Unexpected::of_file(error, expected))
}
