use hyper::Method;
use jwtproxy_tests::client::get_through;
use jwtproxy_tests::gate::{Fault, wait_until};
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::keys::{KeyWorld, ask_until, key_of_token};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::{Approval, KeyState, Options, Registry, Server, TlsIdentity};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn with_an_approving_registry_the_first_key_is_active_at_once() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Automatic).await,
    );
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    let answer = ask_until(&signer, &url, 200).await;

    let kid = key_of_token(&answer.json());
    assert_eq!(kid.len(), 43, "an RFC 7638 thumbprint");
    assert_eq!(world.active().as_ref(), Some(&kid));
    assert_eq!(
        (world.pending(), world.published()),
        (None, vec![kid.clone()])
    );
    let key = world
        .registry
        .get(jwtproxy_tests::keys::ISSUER, &kid)
        .unwrap();
    assert_eq!(key.rotation, Some(3600));
    let left = key.expires.unwrap().seconds() - jwtproxy_tests::tokens::now();
    assert!(
        (7100..=7201).contains(&left),
        "{left} s, expected two hours"
    );
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let file = world.active_file();
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_manual_registry_requests_fail_until_somebody_approves() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Manual).await,
    );
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    wait_until("a publication", || !world.published().is_empty()).await;
    signer.says("awaits approval").await;

    let kid = world.pending().expect("a pending key");
    assert_eq!(
        (world.active(), world.state(&kid)),
        (None, Some(KeyState::Pending))
    );
    let answer = get_through(signer.signer.unwrap(), &url).await;
    assert_eq!(answer.code(), 502);
    let reason = format!("jwtproxy: unable to sign request: the signing key {kid} awaits approval");
    assert!(answer.body.starts_with(&reason), "{answer:?}");
    assert!(upstream.received().is_empty());

    world.approve(&kid);
    let answer = ask_until(&signer, &url, 200).await;
    assert_eq!(key_of_token(&answer.json()), kid);
    assert_eq!((world.active(), world.pending()), (Some(kid), None));
    assert_eq!(world.gate.count(&Method::PUT), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_reached_over_https_if_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let [key, certificate] = ["tls.key", "tls.crt"].map(|name| folder.path().join(name));
    make_certificate(&key, &certificate);
    let options = Options {
        approval: Approval::Automatic,
        tls: Some(TlsIdentity::load(&certificate, &key).unwrap()),
        ..Options::default()
    };
    let registry = Registry::in_memory().unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(address, registry, options).await.unwrap();
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Manual).await,
    );
    let yaml = world.yaml("1h").replace(&world.gate.url(), &server.url());

    let stranger = Jwtproxy::start(&yaml, &[], &[]).await;
    stranger.says("certificate").await;
    assert!(server.requests().is_empty(), "{}", stranger.log());
    stranger.kill().await;
    let trusted = [("SSL_CERT_FILE", certificate.to_str().unwrap())];
    let signer = Jwtproxy::start_with(&yaml, &[], &[], &trusted).await;
    let url = format!("http://{}/", upstream.address());
    ask_until(&signer, &url, 200).await;
}

fn make_certificate(key: &Path, certificate: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext"])
        .args([
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=CA:FALSE",
        ])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(made.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_approved_is_revoked_at_the_end() {
    let world = KeyWorld::new(Approval::Manual).await;
    let mut signer = world.signer("1h").await;
    signer.says("awaits approval").await;
    signer.terminate().await;
    assert!(signer.ended().await.success(), "{}", signer.log());
    assert!(world.published().is_empty(), "{}", signer.log());
    assert_eq!((world.active(), world.pending()), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_revoked_at_the_end_is_used_by_the_next_start() {
    let (upstream, mut world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Manual).await,
    );
    let mut signer = world.signer("1h").await;
    signer.says("awaits approval").await;
    world.go_down().await;
    signer.terminate().await;
    assert!(signer.ended().await.success(), "{}", signer.log());
    let kid = world.pending().expect("the key stays");

    world.come_back().await;
    world.approve(&kid);
    let signer = world.signer("1h").await;
    let url = format!("http://{}/", upstream.address());
    assert_eq!(
        key_of_token(&ask_until(&signer, &url, 200).await.json()),
        kid
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_hangs_at_the_end_does_not_keep_it() {
    for fault in [
        Fault::HoldRequest,
        Fault::Close,
        Fault::Answer(500, ""),
        Fault::Answer(204, ""),
    ] {
        let world = KeyWorld::new(Approval::Manual).await;
        let mut signer = world.signer("1h").await;
        signer.says("awaits approval").await;
        world.gate.set(Method::DELETE, fault.clone());
        let begin = Instant::now();
        signer.terminate().await;
        assert!(signer.ended().await.success(), "{}", signer.log());
        assert!(begin.elapsed() < Duration::from_secs(10), "{fault:?}");
        let is_gone = matches!(fault, Fault::Answer(204, _));
        assert_eq!(world.pending().is_none(), is_gone, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signer_uses_the_firsts_key_and_takes_over_when_it_ends() {
    let (upstream, world) = (
        Upstream::start().await,
        KeyWorld::new(Approval::Automatic).await,
    );
    let url = format!("http://{}/", upstream.address());
    let first = world.signer("2s").await;
    let kid = key_of_token(&ask_until(&first, &url, 200).await.json());
    let second = world.signer("2s").await;
    second
        .says("another process looks after the signing key")
        .await;
    ask_until(&second, &url, 200).await;
    // It follows a rotation of the first.
    wait_until("a rotation", || {
        world.active().is_some_and(|active| active != kid)
    })
    .await;
    let active = world.active().unwrap();
    second
        .says(&format!("the key {active}, kept by another process"))
        .await;
    assert_eq!(world.published().len(), 1, "one of them publishes");

    first.kill().await;
    let before = world.active();
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.active() == before {
        let answer = get_through(second.signer.unwrap(), &url).await;
        assert_eq!(answer.code(), 200, "{answer:?}\n{}", second.log());
        assert!(Instant::now() < deadline, "no rotation by the second");
    }
    assert_eq!(world.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_ends_it_before_it_serves() {
    let world = KeyWorld::new(Approval::Automatic).await;
    let folder = world.active_file();
    let folder = folder.parent().unwrap();
    fs::write(folder, "a file").unwrap();
    let finished = Jwtproxy::run(&world.yaml("1h"), &[]).await;
    assert_eq!(finished.status.code(), Some(1));
    let words = format!(
        "signer_proxy: {}: cannot create the folder",
        folder.display()
    );
    assert!(finished.stderr.contains(&words), "{}", finished.stderr);
    assert!(
        !finished.stderr.contains("listening"),
        "{}",
        finished.stderr
    );
}
