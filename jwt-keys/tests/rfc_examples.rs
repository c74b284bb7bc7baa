//! The examples of the RFCs: 7515 and 7520 (JWS), 7517 (JWK), 7638 (thumbprints), 8037 (Ed25519).

#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_keys::PublicKey;
use jwt_keys::algorithm::Algorithm;
use serde_json::Value;

fn examples(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn key(jwk: &Value) -> Result<PublicKey, String> {
    PublicKey::from_jwk(jwk.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// Each has either its thumbprint or the reason why it is refused.
#[test]
fn keys_are_taken_or_refused_with_the_reason() {
    let examples = examples(include_str!("../testdata/rfc_keys.json"));
    assert_eq!(examples.len(), 16);
    for example in examples {
        let source = &example["source"];
        let (expected, found) = match key(&example["jwk"]) {
            Ok(key) => (&example["thumbprint"], key.thumbprint()),
            Err(reason) => (&example["refused"], reason),
        };
        assert_eq!(*expected, found, "{source}");
    }
}

/// What an example of a JWS is.
fn outcome(jws: &str, jwk: &Value) -> &'static str {
    let (input, signature) = jws.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    let [header, signature] = [header, signature].map(|it| URL_SAFE_NO_PAD.decode(it).unwrap());
    let header: Value = serde_json::from_slice(&header).unwrap();
    let Some(algorithm) = Algorithm::from_name(header["alg"].as_str().unwrap()) else {
        return "no such algorithm";
    };
    match key(jwk)
        .unwrap()
        .verifies(algorithm, input.as_bytes(), &signature)
    {
        true => "good",
        false => "bad",
    }
}

#[test]
fn signatures_are_good_or_of_algorithms_that_there_are_not() {
    let examples = examples(include_str!("../testdata/rfc_signatures.json"));
    assert_eq!(examples.len(), 10);
    for example in &examples {
        let source = &example["source"];
        let jws = example["jws"].as_str().unwrap();
        let found = outcome(jws, &example["jwk"]);
        assert_eq!(example["outcome"], found, "{source}");
        // One character of the payload changed.
        let payload = jws.find('.').unwrap() + 2;
        let other = if jws[payload..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        let mut changed = jws.to_owned();
        changed.replace_range(payload..=payload, other);
        let expected = if found == "good" { "bad" } else { found };
        assert_eq!(outcome(&changed, &example["jwk"]), expected, "{source}");
    }
    let good = examples.iter().filter(|it| it["outcome"] == "good");
    assert_eq!(good.count(), 5);
}
