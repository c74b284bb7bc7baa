//! The signature vectors of Wycheproof, through our own reading of keys and our own check.
//!
//! Each set names how many of its cases must be accepted, so that an empty set cannot pass. What
//! Wycheproof calls valid and we refuse has its reason beside the set.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

use jwt_keys::algorithm::Algorithm;
use jwt_keys::{KeyError, PublicKey, ecdsa_in_der};
use serde_json::Value;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

/// How many cases there are, and how many of them we accept.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    cases: usize,
    accepted: usize,
}

/// One signature of a set.
struct Case<'a> {
    /// Where it is found in the set.
    id: &'a Value,
    message: Vec<u8>,
    signature: Vec<u8>,
    /// `valid`, `invalid` or `acceptable`.
    result: &'a str,
}

fn groups(json: &str) -> Vec<Value> {
    let mut set: Value = serde_json::from_str(json).unwrap();
    let Value::Array(groups) = set["testGroups"].take() else {
        panic!("a set without groups");
    };
    groups
}

fn cases(group: &Value) -> impl Iterator<Item = Case<'_>> {
    let tests = group["tests"].as_array().unwrap();
    tests.iter().map(|test| Case {
        id: &test["tcId"],
        message: bytes(&test["msg"]),
        signature: bytes(&test["sig"]),
        result: test["result"].as_str().unwrap(),
    })
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// The key of a group from PEM, which is the same as from JWK and writes the same DER.
fn key(group: &Value) -> Result<PublicKey, KeyError> {
    let from_pem = PublicKey::from_pem(group["publicKeyPem"].as_str().unwrap());
    let jwk = [&group["publicKeyJwk"], &group["keyJwk"]];
    let from_jwk = jwk.into_iter().find(|jwk| jwk.is_object()).map(|jwk| {
        let key = PublicKey::from_jwk(jwk.to_string().as_bytes());
        key.map(|key| key.spki().to_vec())
    });
    match (&from_pem, from_jwk) {
        (Ok(key), None) => assert_eq!(key.spki(), bytes(&group["publicKeyDer"])),
        (Ok(key), Some(from_jwk)) => {
            assert_eq!(key.spki(), bytes(&group["publicKeyDer"]));
            assert_eq!(key.spki(), from_jwk.unwrap());
        }
        (Err(_), None) => {}
        (Err(_), Some(from_jwk)) => assert!(from_jwk.is_err()),
    }
    from_pem
}

/// Checks that exactly the valid cases are accepted: what is merely acceptable is refused.
fn check(json: &str, algorithm: Algorithm, expected: Tally) {
    let mut tally = Tally::default();
    for group in groups(json) {
        let key = key(&group).unwrap();
        for case in cases(&group) {
            let accepted = key.verifies(algorithm, &case.message, &case.signature);
            assert_eq!(accepted, case.result == "valid", "case {}", case.id);
            tally.cases += 1;
            tally.accepted += usize::from(accepted);
        }
    }
    assert_eq!(tally, expected);
}

fn tally(cases: usize, accepted: usize) -> Tally {
    Tally { cases, accepted }
}

/// The one acceptable case of each set has a DigestInfo whose parameters are absent instead of
/// NULL (RFC 8017 §A.2.4 permits both to be read). RFC 8017 §8.2.2 compares encodings, which
/// has one form, and so do we.
#[test]
fn pkcs1_signatures_of_2048_bits() {
    use pkcs1::TestName::{Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512};
    check(Rsa2048Sha256.json_data(), Algorithm::Rs256, tally(259, 9));
    check(Rsa2048Sha384.json_data(), Algorithm::Rs384, tally(258, 7));
    check(Rsa2048Sha512.json_data(), Algorithm::Rs512, tally(259, 8));
}

#[test]
fn pkcs1_signatures_of_3072_bits() {
    use pkcs1::TestName::{Rsa3072Sha256, Rsa3072Sha384, Rsa3072Sha512};
    check(Rsa3072Sha256.json_data(), Algorithm::Rs256, tally(259, 8));
    check(Rsa3072Sha384.json_data(), Algorithm::Rs384, tally(259, 7));
    check(Rsa3072Sha512.json_data(), Algorithm::Rs512, tally(260, 8));
}

#[test]
fn pkcs1_signatures_of_4096_bits() {
    use pkcs1::TestName::{Rsa4096Sha256, Rsa4096Sha384, Rsa4096Sha512};
    check(Rsa4096Sha256.json_data(), Algorithm::Rs256, tally(258, 7));
    check(Rsa4096Sha384.json_data(), Algorithm::Rs384, tally(259, 7));
    check(Rsa4096Sha512.json_data(), Algorithm::Rs512, tally(259, 7));
}

/// 21 valid signatures are refused with their keys: a check takes too long.
#[test]
fn keys_of_8192_bits_are_refused() {
    use pkcs1::TestName::{Rsa8192Sha256, Rsa8192Sha384, Rsa8192Sha512};
    for set in [Rsa8192Sha256, Rsa8192Sha384, Rsa8192Sha512] {
        let groups = groups(set.json_data());
        assert_eq!(groups.len(), 1);
        assert_eq!(key(&groups[0]).unwrap_err(), KeyError::Size(8192));
    }
}

/// Checks that a set has that many valid signatures, and that none of our algorithms accepts one.
fn check_valid_are_refused(json: &str, expected: usize) {
    let mut valid = 0;
    for group in groups(json) {
        let key = key(&group).unwrap();
        for case in cases(&group).filter(|case| case.result == "valid") {
            let accepts = |a: &Algorithm| key.verifies(*a, &case.message, &case.signature);
            assert_eq!(
                Algorithm::ALL.iter().find(|a| accepts(a)),
                None,
                "{}",
                case.id
            );
            valid += 1;
        }
    }
    assert_eq!(valid, expected);
}

/// JWS has none of these hashes (RFC 7518 §3.3).
#[test]
fn pkcs1_signatures_with_other_hashes_are_refused() {
    use pkcs1::TestName::{Rsa2048Sha3_256, Rsa2048Sha224, Rsa2048Sha512_224, Rsa2048Sha512_256};
    for set in [
        Rsa2048Sha224,
        Rsa2048Sha3_256,
        Rsa2048Sha512_224,
        Rsa2048Sha512_256,
    ] {
        check_valid_are_refused(set.json_data(), 7);
    }
}

#[test]
fn pss_signatures() {
    use pss::TestName as Set;
    let set = |set: Set, algorithm, tally| check(set.json_data(), algorithm, tally);
    let small = Set::RsaPss2048Sha384Mgf1SaltLen48;
    let (ps256, ps384) = (Algorithm::Ps256, Algorithm::Ps384);
    set(Set::RsaPss2048Sha256Mgf1SaltLen32, ps256, tally(108, 63));
    set(small, ps384, tally(141, 95));
    set(Set::RsaPss3072Sha256Mgf1SaltLen32, ps256, tally(108, 63));
}

#[test]
fn pss_signatures_of_4096_bits() {
    use pss::TestName as Set;
    let set = |set: Set, algorithm, tally| check(set.json_data(), algorithm, tally);
    let large = Set::RsaPss4096Sha512Mgf1SaltLen64;
    let (ps256, ps384) = (Algorithm::Ps256, Algorithm::Ps384);
    set(Set::RsaPss4096Sha256Mgf1SaltLen32, ps256, tally(108, 63));
    set(Set::RsaPss4096Sha384Mgf1SaltLen48, ps384, tally(141, 95));
    set(large, Algorithm::Ps512, tally(179, 132));
}

/// RFC 7518 §3.5: the mask generation function has the hash of the message, and the salt is as
/// long as its output. What else RSASSA-PSS permits is refused.
#[test]
fn pss_signatures_with_other_parameters_are_refused() {
    let mut accepted = Vec::new();
    for group in groups(pss::TestName::RsaPssmisc.json_data()) {
        let key = key(&group).unwrap();
        for case in cases(&group) {
            let accepts = |a: &Algorithm| key.verifies(*a, &case.message, &case.signature);
            let parameters = [&group["sha"], &group["mgfSha"], &group["sLen"]];
            let found = Algorithm::ALL.into_iter().filter(accepts);
            accepted.extend(found.map(|a| format!("{a} {parameters:?}").replace("String", "")));
        }
    }
    accepted.sort();
    let expected = [
        r#"PS256 [("SHA-256"), ("SHA-256"), Number(32)]"#,
        r#"PS384 [("SHA-384"), ("SHA-384"), Number(48)]"#,
        r#"PS512 [("SHA-512"), ("SHA-512"), Number(64)]"#,
    ];
    assert_eq!(accepted, expected, "of 150");
    check_valid_are_refused(pss::TestName::RsaPss2048Sha256Mgf1SaltLen0.json_data(), 61);
}

#[test]
fn ecdsa_signatures_on_p256() {
    let set = ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    check(set.json_data(), Algorithm::Es256, tally(262, 173));
}

#[test]
fn ecdsa_signatures_on_p384() {
    let set = ecdsa::TestName::EcdsaSecp384r1Sha384P1363;
    check(set.json_data(), Algorithm::Es384, tally(280, 193));
}

/// RFC 7518 §3.4: the two numbers one after the other, not DER.
#[test]
fn ecdsa_signatures_in_der_are_refused() {
    let set = ecdsa::TestName::EcdsaSecp256r1Sha256;
    check_valid_are_refused(set.json_data(), 174);
}

/// P-521 and secp256k1 are not among ours: their valid signatures are refused with their keys.
#[test]
fn keys_on_other_curves_are_refused() {
    use ecdsa::TestName::{EcdsaSecp256k1Sha256P1363, EcdsaSecp521r1Sha512P1363};
    for (set, count) in [
        (EcdsaSecp521r1Sha512P1363, 107),
        (EcdsaSecp256k1Sha256P1363, 108),
    ] {
        let groups = groups(set.json_data());
        assert_eq!(groups.len(), count, "{set:?}");
        for group in groups {
            assert_eq!(key(&group).unwrap_err(), KeyError::Numbers);
        }
    }
}

/// What the host gets instead of a P1363 signature is the DER of the same two numbers, or it is
/// not asked at all.
#[test]
fn der_for_the_host_holds_the_same_numbers() {
    let set = ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let mut compared = 0;
    for group in groups(set.json_data()) {
        for Case { id, signature, .. } in cases(&group) {
            let der = ecdsa_in_der(Algorithm::Es256, &signature);
            assert_eq!(der.is_some(), signature.len() == 64, "case {id}");
            if let Ok(own) = p256::ecdsa::Signature::from_slice(&signature) {
                assert_eq!(der.unwrap(), own.to_der().as_bytes(), "case {id}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 173, "{compared}");
}

#[test]
fn ed25519_signatures() {
    let set = eddsa::TestName::Ed25519;
    check(set.json_data(), Algorithm::EdDsa, tally(151, 88));
}
