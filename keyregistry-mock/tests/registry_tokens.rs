//! Which tokens authorize a call: attacks on the registry with tokens that were made for something
//! else.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod support;

use axum::http::Method;
use jwt_core::key::KeyName;
use jwt_core::registry_token::{CLAIM, RegistryCall, TYPE};
use jwt_core::testing::TestSigner;
use keyregistry_mock::{Approval, Options};
use serde_json::{Value, json};
use support::world::{World, jwk, name, one, two};
use support::{Answer, get};

/// A service whose key `a` is approved.
async fn world(accept_legacy_tokens: bool) -> World {
    let world = World::with(Options {
        approval: Approval::Automatic,
        accept_legacy_tokens,
        ..Options::default()
    })
    .await;
    assert_eq!(world.publish("a", &one()).await, 200);
    world
}

fn sign(signer: &TestSigner, kid: &str, typ: Option<&str>, claims: &Value) -> String {
    let mut header = json!({"alg": "RS256", "kid": kid});
    if let Some(typ) = typ {
        header["typ"] = json!(typ);
    }
    signer.sign_with(&header, claims)
}

fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap().to_owned()
}

async fn key_is_untouched(world: &World) {
    let key = get(&world.server, "services/svc/keys/a").await;
    assert_eq!(key.json(), jwk(&one(), "a"));
    assert_eq!(world.registry.all().len(), 1, "nothing was published");
}

#[tokio::test]
async fn a_clients_request_through_the_signer_neither_plants_nor_revokes_a_key() {
    let world = world(false).await;
    // The token that a signer puts on whatever its clients send, to wherever they say.
    for typ in [Some("JWT"), Some("application/jwt"), Some("at+jwt"), None] {
        let token = || sign(&one(), "a", typ, &world.claims());
        let body = jwk(&two(), "evil").to_string();
        let path = world.path("evil");
        let put = world.call(Method::PUT, &path, &token(), body).await;
        assert_eq!(put.status.as_u16(), 403, "{typ:?}");
        assert!(error(&put).contains("--accept-legacy-tokens"));
        assert_eq!(world.delete("a", &token()).await, 403, "{typ:?}");
    }
    key_is_untouched(&world).await;
}

#[tokio::test]
async fn the_binding_claim_on_a_request_is_no_authority() {
    for accept_legacy_tokens in [false, true] {
        let world = world(accept_legacy_tokens).await;
        let body = jwk(&two(), "evil").to_string();
        let expiration = Some(world.expiration);
        let put = RegistryCall::publish(&name("evil"), expiration, Some(60), body.as_bytes());
        let delete = RegistryCall::revoke(&name("a"), b"");
        for typ in [Some("JWT"), None, Some("x/jwtproxy-registry+jwt")] {
            let token = |call: &RegistryCall| {
                let mut claims = world.claims();
                claims[CLAIM] = json!(call);
                sign(&one(), "a", typ, &claims)
            };
            let answer = world
                .call(Method::PUT, &world.path("evil"), &token(&put), body.clone())
                .await;
            assert_eq!(answer.status.as_u16(), 403, "{typ:?}");
            assert_eq!(world.delete("a", &token(&delete)).await, 403, "{typ:?}");
        }
        key_is_untouched(&world).await;
    }
}

#[tokio::test]
async fn a_man_in_the_middle_changes_nothing_of_a_publication() {
    for accept_legacy_tokens in [false, true] {
        let world = world(accept_legacy_tokens).await;
        let token = world.to_put("b", &two(), &one(), "a");
        let key = jwk(&two(), "b");
        let other_key = jwk(&one(), "b");
        let expiration = world.expiration;
        let b = "services/svc/keys/b";
        for (method, path, body) in [
            // The key, and the same key in other bytes.
            (Method::PUT, world.path("b"), other_key.to_string()),
            (Method::PUT, world.path("b"), format!(" {key}")),
            (Method::PUT, world.path("b"), key.to_string() + "\n"),
            // The terms.
            (
                Method::PUT,
                format!("{b}?expiration={}&rotation=60", expiration + 1),
                key.to_string(),
            ),
            (Method::PUT, format!("{b}?rotation=60"), key.to_string()),
            (
                Method::PUT,
                format!("{b}?expiration={expiration}"),
                key.to_string(),
            ),
            (
                Method::PUT,
                format!("{b}?expiration={expiration}&rotation=61"),
                key.to_string(),
            ),
            (Method::PUT, b.to_owned(), key.to_string()),
            // The name.
            (Method::PUT, world.path("c"), {
                let mut unnamed = key.clone();
                unnamed.as_object_mut().unwrap().remove("kid");
                unnamed.to_string()
            }),
            // The call.
            (
                Method::DELETE,
                "services/svc/keys/a".to_owned(),
                String::new(),
            ),
            (Method::DELETE, b.to_owned(), String::new()),
            (Method::DELETE, world.path("b"), key.to_string()),
        ] {
            let answer = world
                .call(method.clone(), &path, &token, body.clone())
                .await;
            assert_eq!(answer.status.as_u16(), 403, "{method} {path} {body}");
            key_is_untouched(&world).await;
        }
        // The service.
        let path = world.path("b").replace("/svc/", "/other/");
        let answer = world
            .call(Method::PUT, &path, &token, key.to_string())
            .await;
        assert_eq!(answer.status.as_u16(), 403);
        // What was refused has not used it up; after that it is not used twice.
        assert_eq!(world.put("b", &two(), &token).await, 200);
        assert_eq!(world.put("b", &two(), &token).await, 403, "a is gone");
    }
}

#[tokio::test]
async fn a_token_for_one_revocation_is_for_no_other() {
    let world = world(false).await;
    assert_eq!(world.publish("b", &two()).await, 200);
    let token = world.to_delete("a", &one(), "a");
    assert_eq!(world.delete("b", &token).await, 403);
    let body = jwk(&one(), "a").to_string();
    for path in [world.path("a"), "services/svc/keys/a".into()] {
        let put = world.call(Method::PUT, &path, &token, body.clone()).await;
        assert_eq!(put.status.as_u16(), 403);
    }
    let with_body = world
        .call(Method::DELETE, "services/svc/keys/a", &token, body)
        .await;
    assert_eq!(with_body.status.as_u16(), 403);
    assert_eq!(
        (world.status("a").await, world.status("b").await),
        (200, 200)
    );
    assert_eq!(world.delete("a", &token).await, 204);
}

#[tokio::test]
async fn every_spelling_of_the_type_has_to_bind() {
    for typ in [
        TYPE,
        "application/jwtproxy-registry+jwt",
        "JWTPROXY-Registry+jwt",
    ] {
        let world = world(true).await;
        let unbound = sign(&one(), "a", Some(typ), &world.claims());
        assert_eq!(world.delete("a", &unbound).await, 403, "{typ}");
        key_is_untouched(&world).await;
        let mut claims = world.claims();
        claims[CLAIM] = json!(RegistryCall::revoke(&name("a"), b""));
        let bound = sign(&one(), "a", Some(typ), &claims);
        assert_eq!(world.delete("a", &bound).await, 204, "{typ}");
    }
}

#[tokio::test]
async fn tokens_of_older_signers_are_taken_with_the_flag_alone() {
    for (accept_legacy_tokens, statuses) in [(false, [403, 403]), (true, [200, 204])] {
        let world = world(accept_legacy_tokens).await;
        let token = |signer: &TestSigner, kid| sign(signer, kid, Some("JWT"), &world.claims());
        let put = world.put("b", &two(), &token(&one(), "a")).await;
        let signer = if accept_legacy_tokens { two() } else { one() };
        let kid = if accept_legacy_tokens { "b" } else { "a" };
        let delete = world.delete(kid, &token(&signer, kid)).await;
        assert_eq!([put, delete], statuses);
    }
}

/// Two services have approved the key id `a`: one of them the same key, or another one.
#[tokio::test]
async fn a_key_of_one_service_neither_rotates_nor_revokes_nor_publishes_for_another() {
    for accept_legacy_tokens in [false, true] {
        for others_key in [one, two] {
            let world = world(accept_legacy_tokens).await;
            let of_other = |call: &RegistryCall, kid: &str| {
                let mut claims = world.claims();
                claims["iss"] = json!("other");
                others_key().sign_call(kid, &claims, call)
            };
            let expiration = Some(world.expiration);
            let publish = |service: &str, kid: &str, body: &str| {
                let name = KeyName::new(service.into(), kid.into()).unwrap();
                RegistryCall::publish(&name, expiration, Some(60), body.as_bytes())
            };
            let a = jwk(&others_key(), "a").to_string();
            let token = of_other(&publish("other", "a", &a), "a");
            let path = world.path("a").replace("/svc/", "/other/");
            let put = world.call(Method::PUT, &path, &token, a).await;
            assert_eq!(put.status.as_u16(), 200);

            // A rotation, and a new key that signs for itself.
            let next = jwk(&TestSigner::stranger(), "b").to_string();
            let new = jwk(&others_key(), "c").to_string();
            for (kid, body, signer) in [("b", next, "a"), ("c", new, "c")] {
                let token = of_other(&publish("svc", kid, &body), signer);
                let path = world.path(kid);
                let put = world.call(Method::PUT, &path, &token, body).await;
                assert_eq!(put.status.as_u16(), 403, "{kid}");
                assert!(error(&put).contains("\"iss\""), "{kid}: {}", error(&put));
                assert_eq!(world.status(kid).await, 404, "{kid}");
            }
            let token = of_other(&RegistryCall::revoke(&name("a"), b""), "a");
            assert_eq!(world.delete("a", &token).await, 403);
            let key = get(&world.server, "services/svc/keys/a").await;
            assert_eq!(key.json(), jwk(&one(), "a"));
        }
    }
}
