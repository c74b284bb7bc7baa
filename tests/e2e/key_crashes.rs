//! The signer is killed at each step of a key's life, as `kill -9` does it. docs/keys.md has the
//! same steps as a table: what was on the disk, and what the next start does.

use hyper::Method;
use jwtproxy_tests::gate::{Fault, wait_until};
use jwtproxy_tests::keys::{ISSUER, KeyWorld, ask_until, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::{Approval, Clock, KeyState};

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
    world.registry.approve(ISSUER, &kid).unwrap();
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
    world.registry.approve(ISSUER, &kid).unwrap();
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

/// A signer whose first key is active, and whose rotation meets this fault. Also the first key.
async fn with_rotation_held(
    world: &KeyWorld,
    fault: Fault,
) -> (jwtproxy_tests::jwtproxy::Jwtproxy, String) {
    let signer = world.signer("2s").await;
    wait_until("the activation", || world.active().is_some()).await;
    let old = world.active().unwrap();
    world.gate.set(Method::PUT, fault);
    (signer, old)
}
