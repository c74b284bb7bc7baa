//! Publishing, rotating and revoking over HTTP: who may do what, and what each answer means.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the helpers beside them"
)]

mod support;

use axum::http::Method;
use jwt_core::registry_token::RegistryCall;
use jwt_core::time::Timestamp;
use keyregistry_mock::{Approval, Clock, Options};
use serde_json::{Value, json};
use std::time::Duration;
use support::world::{World, jwk, name, now, one, two};
use support::{approve, ask, get};

#[tokio::test]
async fn a_new_key_awaits_approval() {
    let world = World::new(Approval::Manual).await;
    assert_eq!(world.publish("a", &one()).await, 202);
    assert_eq!(world.status("a").await, 409);
    approve(&world.registry, "svc", "a");
    assert_eq!(world.status("a").await, 200);
    let key = world.registry.get("svc", "a").unwrap();
    assert_eq!(key.rotation, Some(60));
    let in_ten_minutes = key.expires.unwrap().seconds() - now();
    assert!((590..=600).contains(&in_ten_minutes), "{in_ten_minutes}");
}

#[tokio::test]
async fn a_registry_may_approve_by_itself() {
    let world = World::new(Approval::Automatic).await;
    assert_eq!(world.publish("a", &one()).await, 200);
    assert_eq!(world.status("a").await, 200);
}

#[tokio::test]
async fn a_rotation_revokes_the_key_that_signed() {
    for approval in [Approval::Manual, Approval::Automatic] {
        let world = World::new(approval).await;
        world.publish("a", &one()).await;
        approve(&world.registry, "svc", "a");
        let rotated = world
            .put("b", &two(), &world.to_put("b", &two(), &one(), "a"))
            .await;
        assert_eq!(rotated, 200);
        assert_eq!(
            (world.status("a").await, world.status("b").await),
            (404, 200)
        );
        // The old key has no say any more.
        let again = world
            .put("c", &one(), &world.to_put("c", &one(), &one(), "a"))
            .await;
        assert_eq!((again, world.status("c").await), (403, 404));
    }
}

#[tokio::test]
async fn with_a_time_of_grace_the_old_key_is_served_on_and_signs_nothing() {
    let world = World::with(Options {
        approval: Approval::Automatic,
        grace: Duration::from_secs(30),
        ..Options::default()
    })
    .await;
    world.publish("a", &one()).await;
    assert_eq!(
        world
            .put("b", &two(), &world.to_put("b", &two(), &one(), "a"))
            .await,
        200
    );
    let answer = get(&world.server, "services/svc/keys/a").await;
    assert_eq!(answer.status.as_u16(), 200);
    let max_age = answer.header("cache-control").strip_prefix("max-age=");
    assert!(max_age.unwrap().parse::<u32>().unwrap() <= 31);
    assert_eq!(
        world
            .put("c", &one(), &world.to_put("c", &one(), &one(), "a"))
            .await,
        403
    );
    world
        .registry
        .set_expiry("svc", "a", Timestamp::from_seconds(1))
        .unwrap();
    assert_eq!(world.status("a").await, 403);
}

#[tokio::test]
async fn keys_that_expired_long_ago_are_forgotten_with_the_next_rotation() {
    let world = World::new(Approval::Automatic).await;
    for (kid, days) in [("recent", 29), ("old", 31)] {
        world.publish(kid, &one()).await;
        let expired = Timestamp::from_seconds(now() - days * 24 * 3600);
        world.registry.set_expiry("svc", kid, expired).unwrap();
    }
    world.publish("a", &one()).await;
    assert_eq!(world.status("recent").await, 403);
    assert_eq!(world.status("old").await, 404);
}

#[tokio::test]
async fn only_an_approved_and_unexpired_key_of_the_service_may_sign_a_rotation() {
    let world = World::new(Approval::Manual).await;
    world.publish("a", &one()).await;
    let put = || async {
        world
            .put("b", &two(), &world.to_put("b", &two(), &one(), "a"))
            .await
    };
    assert_eq!(put().await, 403, "pending");
    approve(&world.registry, "svc", "a");
    let past = Timestamp::from_seconds(1);
    world.registry.set_expiry("svc", "a", past).unwrap();
    assert_eq!(put().await, 403, "expired");
    world.registry.set_expiry("svc", "a", None).unwrap();

    let forged = world
        .put("b", &two(), &world.to_put("b", &two(), &two(), "a"))
        .await;
    assert_eq!(forged, 403, "signed by another key");
    let unknown = world
        .put("b", &two(), &world.to_put("b", &two(), &one(), "x"))
        .await;
    assert_eq!(unknown, 403, "unknown key");
    let mut claims = world.claims();
    claims["iss"] = json!("other");
    let body = jwk(&two(), "b").to_string();
    let expiration = Some(world.expiration);
    let call = RegistryCall::publish(&name("b"), expiration, Some(60), body.as_bytes());
    let other = one().sign_call("a", &claims, &call);
    let other = world.put("b", &two(), &other).await;
    assert_eq!(other, 403, "other service");
    assert_eq!(world.status("b").await, 404);
    assert_eq!(put().await, 200);
}

#[tokio::test]
async fn a_new_key_proves_that_its_owner_has_the_private_half() {
    let world = World::new(Approval::Automatic).await;
    let forged = world
        .put("a", &one(), &world.to_put("a", &one(), &two(), "a"))
        .await;
    assert_eq!((forged, world.status("a").await), (403, 404));
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_and_changes_nothing() {
    let world = World::new(Approval::Manual).await;
    assert_eq!(world.publish("a", &one()).await, 202);
    assert_eq!(world.publish("a", &one()).await, 202);
    approve(&world.registry, "svc", "a");
    let soon = Timestamp::from_seconds(now() + 5);
    world.registry.set_expiry("svc", "a", soon).unwrap();
    assert_eq!(world.publish("a", &one()).await, 200);
    let key = world.registry.get("svc", "a").unwrap();
    assert_eq!(
        key.expires, soon,
        "nobody prolongs the life of their own key"
    );
    let past = Timestamp::from_seconds(1);
    world.registry.set_expiry("svc", "a", past).unwrap();
    assert_eq!(world.publish("a", &one()).await, 403);
}

#[tokio::test]
async fn a_key_id_that_is_taken_stays_with_its_key() {
    let world = World::new(Approval::Automatic).await;
    world.publish("a", &one()).await;
    assert_eq!(world.publish("a", &two()).await, 403);
    assert_eq!(
        world.registry.get("svc", "a").unwrap().jwk.to_json(),
        jwk(&one(), "a")
    );
}

#[tokio::test]
async fn a_key_is_revoked_by_itself_only() {
    let world = World::new(Approval::Manual).await;
    world.publish("a", &one()).await;
    world.publish("b", &two()).await;
    approve(&world.registry, "svc", "b");
    assert_eq!(
        world.delete("a", &world.to_delete("a", &two(), "b")).await,
        403
    );
    assert_eq!(
        world.delete("a", &world.to_delete("a", &two(), "a")).await,
        403
    );
    assert_eq!(world.delete("a", "no.token").await, 400);
    assert_eq!(world.status("a").await, 409);
    for (kid, key) in [("a", one()), ("b", two())] {
        assert_eq!(
            world.delete(kid, &world.to_delete(kid, &key, kid)).await,
            204
        );
        assert_eq!(world.status(kid).await, 404);
        assert_eq!(
            world.delete(kid, &world.to_delete(kid, &key, kid)).await,
            403
        );
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_request() {
    let world = World::new(Approval::Automatic).await;
    let token = world.to_put("a", &one(), &one(), "a");
    assert_eq!(world.put("a", &one(), &token).await, 200);
    assert_eq!(world.put("a", &one(), &token).await, 400);
    // What was refused has used nothing up.
    let token = world.to_delete("a", &one(), "a");
    assert_eq!(world.delete("a", &format!("{token}x")).await, 400);
    assert_eq!(world.delete("b", &token).await, 403);
    assert_eq!(world.delete("a", &token).await, 204);
    assert_eq!(world.delete("a", &token).await, 403);
}

#[tokio::test]
async fn of_many_at_once_with_one_token_one_succeeds() {
    let world = World::new(Approval::Automatic).await;
    let key = one();
    let token = world.to_put("a", &key, &key, "a");
    let put = || world.put("a", &key, &token);
    let (a, b, c, d) = tokio::join!(put(), put(), put(), put());
    let mut answers = [a, b, c, d];
    answers.sort_unstable();
    assert_eq!(answers, [200, 400, 400, 400]);
}

#[tokio::test]
async fn of_two_rotations_at_once_one_succeeds() {
    let world = World::new(Approval::Automatic).await;
    world.publish("a", &one()).await;
    let (b, c) = (two(), two());
    let tokens = [
        world.to_put("b", &b, &one(), "a"),
        world.to_put("c", &c, &one(), "a"),
    ];
    let (b, c) = tokio::join!(
        world.put("b", &b, &tokens[0]),
        world.put("c", &c, &tokens[1])
    );
    assert_eq!(b.min(c), 200);
    assert_eq!(b.max(c), 403);
}

#[tokio::test]
async fn tokens_are_for_this_registry_and_within_their_time() {
    let world = World::new(Approval::Automatic).await;
    for (claim, value, words) in [
        (
            "aud",
            json!("http://other"),
            "this registry is \"http://127",
        ),
        ("exp", json!(now() - 100), " s ago by the registry's clock"),
        (
            "nbf",
            json!(now() + 100),
            " s ahead of the registry's clock",
        ),
        (
            "iat",
            json!(now() + 100),
            " s ahead of the registry's clock",
        ),
        ("exp", json!(now() + 500), " s, expected at most 300 s"),
        ("jti", Value::Null, "jti"),
    ] {
        let mut claims = world.claims();
        claims[claim] = value;
        let body = jwk(&one(), "a").to_string();
        let call = RegistryCall::publish(&name("a"), None, None, body.as_bytes());
        let token = one().sign_call("a", &claims, &call);
        let path = "services/svc/keys/a";
        let answer = world.call(Method::PUT, path, &token, body).await;
        let reason = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status.as_u16(), 400, "{reason}");
        assert!(reason.contains(words), "{words:?} is not in {reason:?}");
        // Time passes between the making of a token and its check, more of it on a busy machine.
        if let Some((before, _)) = reason.split_once(" s a") {
            let seconds: i64 = before.rsplit(' ').next().unwrap().parse().unwrap();
            assert!((70..=130).contains(&seconds), "{reason}");
        }
    }
}

#[tokio::test]
async fn the_audience_may_be_configured() {
    let world = World::with(Options {
        audience: Some("https://registry.example/".into()),
        approval: Approval::Automatic,
        ..Options::default()
    })
    .await;
    assert_eq!(world.publish("a", &one()).await, 400);
    let mut claims = world.claims();
    claims["aud"] = json!("https://registry.example");
    let body = jwk(&one(), "a").to_string();
    let expiration = Some(world.expiration);
    let call = RegistryCall::publish(&name("a"), expiration, Some(60), body.as_bytes());
    let token = one().sign_call("a", &claims, &call);
    assert_eq!(world.put("a", &one(), &token).await, 200);
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_stores_nothing() {
    let world = World::new(Approval::Automatic).await;
    let path = "services/svc/keys/a";
    let good = || jwk(&one(), "a");
    let mut private = good();
    private["d"] = json!("AQAB");
    for (path, body) in [
        (path.to_owned(), json!("text")),
        (
            path.to_owned(),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        ),
        (path.to_owned(), json!({"kty": "oct", "k": "AQAB"})),
        (path.to_owned(), private),
        (path.to_owned(), jwk(&one(), "other")),
        (format!("{path}?expiration=soon"), good()),
        (format!("{path}?expiration=1"), good()),
        (format!("{path}?expiration=99999999999999"), good()),
        (format!("{path}?rotation=-1"), good()),
        (format!("{path}?rotation=1&rotation=2"), good()),
        (format!("services/svc/keys/{}", "a".repeat(1025)), good()),
    ] {
        let token = world.to_put_body("a", &body, &one(), "a");
        let call = world.call(Method::PUT, &path, &token, body.to_string());
        let answer = call.await;
        assert_eq!(answer.status.as_u16(), 400, "{path} {body}");
        assert!(answer.json()["error"].is_string());
    }
    let big = json!("a".repeat(100_000));
    let token = world.to_put_body("a", &big, &one(), "a");
    let call = world.call(Method::PUT, path, &token, big.to_string());
    let answer = call.await;
    assert_eq!(answer.status.as_u16(), 413);
    for authorization in [None, Some("Basic dXNlcjpwYXNz"), Some("Bearer")] {
        let body = good().to_string();
        let answer = ask(&world.server.url(), Method::PUT, path, authorization, body).await;
        assert_eq!(answer.status.as_u16(), 400, "{authorization:?}");
    }
    assert!(world.registry.all().is_empty());
}

#[tokio::test]
async fn a_key_without_kid_gets_the_one_of_its_path() {
    let world = World::new(Approval::Automatic).await;
    let mut jwk = jwk(&one(), "a");
    jwk.as_object_mut().unwrap().remove("kid");
    let token = world.to_put_body("a", &jwk, &one(), "a");
    assert_eq!(world.put_body("a", &jwk, &token).await, 200);
    let key = get(&world.server, "services/svc/keys/a").await;
    assert_eq!(key.json()["kid"], "a");
}

#[tokio::test]
async fn of_a_key_only_its_own_members_are_kept() {
    let world = World::new(Approval::Automatic).await;
    let mut sent = jwk(&one(), "a");
    sent["alg"] = json!("RS256");
    let kept = sent.clone();
    sent["x5c"] = json!(["a".repeat(10_000)]);
    sent["x"] = json!("y");
    let token = world.to_put_body("a", &sent, &one(), "a");
    assert_eq!(world.put_body("a", &sent, &token).await, 200);
    let key = get(&world.server, "services/svc/keys/a").await;
    assert_eq!(key.json(), kept);
}

#[tokio::test]
async fn a_registrys_clock_shows_in_its_answers() {
    let world = World::with(Options {
        clock: Clock::Behind(Duration::from_secs(3600)),
        approval: Approval::Automatic,
        ..Options::default()
    })
    .await;
    assert_eq!(world.publish("a", &one()).await, 400);
    let answer = get(&world.server, "healthz").await;
    let date = httpdate::parse_http_date(answer.header("date")).unwrap();
    let behind = std::time::SystemTime::now().duration_since(date).unwrap();
    assert!((3599..3610).contains(&behind.as_secs()), "{behind:?}");
}

#[tokio::test]
async fn the_numbers_of_requests_and_keys_are_told() {
    let world = World::new(Approval::Manual).await;
    world.publish("a", &one()).await;
    world.publish("b", &two()).await;
    approve(&world.registry, "svc", "b");
    world.status("x").await;
    let text = get(&world.server, "metrics").await.body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "keyregistry_requests_total{method=\"PUT\",status=\"202\"} 2",
        "keyregistry_requests_total{method=\"GET\",status=\"404\"} 1",
        "keyregistry_keys{state=\"approved\"} 1",
        "keyregistry_keys{state=\"expired\"} 0",
        "keyregistry_keys{state=\"pending\"} 1",
        "keyregistry_keys{state=\"retired\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
