//! Answers of a key registry.

use crate::two_parts;
use jwt_core::key::KeyName;
use jwt_core::registry::{Fetched, Response, interpret, key_path};
use std::time::Duration;

const CACHE: Duration = Duration::from_secs(600);
const STATUSES: [u16; 8] = [200, 200, 200, 403, 404, 409, 503, 302];
const KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The first byte is the status; then two parts, `Cache-Control` and body. A key is used only if
/// the registry says so, and no longer than it permits.
pub fn registry_answer(data: &[u8]) {
    let Some((status, rest)) = data.split_first() else {
        return;
    };
    let status = STATUSES[usize::from(status % 8)];
    let (cache_control, body) = two_parts(rest);
    let fetched = answer(status, cache_control, body);
    assert!(fetched.lifetime <= CACHE);
    match fetched.answer {
        Ok(key) => {
            assert_eq!(status, 200);
            assert!(key.key_id().is_none_or(|kid| kid == "k1"));
        }
        Err(_) => assert!(fetched.lifetime <= Duration::from_secs(5)),
    }
    lives_as_long_as_permitted(cache_control);
    stays_one_segment(body);
}

fn answer(status: u16, cache_control: &[u8], body: &[u8]) -> Fetched {
    let name = KeyName::new("svc".into(), "k1".into()).unwrap();
    let response = Response {
        status,
        cache_control: Some(cache_control),
        body,
    };
    interpret(&name, response, CACHE)
}

/// One more directive outside a quoted string has its effect whatever stands beside it.
fn lives_as_long_as_permitted(cache_control: &[u8]) {
    let lifetime = |value: &[u8]| answer(200, value, KEY.as_bytes()).lifetime;
    let alone = lifetime(cache_control);
    let before = |directive: &[u8]| lifetime(&[directive, b",", cache_control].concat());
    assert_eq!(before(b"no-store"), Duration::ZERO);
    assert_eq!(before(b"max-age=7"), alone.min(Duration::from_secs(7)));
    assert_eq!(before(b"max-age=99999999999999999999"), alone);
    assert_eq!(before(b"x=\"no-store,max-age=1\\\"\""), alone);
    if !cache_control.contains(&b'"') {
        let after = |directive: &[u8]| lifetime(&[cache_control, b",", directive].concat());
        assert_eq!(after(b"no-cache"), Duration::ZERO);
        assert_eq!(after(b"Max-Age = \"7\""), alone.min(Duration::from_secs(7)));
    }
}

/// The names in a token lead to no other place of the registry.
fn stays_one_segment(body: &[u8]) {
    let text = String::from_utf8_lossy(body);
    let (issuer, key_id) = text.split_once('\n').unwrap_or((&text, "k"));
    let Ok(name) = KeyName::new(issuer.to_owned(), key_id.to_owned()) else {
        return;
    };
    let Some(path) = key_path("/base/", &name) else {
        return;
    };
    let url = url::Url::parse(&format!("http://registry{path}")).expect("a URL");
    assert_eq!(url.path(), path);
    let decoded = |segment: &str| {
        let bytes = percent_encoding::percent_decode_str(segment);
        bytes.decode_utf8().expect("text").into_owned()
    };
    let segments: Vec<_> = url.path_segments().unwrap().map(decoded).collect();
    assert_eq!(segments, ["base", "services", issuer, "keys", key_id]);
}
