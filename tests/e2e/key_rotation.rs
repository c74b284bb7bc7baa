use hyper::Method;
use jwtproxy_tests::client::{self, get_through};
use jwtproxy_tests::gate::wait_until;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::keys::{ISSUER, KeyWorld, ask_until, authorization, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::{Approval, Options};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// The signer of this world and a verifier behind it, in one process.
async fn signer_and_verifier(
    world: &KeyWorld,
    upstream: &Upstream,
    rotate_every: &str,
    nonces: &str,
) -> Jwtproxy {
    // The audience must name the verifier's port before the verifier runs.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let yaml = format!(
        r#"{}
  verifier_proxies:
  - listen_addr: "{address}"
    verifier:
      upstream: "http://{}/"
      audience: "http://{address}"
      key_server: {{type: keyregistry, options: {{registry: "{}"}}}}
      nonce_storage: {{type: {nonces}}}
"#,
        world.yaml(rotate_every),
        upstream.address(),
        world.gate.url()
    );
    Jwtproxy::start(&yaml, &[], &[]).await
}

/// How many rotations the registry has accepted.
fn rotations(world: &KeyWorld) -> usize {
    let requests = world.server.as_ref().unwrap().requests();
    let accepted = requests
        .iter()
        .filter(|request| request.method == Method::PUT && request.status == 200);
    accepted.count().saturating_sub(1)
}

/// For one rotation, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(12);

/// So many in a row: by default what takes half a minute. `JWTPROXY_ROTATIONS=200` is the long
/// run.
fn wanted(by_default: usize) -> usize {
    let count = std::env::var("JWTPROXY_ROTATIONS").ok();
    count.map_or(by_default, |count| count.parse().expect("a number"))
}

/// A key ends after twice `rotate_every`, whatever the time of grace is. The next one must be there
/// by then, and a debug build on a busy machine takes seconds to make it.
#[tokio::test(flavor = "multi_thread")]
async fn rotations_with_a_time_of_grace_fail_no_request() {
    rotate_under_load(Duration::from_secs(30), "6s", wanted(4)).await;
}

/// A verifier asks again once the max-age of a key is over, which ends with the key at the latest,
/// and a little before that. The rotation has to come first, on a busy machine too.
#[tokio::test(flavor = "multi_thread")]
async fn rotations_with_immediate_revocation_fail_no_request() {
    rotate_under_load(Duration::ZERO, "6s", wanted(3)).await;
}

async fn rotate_under_load(grace: Duration, rotate_every: &str, wanted: usize) {
    let upstream = Upstream::start().await;
    let world = KeyWorld::with(Options {
        approval: Approval::Automatic,
        grace,
        ..Options::default()
    })
    .await;
    let jwtproxy = signer_and_verifier(&world, &upstream, rotate_every, "local").await;
    let jwtproxy = Arc::new(jwtproxy);
    let url = format!("http://{}/", jwtproxy.verifiers[0]);
    ask_until(&jwtproxy, &url, 200).await;

    let (done, requests) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (jwtproxy, url) = (jwtproxy.clone(), url.clone());
            let (done, requests) = (done.clone(), requests.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let answer = get_through(jwtproxy.signer.unwrap(), &url).await;
                    assert_eq!(answer.code(), 200, "{answer:?}\n{}", jwtproxy.log());
                    requests.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE + PATIENCE * wanted as u32;
    while rotations(&world) < wanted && !clients.iter().any(JoinHandle::is_finished) {
        assert!(Instant::now() < deadline, "{} rotations", rotations(&world));
        sleep(Duration::from_millis(50)).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let requests = requests.load(Ordering::Relaxed);
    println!(
        "{} rotations, {requests} requests, none failed",
        rotations(&world)
    );
    assert!(requests > wanted * 10, "{requests} requests are no load");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_old_key_is_good_while_the_verifier_has_that_key() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Automatic).await,
    );
    // Without a nonce store one token can be shown twice: before the rotation and after it.
    let jwtproxy = signer_and_verifier(&world, &upstream, "6s", "void").await;
    let verifier = jwtproxy.verifiers[0];
    let url = format!("http://{verifier}/");
    let received = ask_until(&jwtproxy, &url, 200).await.json();
    let (old, authorization) = (key_of_token(&received), authorization(&received));
    wait_until("a rotation", || !world.published().contains(&old)).await;

    let fetched = |kid: &str| world.server.as_ref().unwrap().key_requests(ISSUER, kid);
    let before = fetched(&old);
    let answer = client::get(verifier, "/", Some(&authorization)).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(fetched(&old), before, "the key was in the cache");

    // The first token of the new key has it fetched at once.
    let new = world.published().remove(0);
    wait_until("its use", || world.active().as_ref() == Some(&new)).await;
    let answer = get_through(jwtproxy.signer.unwrap(), &url).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(key_of_token(&answer.json()), new);
}
