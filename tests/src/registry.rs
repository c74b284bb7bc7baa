//! A key registry that can go away and come back.

use jwt_core::testing::TestSigner;
use keyregistry_mock::jwk::PublicJwk;
use keyregistry_mock::{KeyState, Options, Registry, Server};
use serde_json::Value;
use std::net::SocketAddr;

/// A registry that knows the key `k1` of the service `svc`.
pub struct TestRegistry {
    registry: Registry,
    options: Options,
    address: SocketAddr,
    server: Option<Server>,
}

impl TestRegistry {
    /// Starts on a free port.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts on a free port with these options.
    pub async fn start_with(options: Options) -> Self {
        let registry = Registry::in_memory().expect("memory");
        publish(&registry, "svc", "k1", KeyState::Approved);
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(free_port, registry.clone(), options.clone()).await;
        let server = server.expect("a free port");
        Self {
            registry,
            options,
            address: server.local_addr(),
            server: Some(server),
        }
    }

    /// Adds a key; whatever its name, it is that of [`TestSigner::service`].
    pub fn publish(&self, service: &str, key_id: &str, state: KeyState) {
        publish(&self.registry, service, key_id, state);
    }

    /// Adds an approved key.
    pub fn publish_jwk(&self, service: &str, key_id: &str, jwk: &Value) {
        let jwk = PublicJwk::from_json(jwk.clone()).expect("a public key");
        self.registry
            .publish(service, key_id, jwk, KeyState::Approved)
            .expect("a database in memory");
    }

    /// The store behind it.
    pub fn store(&self) -> &Registry {
        &self.registry
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.server.as_ref().expect("a registry that is up").url()
    }

    /// How often that key was asked for since the start.
    pub fn requests(&self, service: &str, key_id: &str) -> usize {
        self.server
            .as_ref()
            .map_or(0, |server| server.key_requests(service, key_id))
    }

    /// Ends the server; the keys stay.
    pub async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
    }

    /// Starts the server again, where it was.
    pub async fn come_back(&mut self) {
        let server = Server::start(self.address, self.registry.clone(), self.options.clone()).await;
        self.server = Some(server.expect("the port it had"));
    }
}

fn publish(registry: &Registry, service: &str, key_id: &str, state: KeyState) {
    let jwk = TestSigner::service().public_key().to_jwk(key_id);
    let jwk = PublicJwk::from_json(jwk).expect("a public key");
    registry
        .publish(service, key_id, jwk, state)
        .expect("a database in memory");
}
