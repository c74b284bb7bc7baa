//! Tokens taken apart.

use crate::two_parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_core::token::Token;
use serde_json::{Map, Value};

/// The text of a token, and two parts as header and payload of one. What is well-formed has one
/// reading: that of any reader of JSON.
pub fn token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        is_read_as_written(text);
    }
    let (header, payload) = two_parts(data);
    is_read_as_written(&compact(header, payload));
}

/// A token whose signature is no signature.
fn compact(header: &[u8], payload: &[u8]) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.c2ln")
}

fn is_read_as_written(text: &str) {
    let Ok(token) = Token::parse(text) else {
        return;
    };
    assert_eq!(token.compact(), text);
    let encoded: Vec<_> = text.split('.').collect();
    assert_eq!(encoded.len(), 3);
    let [header, claims] = [0, 1].map(|part| {
        let json = URL_SAFE_NO_PAD.decode(encoded[part]).unwrap();
        let map: Map<String, Value> = serde_json::from_slice(&json).expect("one reading");
        map
    });
    assert_eq!(header["alg"], token.algorithm().name());
    assert_eq!(header["kid"], token.key_name().key_id());
    assert!(!header.contains_key("crit") && !header.contains_key("b64"));
    assert_eq!(claims["iss"], token.key_name().issuer());
    let read = token.claims();
    assert_eq!(claims["jti"], *read.token_id);
    match &claims["aud"] {
        Value::String(audience) => assert_eq!(read.audiences, [&**audience]),
        audiences => assert_eq!(*audiences, Value::from(read.audiences.clone())),
    }
    for (name, date) in [
        ("exp", read.expires),
        ("nbf", read.not_before),
        ("iat", read.issued),
    ] {
        let seconds = claims[name].as_f64().unwrap();
        assert!((seconds - date.seconds() as f64).abs() <= 1.0, "{name}");
    }
}
