//! The key registry protocol, the reading side: where a key is, and what an answer means.

use crate::key::{KeyName, PublicKey};
use crate::machine::KeyAnswer;
use crate::refusal::KeyProblem;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

/// How long a registry's "no" is believed.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(5);

/// How long a registry that could not be asked is left alone.
const FAILURE_LIFETIME: Duration = Duration::from_secs(1);

/// A registry's answer to a GET of one key.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Cache-Control`, where there is one.
    pub cache_control: Option<&'a [u8]>,
    /// The whole body.
    pub body: &'a [u8],
}

/// What to make of a registry's answer.
#[derive(Debug)]
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
    let [service, key_id] = parts.map(percent_encode);
    Some(format!("{base}/services/{service}/keys/{key_id}"))
}

/// Reads the answer to a GET of the key `name`. `cache_duration` bounds how long a key is used,
/// and is its lifetime where the registry names none.
pub fn interpret(name: &KeyName, response: Response<'_>, cache_duration: Duration) -> Fetched {
    match response.status {
        200 => match read_key(name, response.body) {
            Ok(key) => Fetched {
                answer: Ok(Rc::new(key)),
                lifetime: key_lifetime(response.cache_control, cache_duration),
                detail: None,
            },
            Err(detail) => problem(KeyProblem::Unusable, REFUSAL_LIFETIME, Some(detail)),
        },
        403 => problem(KeyProblem::Expired, REFUSAL_LIFETIME, None),
        404 => problem(KeyProblem::Unknown, REFUSAL_LIFETIME, None),
        409 => problem(KeyProblem::AwaitsApproval, REFUSAL_LIFETIME, None),
        status => unavailable(format!("the registry answered with status {status}")),
    }
}

/// What to make of no answer at all.
pub fn unavailable(detail: String) -> Fetched {
    problem(KeyProblem::Unavailable, FAILURE_LIFETIME, Some(detail))
}

fn problem(problem: KeyProblem, lifetime: Duration, detail: Option<String>) -> Fetched {
    Fetched {
        answer: Err(problem),
        lifetime,
        detail,
    }
}

fn read_key(name: &KeyName, body: &[u8]) -> Result<PublicKey, String> {
    let key = PublicKey::from_jwk(body).map_err(|error| error.to_string())?;
    match key.key_id() {
        Some(other) if other != name.key_id() => {
            Err(format!("the registry answered with another key, {other:?}"))
        }
        _ => Ok(key),
    }
}

/// RFC 9111 §5.2.2: `no-store` and `no-cache` forbid using the answer again without asking.
fn key_lifetime(cache_control: Option<&[u8]>, cache_duration: Duration) -> Duration {
    let text = String::from_utf8_lossy(cache_control.unwrap_or_default()).to_ascii_lowercase();
    let mut lifetime = cache_duration;
    for directive in text.split(',').map(str::trim) {
        match directive.split_once('=') {
            None if matches!(directive, "no-store" | "no-cache") => return Duration::ZERO,
            Some(("max-age", seconds)) => {
                // RFC 9111 §4.2.1: what makes no sense is treated as stale.
                let seconds = seconds.trim_matches('"').parse().unwrap_or(0);
                lifetime = lifetime.min(Duration::from_secs(seconds));
            }
            _ => {}
        }
    }
    lifetime
}

/// Everything but the unreserved characters of RFC 3986 §2.3.
fn percent_encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
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
            (Some("public, MAX-AGE=60"), 60),
            (Some("max-age=\"60\""), 60),
            (Some("max-age=6000"), 600),
            (Some("max-age=x"), 0),
            (Some("no-store"), 0),
            (Some("max-age=60, no-cache"), 0),
            (Some("private"), 600),
        ] {
            let fetched = answer(200, cache_control, &jwk("k1"));
            assert_eq!(fetched.lifetime.as_secs(), seconds, "{cache_control:?}");
            assert!(fetched.answer.is_ok());
        }
    }

    #[test]
    fn what_is_not_the_key_asked_for_is_not_used() {
        for body in ["", "<html>", "{}", &jwk("k2")] {
            let fetched = answer(200, None, body);
            assert_eq!(fetched.answer.unwrap_err(), KeyProblem::Unusable);
            assert!(fetched.detail.is_some());
        }
    }
}
