//! The token that arrives.

use crate::client::{Client, send};
use crate::message::get;
use crate::running_proxy::RunningProxy;
use crate::upstream::Upstream;
use hyper::Request;
use hyper::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

#[tokio::test]
async fn a_request_arrives_with_a_token_that_verifies() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let before = unix_seconds();
    let response = send(&proxy, get(&upstream.url("/path?query"))).await;
    let after = unix_seconds();

    assert_eq!(response.status(), 200);
    let token = verified(&received.next().await, &upstream.url(""));
    assert_eq!(token.header.kid.as_deref(), Some("my-key"));
    assert_eq!(token.header.typ.as_deref(), Some("JWT"));
    let issued_at = token.claims["iat"].as_u64().unwrap();
    assert!((before..=after).contains(&issued_at));
    assert_eq!(token.claims["nbf"], issued_at - 60);
    assert_eq!(token.claims["exp"], issued_at + 300);
    assert_eq!(token.claims["jti"].as_str().unwrap().len(), 32);
    assert_eq!(token.claims.as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn every_request_has_a_nonce_of_its_own() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut client = Client::connect(&proxy).await;
    let mut nonces = Vec::new();
    for _ in 0..2 {
        client.send(get(&upstream.url("/"))).await;
        let token = verified(&received.next().await, &upstream.url(""));
        nonces.push(token.claims["jti"].clone());
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[tokio::test]
async fn the_clients_authorization_is_replaced() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut request = get(&upstream.url("/"));
    for value in ["Basic dXNlcjpwYXNz", "Bearer forged"] {
        request
            .headers_mut()
            .append(AUTHORIZATION, value.parse().unwrap());
    }
    send(&proxy, request).await;
    // Panics unless there is one, and it is ours.
    verified(&received.next().await, &upstream.url(""));
}

#[tokio::test]
async fn a_client_cannot_have_the_token_taken_off() {
    let proxy = RunningProxy::start().await;
    let (upstream, mut received) = Upstream::recording().await;
    let mut request = get(&upstream.url("/"));
    let nominated = "authorization, host".parse().unwrap();
    request.headers_mut().insert("Connection", nominated);
    send(&proxy, request).await;
    let received = received.next().await;
    verified(&received, &upstream.url(""));
    assert_eq!(received.headers()["host"], upstream.address.to_string());
}

/// The one token of a request, after another library has verified it.
fn verified<B>(request: &Request<B>, audience: &str) -> TokenData<Value> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let value = values.next().unwrap().to_str().unwrap();
    assert!(values.next().is_none(), "only one Authorization may arrive");
    let token = value.strip_prefix("Bearer ").unwrap();

    let public_key = DecodingKey::from_rsa_der(include_bytes!("../keys/pkcs1-public.der"));
    let mut rules = Validation::new(Algorithm::RS256);
    rules.leeway = 0;
    rules.validate_nbf = true;
    rules.set_audience(&[audience]);
    rules.set_issuer(&["my-service"]);
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss"]);
    jsonwebtoken::decode(token, &public_key, &rules).unwrap()
}

fn unix_seconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since_epoch.as_secs()
}
