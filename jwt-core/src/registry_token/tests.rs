use super::*;
use crate::audience::Audience;
use crate::testing::{NOW, TestSigner};
use serde_json::json;
use std::time::Duration;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SPELLINGS: [&str; 5] = [
    TYPE,
    "application/jwtproxy-registry+jwt",
    "JWTproxy-Registry+JWT",
    "Application/JWTPROXY-REGISTRY+JWT",
    " jwtproxy-registry+jwt; v=1",
];

fn name(service: &str, kid: &str) -> KeyName {
    KeyName::new(service.into(), kid.into()).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW).unwrap()
}

fn policy() -> Policy {
    Policy::new(Audience::new("https://api"))
}

/// PUT of the key `k2`, signed with `k1`.
fn call() -> RegistryCall {
    RegistryCall::publish(&name("svc", "k2"), Some(NOW + 900), Some(60), b"jwk")
}

fn token(typ: &Value, claim: Option<&Value>) -> String {
    let mut header = json!({"alg": "RS256", "kid": "k1"});
    if !typ.is_null() {
        header["typ"] = typ.clone();
    }
    let mut claims = TestSigner::claims("n");
    if let Some(claim) = claim {
        claims[CLAIM] = claim.clone();
    }
    TestSigner::service().sign_with(&header, &claims)
}

fn bound(call: &RegistryCall) -> String {
    token(&TYPE.into(), Some(&json!(call)))
}

fn refusal(compact: &str, accepted: Accepted) -> Option<CallRefusal> {
    check(compact, &call(), accepted, &policy(), now()).err()
}

#[test]
fn what_an_issuer_makes_is_taken_for_the_call_it_is_made_for() {
    let issuer = Issuer {
        algorithm: "RS256",
        key_id: "k1".into(),
        issuer: "svc".into(),
        expiration_time: Duration::from_secs(60),
        max_skew: Duration::from_secs(60),
    };
    let input = issuer.registry_signing_input("https://api", &call(), "n", now());
    let compact = crate::issue::compact(input, b"signature");
    for accepted in [Accepted::Bound, Accepted::BoundOrLegacy] {
        assert_eq!(refusal(&compact, accepted), None);
    }
}

#[test]
fn every_spelling_of_the_type_is_a_registry_token_and_never_one_on_a_request() {
    for typ in SPELLINGS {
        let compact = token(&typ.into(), Some(&json!(call())));
        assert_eq!(refusal(&compact, Accepted::Bound), None, "{typ}");
        let on_request = CurrentToken::check(&compact, &policy(), now());
        assert_eq!(on_request.unwrap_err(), Refusal::RegistryToken, "{typ}");
    }
}

#[test]
fn a_token_without_type_or_of_another_is_one_on_a_request() {
    for typ in [Value::Null, json!("JWT"), json!("at+jwt"), json!("")] {
        let compact = token(&typ, None);
        assert!(CurrentToken::check(&compact, &policy(), now()).is_ok());
    }
    for typ in [json!(7), json!([TYPE]), json!({"typ": TYPE})] {
        let refusal = CurrentToken::check(&token(&typ, None), &policy(), now()).unwrap_err();
        assert!(matches!(refusal, Refusal::WrongType { name: "typ", .. }));
    }
}

#[test]
fn a_token_on_a_request_is_no_registry_token_whatever_it_claims() {
    for typ in [
        Value::Null,
        json!("JWT"),
        json!("at+jwt"),
        json!("example/jwtproxy-registry+jwt"),
        json!("application/application/jwtproxy-registry+jwt"),
    ] {
        for claim in [None, Some(json!(call()))] {
            let compact = token(&typ, claim.as_ref());
            let refusal = refusal(&compact, Accepted::Bound);
            assert_eq!(refusal, Some(CallRefusal::NotForRegistry), "{typ}");
        }
    }
}

#[test]
fn tokens_of_older_signers_are_taken_where_that_is_permitted() {
    let permitted = |typ: Value, claim: Option<Value>| {
        refusal(&token(&typ, claim.as_ref()), Accepted::BoundOrLegacy).is_none()
    };
    for typ in [Value::Null, json!("JWT"), json!("application/jwt")] {
        assert!(permitted(typ.clone(), None), "{typ}");
        // No older signer makes such a claim.
        assert!(!permitted(typ.clone(), Some(json!(call()))), "{typ}");
        assert!(!permitted(typ, Some(Value::Null)));
    }
    assert!(!permitted(json!("at+jwt"), None));
}

#[test]
fn a_registry_token_has_to_bind_even_where_older_ones_are_taken() {
    for accepted in [Accepted::Bound, Accepted::BoundOrLegacy] {
        for claim in [
            None,
            Some(Value::Null),
            Some(json!({})),
            Some(json!([])),
            Some(json!("PUT")),
        ] {
            let compact = token(&TYPE.into(), claim.as_ref());
            let refusal = refusal(&compact, accepted);
            assert_eq!(refusal, Some(CallRefusal::NoCall), "{claim:?}");
        }
    }
}

#[test]
fn a_token_for_one_call_is_for_no_other() {
    let k2 = name("svc", "k2");
    let put =
        |expiration, rotation, body: &[u8]| RegistryCall::publish(&k2, expiration, rotation, body);
    let (expiration, rotation) = (Some(NOW + 900), Some(60));
    for (other, member) in [
        (RegistryCall::revoke(&k2, b"jwk"), "method"),
        (
            RegistryCall::publish(&name("svc2", "k2"), expiration, rotation, b"jwk"),
            "service",
        ),
        (
            RegistryCall::publish(&name("svc", "k1"), expiration, rotation, b"jwk"),
            "kid",
        ),
        (put(Some(NOW + 901), rotation, b"jwk"), "expiration"),
        (put(None, rotation, b"jwk"), "expiration"),
        (put(expiration, Some(61), b"jwk"), "rotation"),
        (put(expiration, None, b"jwk"), "rotation"),
        (put(expiration, rotation, b"jwk2"), "body_sha256"),
        (put(expiration, rotation, b""), "body_sha256"),
    ] {
        for accepted in [Accepted::Bound, Accepted::BoundOrLegacy] {
            let refusal = refusal(&bound(&other), accepted);
            assert_eq!(refusal, Some(CallRefusal::OtherCall(member)), "{other:?}");
        }
    }
}

#[test]
fn the_claim_is_exact() {
    let exact = json!(call());
    let without = |member: &str| {
        let mut claim = exact.clone();
        claim.as_object_mut().unwrap().remove(member);
        claim
    };
    let with = |member: &str, value: Value| {
        let mut claim = exact.clone();
        claim[member] = value;
        claim
    };
    for claim in [
        without("method"),
        without("kid"),
        without("body_sha256"),
        without("expiration"),
        with("path", json!("/")),
        with("rotation", json!("60")),
        with("method", json!(["PUT"])),
        with("method", json!("put")),
        // The values in the order of the members.
        exact.as_object().unwrap().values().cloned().collect(),
        {
            let RegistryCall {
                method,
                service,
                kid,
                expiration,
                rotation,
                body_sha256,
            } = call();
            json!([method, service, kid, expiration, rotation, body_sha256])
        },
    ] {
        let compact = token(&TYPE.into(), Some(&claim));
        assert!(refusal(&compact, Accepted::Bound).is_some(), "{claim}");
    }
}

#[test]
fn a_registry_token_meets_the_demands_on_every_token() {
    let header = json!({"alg": "RS256", "kid": "k1", "typ": TYPE});
    let mut claims = TestSigner::claims("n");
    claims[CLAIM] = json!(call());
    for (name, value, expected) in [
        ("aud", json!("https://other"), Refusal::Audience),
        ("exp", json!(NOW - 1), Refusal::Expired),
        ("nbf", json!(NOW + 61), Refusal::NotYetValid),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        let compact = TestSigner::service().sign_with(&header, &claims);
        assert_eq!(
            refusal(&compact, Accepted::Bound),
            Some(CallRefusal::Token(expected))
        );
    }
}
