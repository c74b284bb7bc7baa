//! Requests as upstreams describe them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The values of a header field, one for each time it came.
pub fn values<'a>(received: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = received["headers"].as_array().expect("a description");
    let fields = headers
        .iter()
        .filter_map(|field| field.as_str()?.split_once(": "));
    let values = fields.filter(|(found, _)| *found == name);
    values.map(|(_, value)| value).collect()
}

/// The claims of the one token on a request.
pub fn claims(received: &Value) -> Value {
    segment(received, 1)
}

/// The header of the one token on a request.
pub fn token_header(received: &Value) -> Value {
    segment(received, 0)
}

fn segment(received: &Value, number: usize) -> Value {
    let [authorization] = values(received, "authorization")[..] else {
        panic!("not exactly one Authorization: {received}")
    };
    let token = authorization.strip_prefix("Bearer ").expect("a token");
    let part = token.split('.').nth(number).expect("three parts");
    let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}
