//! The signer is killed at each step of a key's life, as `kill -9` does it. docs/keys.md has the
//! same steps as a table: what was on the disk, and what the next start does.

use hyper::Method;
use jwtproxy_tests::client::get_through;
use jwtproxy_tests::gate::{Fault, wait_until};
use jwtproxy_tests::jwtproxy::{Jwtproxy, binary};
use jwtproxy_tests::keys::{ISSUER, KeyWorld, ask_until, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::{Approval, Clock, KeyState, Registry};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Until the next start: what is on the disk.
#[derive(Debug, PartialEq)]
struct Disk {
    active: bool,
    pending: bool,
}

const NOTHING_ACTIVE: Disk = Disk {
    active: false,
    pending: true,
};
const BOTH: Disk = Disk {
    active: true,
    pending: true,
};

fn disk(world: &KeyWorld) -> Disk {
    Disk {
        active: world.active().is_some(),
        pending: world.pending().is_some(),
    }
}

/// The next start has this key active, and it alone is at the registry.
async fn next_start_signs_with(world: &KeyWorld, kid: &str) {
    let upstream = Upstream::start().await;
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    wait_until("the activation", || world.active().as_deref() == Some(kid)).await;
    let answer = ask_until(&signer, &url, 200).await;
    assert_eq!(key_of_token(&answer.json()), kid, "{}", signer.log());
    assert_eq!(world.pending(), None);
    assert_eq!(world.published(), [kid], "{}", signer.log());
    assert_eq!(world.state(kid), Some(KeyState::Approved));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_first_publication_arrived() {
    let world = KeyWorld::new(Approval::Automatic).await;
    world.gate.set(Method::PUT, Fault::HoldRequest);
    let signer = world.signer("1h").await;
    world.gate.wait_for_more(&Method::PUT, 0).await;
    signer.kill().await;
    assert_eq!(disk(&world), NOTHING_ACTIVE);
    assert!(world.published().is_empty());

    let kid = world.pending().unwrap();
    world.gate.set(Method::PUT, Fault::None);
    next_start_signs_with(&world, &kid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_first_publication_arrived() {
    let world = KeyWorld::new(Approval::Automatic).await;
    world.gate.set(Method::PUT, Fault::HoldAnswer);
    let signer = world.signer("1h").await;
    world.gate.wait_for_answer(&Method::PUT, 200).await;
    signer.kill().await;
    assert_eq!(disk(&world), NOTHING_ACTIVE);
    let kid = world.pending().unwrap();
    assert_eq!(world.published(), [kid.as_str()]);

    next_start_signs_with(&world, &kid).await;
    assert_eq!(world.gate.count(&Method::PUT), 1, "it is not sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_key_awaits_approval() {
    let world = KeyWorld::new(Approval::Manual).await;
    let signer = world.signer("1h").await;
    world.gate.wait_for_answer(&Method::GET, 409).await;
    signer.kill().await;
    assert_eq!(disk(&world), NOTHING_ACTIVE);

    let kid = world.pending().unwrap();
    let signer = world.signer("1h").await;
    signer.says("jwtproxy is ready").await;
    let before = world.gate.count(&Method::GET);
    world.gate.wait_for_more(&Method::GET, before).await;
    signer.kill().await;
    assert_eq!(
        world.pending().as_ref(),
        Some(&kid),
        "no second key is made"
    );
    world.approve(&kid);
    next_start_signs_with(&world, &kid).await;
    assert_eq!(world.gate.count(&Method::PUT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_approval_and_before_it_heard_of_it() {
    let world = KeyWorld::new(Approval::Manual).await;
    let signer = world.signer("1h").await;
    world.gate.wait_for_answer(&Method::GET, 409).await;
    let kid = world.pending().unwrap();
    world.gate.set(Method::GET, Fault::HoldAnswer);
    world.approve(&kid);
    world.gate.wait_for_answer(&Method::GET, 200).await;
    signer.kill().await;
    assert_eq!(disk(&world), NOTHING_ACTIVE);

    world.gate.set(Method::GET, Fault::None);
    next_start_signs_with(&world, &kid).await;
    assert_eq!(world.gate.count(&Method::PUT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_an_active_key() {
    let world = KeyWorld::new(Approval::Automatic).await;
    let signer = world.signer("1h").await;
    wait_until("the activation", || world.active().is_some()).await;
    signer.kill().await;
    let kid = world.active().unwrap();
    assert_eq!(world.pending(), None);

    next_start_signs_with(&world, &kid).await;
    assert_eq!(world.gate.count(&Method::PUT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_a_rotation_arrived() {
    let world = KeyWorld::new(Approval::Automatic).await;
    let (signer, old) = with_rotation_held(&world, Fault::HoldRequest).await;
    world.gate.wait_for_more(&Method::PUT, 1).await;
    signer.kill().await;
    assert_eq!(disk(&world), BOTH);
    assert_eq!(world.active().as_ref(), Some(&old));
    assert_eq!(world.published(), [old.as_str()]);

    let new = world.pending().unwrap();
    world.gate.set(Method::PUT, Fault::None);
    next_start_signs_with(&world, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_a_rotation_arrived() {
    let world = KeyWorld::new(Approval::Automatic).await;
    let (signer, old) = with_rotation_held(&world, Fault::HoldAnswer).await;
    wait_until("the rotation", || !world.published().contains(&old)).await;
    signer.kill().await;
    assert_eq!(disk(&world), BOTH);
    assert_eq!(world.active().as_ref(), Some(&old), "which is revoked");

    let new = world.pending().unwrap();
    assert_eq!(world.published(), [new.as_str()]);
    next_start_signs_with(&world, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_at_random_it_always_has_a_key_in_the_end() {
    let world = KeyWorld::new(Approval::Automatic).await;
    for round in 0..12 {
        let signer = world.signer("1s").await;
        tokio::time::sleep(std::time::Duration::from_millis(173 * round)).await;
        signer.kill().await;
        let served = world.registry.keys(ISSUER, Clock::System.now());
        assert!(served.len() <= 1, "{served:?}");
    }
    let upstream = Upstream::start().await;
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    let answer = ask_until(&signer, &url, 200).await;
    let kid = key_of_token(&answer.json());
    assert_eq!(world.state(&kid), Some(KeyState::Approved));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_killed_again_and_again_loses_no_key_of_a_signer() {
    let world = KeyWorld::new(Approval::Automatic).await;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("keys.db");
    let mut registry = RegistryProcess::start(&world, &database).await;
    let upstream = Upstream::start().await;
    let signer = world.signer("1s").await;
    let url = format!("http://{}/", upstream.address());
    ask_until(&signer, &url, 200).await;
    for round in 0..8 {
        tokio::time::sleep(std::time::Duration::from_millis(900 + 67 * round)).await;
        registry.kill().await;
        let answer = get_through(signer.signer.unwrap(), &url).await;
        assert_eq!(answer.code(), 200, "{answer:?}\n{}", signer.log());
        registry = RegistryProcess::start(&world, &database).await;
    }
    signer.kill().await;
    registry.kill().await;

    // What the signer believes to be published is: one of its two keys is served.
    let stored = Registry::open(&database).unwrap();
    let known = |kid: Option<String>| kid.is_some_and(|kid| stored.get(ISSUER, &kid).is_some());
    assert!(known(world.active()) || known(world.pending()));
    drop(stored);
    let registry = RegistryProcess::start(&world, &database).await;
    let signer = world.signer("1h").await;
    let answer = ask_until(&signer, &url, 200).await;
    let kid = key_of_token(&answer.json());
    registry.kill().await;
    let stored = Registry::open(&database).unwrap();
    assert!(stored.get(ISSUER, &kid).is_some(), "{}", signer.log());
}

/// The registry as a process, with its keys in a file, behind the gate.
struct RegistryProcess(Child);

impl RegistryProcess {
    async fn start(world: &KeyWorld, database: &Path) -> Self {
        let binary = binary("keyregistry-mock");
        let mut child = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--approval", "auto"])
            .args(["--audience", &world.gate.url(), "--database"])
            .arg(database)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let address = line.strip_prefix("listening on http://").unwrap();
        world.gate.lead_to(address.parse().unwrap());
        Self(child)
    }

    async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }
}

/// A signer whose first key is active, and whose rotation meets this fault. Also the first key.
async fn with_rotation_held(world: &KeyWorld, fault: Fault) -> (Jwtproxy, String) {
    let signer = world.signer("2s").await;
    wait_until("the activation", || world.active().is_some()).await;
    let old = world.active().unwrap();
    world.gate.set(Method::PUT, fault);
    (signer, old)
}
