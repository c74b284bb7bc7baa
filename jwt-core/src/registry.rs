//! The key registry protocol, the reading side: where a key is, and what an answer means.
//!
//! A JWK Set (RFC 7517 §5) is read here as well; its answers mean the same.

use crate::cache_control;
use crate::key::{KeyError, KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a registry's "no" is believed.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(5);

/// How long a registry that could not be asked is left alone.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// Everything but the unreserved characters of RFC 3986 §2.3.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A key server's answer to a GET.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Cache-Control`, where there is one; of several lines, joined by commas.
    pub cache_control: Option<&'a [u8]>,
    /// The whole body.
    pub body: &'a [u8],
}

/// What to make of an answer, for one key.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The key, or why there is none.
    pub answer: KeyAnswer,
    /// How long the answer may be used.
    pub lifetime: Duration,
    /// More on a problem, for the log.
    pub detail: Option<String>,
}

/// The path of a key below a registry's `base_path`; `None` for a name that no URL can carry:
/// `.` and `..` are steps in a path even when percent-encoded (RFC 3986 §5.2.4, §6.2.2.2).
pub fn key_path(base_path: &str, name: &KeyName) -> Option<String> {
    let parts = [name.issuer(), name.key_id()];
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return None;
    }
    let base = base_path.trim_end_matches('/');
    let [service, key_id] = parts.map(|part| utf8_percent_encode(part, RESERVED));
    Some(format!("{base}/services/{service}/keys/{key_id}"))
}

/// Reads the answer to a GET of the key `name`. `cache_duration` bounds how long a key is used,
/// and is its lifetime where the registry names none.
pub fn interpret(name: &KeyName, response: Response<'_>, cache_duration: Duration) -> Fetched {
    match response.status {
        200 => {
            let lifetime =
                cache_control::lifetime(response.cache_control.unwrap_or_default(), cache_duration);
            usable_key(name.key_id(), PublicKey::from_jwk(response.body), lifetime)
        }
        403 => problem(KeyProblem::Expired, REFUSAL_LIFETIME, None),
        404 => problem(KeyProblem::Unknown, REFUSAL_LIFETIME, None),
        409 => problem(KeyProblem::AwaitsApproval, REFUSAL_LIFETIME, None),
        status => unavailable(format!("the key server answered with status {status}")),
    }
}

/// Reads the answer to a GET of a JWK Set: each `kid` with its key, or its keys. Keys that are not for
/// verifying, or of kinds unknown here, are as if they were not in the set (RFC 7517 §5).
pub fn interpret_set(
    response: Response<'_>,
    cache_duration: Duration,
) -> Result<Vec<(String, Fetched)>, Fetched> {
    if response.status != 200 {
        let status = response.status;
        return Err(unavailable(format!(
            "the key server answered with status {status}"
        )));
    }
    let set = JwkSet::parse(response.body)
        .map_err(|error| unavailable(format!("the answer is not a JWK Set: {error}")))?;
    let lifetime =
        cache_control::lifetime(response.cache_control.unwrap_or_default(), cache_duration);
    let mut keys: Vec<(String, PublicKey)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for jwk in &set.keys {
        let Ok(key) = PublicKey::from_jwk(jwk.get().as_bytes()) else {
            continue;
        };
        let Some(key_id) = key.key_id().map(str::to_owned) else {
            continue;
        };
        match places.get(&key_id).and_then(|place| keys.get_mut(*place)) {
            Some((_, first)) => first.add_alternative(key),
            None => {
                places.insert(key_id.clone(), keys.len());
                keys.push((key_id, key));
            }
        }
    }
    let fetched = |(key_id, key): (String, PublicKey)| {
        let fetched = usable_key(&key_id, Ok(key), lifetime);
        (key_id, fetched)
    };
    Ok(keys.into_iter().map(fetched).collect())
}

/// What to make of a set that lacks the key.
pub fn not_in_set() -> Fetched {
    problem(KeyProblem::Unknown, REFUSAL_LIFETIME, None)
}

/// What to make of no answer at all.
pub fn unavailable(detail: String) -> Fetched {
    problem(KeyProblem::Unavailable, FAILURE_LIFETIME, Some(detail))
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Box<serde_json::value::RawValue>>,
}

impl JwkSet {
    /// RFC 7517 §5: "A JWK Set is a JSON object". serde would take a list of its members' values too.
    fn parse(json: &[u8]) -> Result<Self, String> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err("expected an object".into());
        }
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }
}

fn problem(problem: KeyProblem, lifetime: Duration, detail: Option<String>) -> Fetched {
    Fetched {
        answer: Err(problem),
        lifetime,
        detail,
    }
}

fn usable_key(key_id: &str, key: Result<PublicKey, KeyError>, lifetime: Duration) -> Fetched {
    let unusable = |detail| problem(KeyProblem::Unusable, REFUSAL_LIFETIME, Some(detail));
    match key {
        Ok(key) if !key.may_be(key_id) => unusable(format!(
            "the key server answered with another key, {:?}",
            key.key_id()
        )),
        Ok(key) => Fetched {
            answer: Ok(Rc::new(key)),
            lifetime,
            detail: None,
        },
        // What is no JWK at all does not come from a key server in order.
        Err(error @ KeyError::Json(_)) => unavailable(error.to_string()),
        Err(error) => unusable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const CACHE: Duration = Duration::from_secs(600);

    fn name(issuer: &str, key_id: &str) -> KeyName {
        KeyName::new(issuer.into(), key_id.into()).unwrap()
    }

    fn jwk(key_id: &str) -> String {
        let n = URL_SAFE_NO_PAD.encode([0xff; 256]);
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","kid":"{key_id}"}}"#)
    }

    fn answer(status: u16, cache_control: Option<&str>, body: &str) -> Fetched {
        let cache_control = cache_control.map(str::as_bytes);
        let response = Response {
            status,
            cache_control,
            body: body.as_bytes(),
        };
        interpret(&name("svc", "k1"), response, CACHE)
    }

    #[test]
    fn names_become_one_path_segment_each() {
        for (base, issuer, key_id, path) in [
            ("/", "svc", "k1", "/services/svc/keys/k1"),
            ("/base/", "svc", "k1", "/base/services/svc/keys/k1"),
            (
                "/base",
                "https://a/b",
                "x y",
                "/base/services/https%3A%2F%2Fa%2Fb/keys/x%20y",
            ),
            ("", "ü", "a?b#c", "/services/%C3%BC/keys/a%3Fb%23c"),
            ("", "...", "%2e", "/services/.../keys/%252e"),
        ] {
            assert_eq!(key_path(base, &name(issuer, key_id)).as_deref(), Some(path));
        }
        assert_eq!(key_path("/", &name("..", "k1")), None);
        assert_eq!(key_path("/", &name("svc", ".")), None);
    }

    #[test]
    fn each_status_has_its_meaning() {
        for (status, problem) in [
            (403, KeyProblem::Expired),
            (404, KeyProblem::Unknown),
            (409, KeyProblem::AwaitsApproval),
            (500, KeyProblem::Unavailable),
            (503, KeyProblem::Unavailable),
            (302, KeyProblem::Unavailable),
            (400, KeyProblem::Unavailable),
        ] {
            assert_eq!(
                answer(status, None, "").answer.unwrap_err(),
                problem,
                "{status}"
            );
        }
    }

    #[test]
    fn a_key_lives_as_long_as_both_sides_permit() {
        for (cache_control, seconds) in [
            (None, 600),
            (Some("max-age=60"), 60),
            (Some("max-age=6000"), 600),
            (Some("max-age=60, no-cache"), 0),
        ] {
            let fetched = answer(200, cache_control, &jwk("k1"));
            assert_eq!(fetched.lifetime.as_secs(), seconds, "{cache_control:?}");
            assert!(fetched.answer.is_ok());
        }
    }

    #[test]
    fn what_is_not_the_key_asked_for_is_not_used() {
        let small = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let small = format!(r#"{{"kty":"RSA","n":"{small}","e":"AQAB"}}"#);
        for (body, problem) in [
            ("", KeyProblem::Unavailable),
            ("<html>", KeyProblem::Unavailable),
            ("[]", KeyProblem::Unavailable),
            ("{}", KeyProblem::Unavailable),
            (&jwk("k2"), KeyProblem::Unusable),
            (&small, KeyProblem::Unusable),
            (r#"{"kty":"oct","k":"AAAA"}"#, KeyProblem::Unusable),
        ] {
            let fetched = answer(200, None, body);
            assert_eq!(fetched.answer.unwrap_err(), problem, "{body}");
            assert!(fetched.detail.is_some());
        }
    }

    #[test]
    fn a_key_with_another_kid_is_not_used_and_one_without_is_the_one_asked_for() {
        let with_kid = |kid: &str| jwk("k1").replace(r#""kid":"k1""#, kid);
        for (kid, is_used) in [
            (r#""kid":"k1""#, true),
            (r#""kid":"\u006b1""#, true),
            (r#""x":1"#, true),
            (r#""kid":"k2""#, false),
            (r#""kid":"K1""#, false),
            (r#""kid":"k1 ""#, false),
            (r#""kid":"k1\u0000""#, false),
            (r#""kid":"""#, false),
            (r#""kid":7"#, false),
            (r#""kid":["k1"]"#, false),
        ] {
            let fetched = answer(200, None, &with_kid(kid));
            assert_eq!(fetched.answer.is_ok(), is_used, "{kid}");
        }
    }

    #[test]
    fn a_set_has_the_keys_that_can_be_used() {
        let body = format!(
            r#"{{"keys":[{},{},{{"kty":"oct","k":"AAAA","kid":"secret"}},{{"kid":7}},{{}}]}}"#,
            jwk("a"),
            jwk("b")
        );
        let set = |status, body: &str| {
            let body = body.as_bytes();
            interpret_set(
                Response {
                    status,
                    cache_control: Some(b"max-age=9"),
                    body,
                },
                CACHE,
            )
        };
        let keys = set(200, &body).unwrap();
        let names: Vec<_> = keys.iter().map(|(key_id, _)| key_id.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(
            keys.iter()
                .all(|(_, f)| f.answer.is_ok() && f.lifetime.as_secs() == 9)
        );
        for (status, body) in [
            (404, "{}"),
            (500, ""),
            (200, ""),
            (200, "[]"),
            (200, "{}"),
            (200, "[[]]"),
            (200, " [[{}]]"),
        ] {
            let problem = set(status, body).unwrap_err().answer.unwrap_err();
            assert_eq!(problem, KeyProblem::Unavailable, "{status} {body}");
        }
    }

    #[test]
    fn keys_of_one_name_and_several_types_are_alternatives() {
        let ec = r#"{"kty":"EC","crv":"P-256","kid":"a",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        for both in [[ec, &jwk("a")], [&jwk("a"), ec]] {
            let body = format!(r#"{{"keys":[{},{},{}]}}"#, both[0], jwk("b"), both[1]);
            let response = Response {
                status: 200,
                cache_control: None,
                body: body.as_bytes(),
            };
            let keys = interpret_set(response, CACHE).unwrap();
            let names: Vec<_> = keys.iter().map(|(key_id, _)| key_id.as_str()).collect();
            assert_eq!(names, ["a", "b"]);
            let key = keys[0].1.answer.as_ref().unwrap();
            for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
                assert!(key.for_algorithm(algorithm).is_some(), "{algorithm}");
            }
            assert!(key.for_algorithm(Algorithm::EdDsa).is_none());
        }
    }
}
