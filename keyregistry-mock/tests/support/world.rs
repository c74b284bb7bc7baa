//! A registry, and services that publish keys to it.

use super::{Answer, ask, get, start};
use axum::http::Method;
use jwt_core::key::KeyName;
use jwt_core::registry_token::RegistryCall;
use jwt_core::testing::TestSigner;
use keyregistry_mock::{Approval, Clock, Options, Registry, Server};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn now() -> i64 {
    Clock::System.now().seconds()
}

/// A registry in memory, and its clients.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) server: Server,
    /// Of the keys that are published.
    pub(crate) expiration: i64,
}

impl World {
    pub(crate) async fn new(approval: Approval) -> Self {
        Self::with(Options {
            approval,
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let registry = Registry::in_memory().unwrap();
        let server = start(&registry, options).await;
        Self {
            registry,
            server,
            expiration: now() + 600,
        }
    }

    pub(crate) fn claims(&self) -> Value {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        json!({
            "iss": "svc",
            "aud": format!("http://{}", self.server.local_addr()),
            "iat": now(),
            "nbf": now() - 60,
            "exp": now() + 120,
            "jti": NEXT.fetch_add(1, Ordering::Relaxed).to_string(),
        })
    }

    /// A good token for [`World::put`], signed as the key `signer_kid`.
    pub(crate) fn to_put(
        &self,
        kid: &str,
        key: &TestSigner,
        signer: &TestSigner,
        signer_kid: &str,
    ) -> String {
        self.to_put_body(kid, &jwk(key, kid), signer, signer_kid)
    }

    pub(crate) fn to_put_body(
        &self,
        kid: &str,
        jwk: &Value,
        signer: &TestSigner,
        signer_kid: &str,
    ) -> String {
        let (expiration, body) = (Some(self.expiration), jwk.to_string());
        let call = RegistryCall::publish(&name(kid), expiration, Some(60), body.as_bytes());
        signer.sign_call(signer_kid, &self.claims(), &call)
    }

    /// A good token for [`World::delete`], signed as the key `signer_kid`.
    pub(crate) fn to_delete(&self, kid: &str, signer: &TestSigner, signer_kid: &str) -> String {
        let call = RegistryCall::revoke(&name(kid), b"");
        signer.sign_call(signer_kid, &self.claims(), &call)
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: String,
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let url = self.server.url();
        ask(&url, method, path, Some(&authorization), body).await
    }

    pub(crate) fn path(&self, kid: &str) -> String {
        let expiration = self.expiration;
        format!("services/svc/keys/{kid}?expiration={expiration}&rotation=60")
    }

    pub(crate) async fn put(&self, kid: &str, key: &TestSigner, token: &str) -> u16 {
        self.put_body(kid, &jwk(key, kid), token).await
    }

    pub(crate) async fn put_body(&self, kid: &str, jwk: &Value, token: &str) -> u16 {
        let path = self.path(kid);
        let call = self.call(Method::PUT, &path, token, jwk.to_string());
        call.await.status.as_u16()
    }

    /// Publishes a key signed by itself.
    pub(crate) async fn publish(&self, kid: &str, key: &TestSigner) -> u16 {
        self.put(kid, key, &self.to_put(kid, key, key, kid)).await
    }

    pub(crate) async fn delete(&self, kid: &str, token: &str) -> u16 {
        let path = format!("services/svc/keys/{kid}");
        let answer = self.call(Method::DELETE, &path, token, String::new()).await;
        answer.status.as_u16()
    }

    pub(crate) async fn status(&self, kid: &str) -> u16 {
        let answer = get(&self.server, &format!("services/svc/keys/{kid}")).await;
        answer.status.as_u16()
    }
}

pub(crate) fn jwk(key: &TestSigner, kid: &str) -> Value {
    key.public_key().to_jwk(kid)
}

pub(crate) fn name(kid: &str) -> KeyName {
    KeyName::new("svc".into(), kid.into()).unwrap()
}

pub(crate) fn one() -> TestSigner {
    TestSigner::service()
}

pub(crate) fn two() -> TestSigner {
    TestSigner::stranger()
}
