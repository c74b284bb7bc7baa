//! The keeper of the signing key, with a registry and a folder that the test has in its hands.
#![expect(
    clippy::unwrap_used,
    reason = "what a test does not expect is its failure"
)]

use jwt_core::key::KeyName;
use keyregistry_mock::{Clock, KeyState, NamedKey, Options, Registry, Server, publication};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use signer_native::keys::{KeyKeeper, KeyStatus, Phase, RegistryUrl, Settings};
use signer_native::signing::{RequestSigner, TokenClaims};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// Far beyond what anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_key_that_was_approved_since_the_last_look_is_kept_at_the_end() {
    let world = World::start().await;
    let id = world.until_pending().await;
    world.approve(&id);
    let (registry, folder) = world.end().await;
    let [key] = registry.all().try_into().unwrap();
    assert_eq!((key.kid, key.key.state), (id, KeyState::Approved));
    assert!(folder.path().join("my-service.jwk").exists());
    assert!(!folder.path().join("my-service.jwk.pending").exists());
}

#[tokio::test]
async fn a_key_that_was_not_is_revoked_at_the_end() {
    let world = World::start().await;
    world.until_pending().await;
    let (registry, folder) = world.end().await;
    assert_eq!(registry.all(), Vec::<NamedKey>::new());
    assert!(!folder.path().join("my-service.jwk.pending").exists());
}

/// The registry takes it back no more, so that the signer would hear 403 for ever.
#[tokio::test]
async fn a_key_that_was_revoked_before_it_signed_gives_way_to_a_new_one() {
    let world = World::start().await;
    let revoked = world.until_pending().await;
    world.approve(&revoked);
    assert!(world.registry.remove("my-service", &revoked).unwrap());

    let anew = |it: &KeyStatus| {
        let pending = it.pending.as_ref();
        it.phase == Phase::AwaitsApproval && pending.is_some_and(|id| *id != revoked)
    };
    let id = world.until(anew).await.pending.unwrap();
    world.approve(&id);
    let status = world.until(|it| it.phase == Phase::Active).await;
    assert_eq!(status.active, Some(id));
    assert!(world.registry.is_revoked("my-service", &revoked));
}

#[tokio::test]
async fn a_first_key_signs_while_the_disk_cannot_follow() {
    let world = World::start().await;
    let id = world.until_pending().await;
    // No file can be renamed over a folder.
    let in_the_way = world.folder.path().join("my-service.jwk");
    fs::create_dir(&in_the_way).unwrap();
    world.approve(&id);
    let status = world
        .until(|it| it.failed_steps > 0 && it.phase != Phase::AwaitsApproval)
        .await;
    assert_eq!(status.active, Some(id.clone()));
    assert!(world.signer.has_key());

    fs::remove_dir(&in_the_way).unwrap();
    let status = world.until(|it| it.activations > 0).await;
    assert_eq!((status.active, status.problem), (Some(id), None));
    assert!(in_the_way.is_file());
}

/// A keeper whose registry wants approval.
struct World {
    registry: Registry,
    _server: Server,
    folder: TempDir,
    signer: Arc<RequestSigner>,
    keeper: KeyKeeper,
}

impl World {
    async fn start() -> Self {
        let registry = Registry::in_memory().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(address, registry.clone(), Options::default());
        let server = server.await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path().to_owned(), &server.url());
        let signer = Arc::new(RequestSigner::without_key(settings.claims.clone()));
        Self {
            registry,
            _server: server,
            folder,
            keeper: KeyKeeper::start(settings, Arc::clone(&signer)).unwrap(),
            signer,
        }
    }

    async fn until(&self, condition: impl FnMut(&KeyStatus) -> bool) -> KeyStatus {
        let mut status = self.keeper.status();
        let found = timeout(PATIENCE, status.wait_for(condition)).await;
        found.unwrap().unwrap().clone()
    }

    /// The id of the key that awaits approval.
    async fn until_pending(&self) -> String {
        let status = self.until(|it| it.phase == Phase::AwaitsApproval).await;
        status.pending.unwrap()
    }

    /// Signers name their keys by their thumbprints.
    fn approve(&self, id: &str) {
        let name = KeyName::new("my-service".into(), id.into()).unwrap();
        publication::approve(&self.registry, &name, id, Clock::System.now()).unwrap();
    }

    async fn end(self) -> (Registry, TempDir) {
        self.keeper.finish().await;
        (self.registry, self.folder)
    }
}

fn settings(folder: PathBuf, registry: &str) -> Settings {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider);
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    Settings {
        folder,
        rotate_every: None,
        registry: RegistryUrl::parse(registry).unwrap(),
        claims: TokenClaims {
            issuer: "my-service".into(),
            expiration_time: Duration::from_secs(300),
            max_skew: Duration::from_secs(60),
            nonce_length: 32,
        },
        tls: tls
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
    }
}
