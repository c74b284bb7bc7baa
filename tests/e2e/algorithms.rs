use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::registry::TestRegistry;
use jwtproxy_tests::tokens;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::{Value, json};

/// A key as another library signs with it, and its public half.
struct Key {
    encoding: EncodingKey,
    jwk: Value,
}

fn rsa() -> Key {
    let pem = TestSigner::SERVICE_PRIVATE_PEM.as_bytes();
    Key {
        encoding: EncodingKey::from_rsa_pem(pem).unwrap(),
        jwk: TestSigner::service().public_key().to_jwk("rsa"),
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &str) -> Key {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    Key {
        encoding: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
        jwk: json!({
            "kty": "EC",
            "crv": curve,
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }),
    }
}

fn ed25519() -> Key {
    let pair = Ed25519KeyPair::generate().unwrap();
    Key {
        encoding: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()),
        jwk: json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(pair.public_key()),
        }),
    }
}

fn token(key: &Key, algorithm: Algorithm, key_id: &str) -> String {
    let header = Header {
        kid: Some(key_id.to_owned()),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, &tokens::good_claims(), &key.encoding).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_algorithm_is_accepted_with_a_key_of_its_type_and_refused_with_others() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let keys = [
        ("rsa", rsa()),
        ("p256", ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        ("p384", ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        ("ed25519", ed25519()),
    ];
    for (key_id, key) in &keys {
        registry.publish_jwk("svc", key_id, &key.jwk);
    }
    let verifier = Verifier::start(&upstream, &registry, "").await;
    let find = |key_id| &keys.iter().find(|(own, _)| *own == key_id).unwrap().1;

    for (algorithm, key_id) in [
        (Algorithm::RS256, "rsa"),
        (Algorithm::RS384, "rsa"),
        (Algorithm::RS512, "rsa"),
        (Algorithm::PS256, "rsa"),
        (Algorithm::PS384, "rsa"),
        (Algorithm::PS512, "rsa"),
        (Algorithm::ES256, "p256"),
        (Algorithm::ES384, "p384"),
        (Algorithm::EdDSA, "ed25519"),
    ] {
        let good = token(find(key_id), algorithm, key_id);
        let answer = client::get_with_token(verifier.address(), &good).await;
        assert_eq!(answer.code(), 200, "{algorithm:?}: {answer:?}");

        let other_id = if key_id == "rsa" { "p256" } else { "rsa" };
        let confused = token(find(key_id), algorithm, other_id);
        let answer = client::get_with_token(verifier.address(), &confused).await;
        assert_eq!(answer.code(), 403, "{algorithm:?}: {answer:?}");
        assert!(
            answer.body.contains("not usable for this token"),
            "{algorithm:?}: {answer:?}"
        );

        let (rest, _) = good.rsplit_once('.').unwrap();
        let forged = format!("{rest}.{}", URL_SAFE_NO_PAD.encode([1; 64]));
        let answer = client::get_with_token(verifier.address(), &forged).await;
        assert!(
            answer.body.contains("signature does not match"),
            "{algorithm:?}: {answer:?}"
        );
    }
    // RSA with PKCS#1 v1.5 and ECDSA are the host's, one good and one forged each.
    verifier
        .expect_metric("jwtproxy_signatures{by=\"host\"}", 10)
        .await;
    verifier
        .expect_metric("jwtproxy_signatures{by=\"vm\"}", 8)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_to_the_use_and_the_algorithm_it_names() {
    let (upstream, registry) = (Upstream::start().await, TestRegistry::start().await);
    let with = |name: &str, value: &str| {
        let mut jwk = rsa().jwk;
        jwk[name] = value.into();
        jwk["kid"] = format!("{name}-{value}").into();
        jwk
    };
    registry.publish_jwk("svc", "alg-RS512", &with("alg", "RS512"));
    registry.publish_jwk("svc", "use-enc", &with("use", "enc"));
    let verifier = Verifier::start(&upstream, &registry, "").await;
    for (algorithm, key_id, code) in [
        (Algorithm::RS512, "alg-RS512", 200),
        (Algorithm::RS256, "alg-RS512", 403),
        (Algorithm::RS256, "use-enc", 403),
    ] {
        let token = token(&rsa(), algorithm, key_id);
        let answer = client::get_with_token(verifier.address(), &token).await;
        assert_eq!(answer.code(), code, "{algorithm:?} {key_id}: {answer:?}");
    }
}
