use hyper::Method;
use jwtproxy_tests::client::get_through;
use jwtproxy_tests::gate::{Fault, wait_until};
use jwtproxy_tests::keys::{KeyWorld, ask_until, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::Approval;
use std::time::Duration;

/// All that a registry can do wrong.
const FAULTS: [Fault; 7] = [
    Fault::Close,
    Fault::HoldRequest,
    Fault::Answer(500, "<html>broken</html>"),
    Fault::Answer(503, ""),
    Fault::Answer(200, "garbage"),
    Fault::Answer(429, "{}"),
    Fault::Answer(302, ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn restarted_without_its_registry_a_signer_uses_the_key_it_has() {
    let (upstream, mut world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Manual).await,
    );
    let url = format!("http://{}/", upstream.address());
    let signer = world.signer("1h").await;
    wait_until("a publication", || !world.published().is_empty()).await;
    let kid = world.published().remove(0);
    world.approve(&kid);
    ask_until(&signer, &url, 200).await;
    signer.kill().await;
    world.go_down().await;

    for fault in FAULTS {
        world.gate.set_all(&fault);
        let mut signer = world.signer("1h").await;
        let answer = ask_until(&signer, &url, 200).await;
        assert_eq!(key_of_token(&answer.json()), kid, "{fault:?}");
        signer.says("the signing key: ").await;
        assert_eq!(
            (world.active().as_ref(), world.pending()),
            (Some(&kid), None)
        );
        signer.terminate().await;
        assert!(
            signer.ended().await.success(),
            "{fault:?}: {}",
            signer.log()
        );
    }
    assert_eq!(
        world.gate.count(&Method::PUT),
        1,
        "nothing is published again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_404_that_is_not_the_registrys_ends_no_key() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Manual).await,
    );
    let url = format!("http://{}/", upstream.address());
    let signer = world.signer("1h").await;
    wait_until("a publication", || !world.published().is_empty()).await;
    let old = world.published().remove(0);
    world.approve(&old);
    ask_until(&signer, &url, 200).await;
    signer.kill().await;

    world
        .gate
        .set_all(&Fault::Answer(404, "<html>not found</html>"));
    let signer = world.signer("1h").await;
    world.gate.wait_for_more(&Method::PUT, 2).await;
    let answer = ask_until(&signer, &url, 200).await;
    assert_eq!(key_of_token(&answer.json()), old);
    // What was made meanwhile is published by a rotation, which nobody has to approve.
    world.gate.set_all(&Fault::None);
    wait_until("a rotation", || !world.published().contains(&old)).await;
    wait_until("its use", || world.active().is_some_and(|key| key != old)).await;
    let answer = ask_until(&signer, &url, 200).await;
    assert_eq!(world.published(), [key_of_token(&answer.json())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_and_without_registry_it_waits_and_recovers() {
    for fault in FAULTS {
        let (upstream, world) = (
            Upstream::start().await,
            KeyWorld::new(Approval::Automatic).await,
        );
        let url = format!("http://{}/", upstream.address());
        world.gate.set_all(&fault);
        let signer = world.signer("1h").await;
        signer.says("trying again").await;
        let answer = get_through(signer.signer.unwrap(), &url).await;
        assert_eq!(answer.code(), 502, "{fault:?}");
        assert!(
            answer.body.contains("no signing key is active yet"),
            "{answer:?}"
        );
        let kid = world.pending().expect("a key on the disk");

        world.gate.set_all(&Fault::None);
        let answer = ask_until(&signer, &url, 200).await;
        assert_eq!(
            key_of_token(&answer.json()),
            kid,
            "{fault:?}: {}",
            signer.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_is_waited_for() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Automatic).await,
    );
    world.gate.set_all(&Fault::Delay(Duration::from_secs(2)));
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    ask_until(&signer, &url, 200).await;
    assert!(!signer.log().contains("trying again"), "{}", signer.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_rotation_keeps_the_active_key_and_is_made_up_for() {
    for fault in [
        Fault::Close,
        Fault::Answer(500, ""),
        Fault::Answer(400, r#"{"error": "no"}"#),
        Fault::Answer(403, "<html>"),
        Fault::Answer(200, ""),
        Fault::Answer(202, ""),
    ] {
        let (upstream, world) = (
            Upstream::start().await,
            KeyWorld::new(Approval::Automatic).await,
        );
        let url = format!("http://{}/", upstream.address());
        let signer = world.signer("1h").await;
        ask_until(&signer, &url, 200).await;
        let old = world.active().unwrap();
        signer.kill().await;

        world.gate.set(Method::PUT, fault.clone());
        // The key is older than that: its rotation is due at once.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let signer = world.signer("1s").await;
        world.gate.wait_for_more(&Method::PUT, 2).await;
        let answer = ask_until(&signer, &url, 200).await;
        assert_eq!(key_of_token(&answer.json()), old, "{fault:?}");
        signer.kill().await;
        world.gate.set(Method::PUT, Fault::None);
        let signer = world.signer("1h").await;
        wait_until("the rotation", || !world.published().contains(&old)).await;
        let new = world.published().remove(0);
        wait_until("its use", || world.active().as_ref() == Some(&new)).await;
        let answer = ask_until(&signer, &url, 200).await;
        assert_eq!(
            key_of_token(&answer.json()),
            new,
            "{fault:?}: {}",
            signer.log()
        );
    }
}
