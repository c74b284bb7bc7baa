//! Public keys.

use crate::two_parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jwt_core::registry::{Response, interpret_set};
use jwt_keys::PublicKey;
use jwt_keys::algorithm::Algorithm;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// The JSON of a key. A key that is taken is public, and the same however it is written.
pub fn jwk(data: &[u8]) {
    let Ok(key) = PublicKey::from_jwk(data) else {
        return;
    };
    let json: Value = serde_json::from_slice(data).expect("what is a key is JSON");
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(json.get(private).is_none(), "{private}");
    }
    assert_eq!(json["kid"].as_str(), key.key_id());
    is_one_key(&key);
}

/// A PEM file, and the content of one of either kind.
pub fn pem(data: &[u8]) {
    let as_text = str::from_utf8(data).map(str::to_owned).ok();
    let wrapped = ["PUBLIC KEY", "RSA PUBLIC KEY"].map(|label| wrapped(label, data));
    for text in as_text.into_iter().chain(wrapped) {
        if let Ok(key) = PublicKey::from_pem(&text) {
            assert!(!text.contains("PRIVATE KEY-----"), "a key pair");
            is_one_key(&key);
        }
    }
}

/// Two parts: the `Cache-Control` and the body of an answer. The set has the keys that are good on
/// their own, under their names.
pub fn jwk_set(data: &[u8]) {
    const CACHE: Duration = Duration::from_secs(600);
    let (cache_control, body) = two_parts(data);
    let response = Response {
        status: 200,
        cache_control: Some(cache_control),
        body,
    };
    let Ok(keys) = interpret_set(response, CACHE) else {
        return;
    };
    // What stands beside the keys, and in those that are not used, need not be readable.
    let Ok(members) = serde_json::from_slice::<HashMap<String, &RawValue>>(body) else {
        return;
    };
    let alone: Vec<&RawValue> = serde_json::from_str(members["keys"].get()).expect("a list");
    let alone = alone.iter();
    let good = alone.filter_map(|jwk| PublicKey::from_jwk(jwk.get().as_bytes()).ok());
    let good: Vec<_> = good.filter(|key| key.key_id().is_some()).collect();
    let mut names = HashSet::new();
    for (key_id, fetched) in &keys {
        assert!(names.insert(key_id), "{key_id:?} twice");
        assert!(fetched.lifetime <= CACHE);
        let key = fetched.answer.as_ref().expect("only good ones");
        for algorithm in Algorithm::ALL {
            let mut of_name = good.iter().filter(|key| key.key_id() == Some(key_id));
            let last = of_name.rfind(|key| key.permits(algorithm));
            let found = key.for_algorithm(algorithm);
            assert_eq!(found.map(PublicKey::spki), last.map(PublicKey::spki));
        }
    }
    assert!(
        good.iter()
            .all(|key| names.contains(&key.key_id().unwrap().to_owned()))
    );
}

/// Whatever it was read from.
fn is_one_key(key: &PublicKey) {
    let jwk = key.to_jwk("k").to_string();
    let pem = wrapped("PUBLIC KEY", key.spki());
    for again in [
        PublicKey::from_jwk(jwk.as_bytes()),
        PublicKey::from_pem(&pem),
    ] {
        let again = again.expect("what is a key is one in every form");
        assert_eq!(again.spki(), key.spki());
        assert_eq!(again.thumbprint(), key.thumbprint());
    }
    let permitted = Algorithm::ALL.iter().filter(|it| key.permits(**it));
    assert!((1..=6).contains(&permitted.count()));
    for algorithm in Algorithm::ALL {
        // Zeros that are long enough for each of the curves, and too short for RSA.
        for length in [0, 64, 96] {
            assert!(!key.verifies(algorithm, b"message", &vec![0; length]));
        }
    }
}

fn wrapped(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap());
    let lines: Vec<_> = lines.collect();
    let lines = lines.join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
