use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::key_server::{KeyServer, Script};
use jwtproxy_tests::tokens::with_claim;
use jwtproxy_tests::upstream::Upstream;
use jwtproxy_tests::verifier::Verifier;
use serde_json::json;

/// The set with the key of [`TestSigner::service`], or of [`TestSigner::stranger`].
fn set(signer: &TestSigner) -> Script {
    let jwk = signer.public_key().to_jwk("k1");
    Script::ok(json!({"keys": [{"kty": "unknown"}, jwk]}).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_issuer_has_its_own_set() {
    let upstream = Upstream::start().await;
    let one = KeyServer::start(set(&TestSigner::service())).await;
    let other = KeyServer::start(set(&TestSigner::stranger())).await;
    let key_server = format!(
        r#"
key_server:
  type: jwks
  options:
    issuers:
    - {{issuer: "https://one.example/", url: "{}keys.json?policy=sign-in"}}
    - {{issuer: "https://other.example/", url: "{}"}}
"#,
        one.url(),
        other.url()
    );
    let verifier = Verifier::start_with_key_server(&upstream, &key_server, 1).await;
    for (issuer, code, reason) in [
        ("https://one.example/", 200, ""),
        (
            "https://other.example/",
            403,
            "the signature does not match",
        ),
        ("https://nobody.example/", 403, "signing key is unknown"),
        ("https://one.example/", 200, ""),
    ] {
        let token = with_claim("iss", json!(issuer));
        let answer = client::get_with_token(verifier.address(), &token).await;
        assert_eq!(answer.code(), code, "{issuer}: {answer:?}");
        assert!(answer.body.contains(reason), "{issuer}: {answer:?}");
    }
    assert_eq!(one.requests(), ["/keys.json?policy=sign-in"]);
    assert_eq!(other.requests(), ["/"]);
}
