use jwt_core::testing::TestSigner;
use jwtproxy_tests::client;
use jwtproxy_tests::jwtproxy::Jwtproxy;
use jwtproxy_tests::upstream::Upstream;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Far more than anybody reads.
const FLOOD: usize = 500;

fn lines(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_does_not_flood_the_log() {
    let upstream = Upstream::start().await;
    let yaml = format!(
        r#"
jwtproxy:
  verifier_proxies:
  - listen_addr: "127.0.0.1:0"
    verifier:
      upstream: "http://{}"
      audience: "https://api.example"
      key_server:
        type: preshared
        options: {{issuer: svc, key_id: k1, public_key_path: "$DIR/service.pub"}}
"#,
        upstream.address()
    );
    let files = [("service.pub", &*TestSigner::service().public_pem())];
    let jwtproxy = Jwtproxy::start(&yaml, &files, &["-workers", "1"]).await;
    let address = jwtproxy.verifiers[0];

    let begun = Instant::now();
    for _ in 0..FLOOD {
        let answer = client::get(address, "/private?secret=1", None).await;
        assert_eq!(answer.code(), 403);
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;

    // What is left out is owned up to, at the latest a second later.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !jwtproxy.log().contains("more refusals") {
        assert!(Instant::now() < deadline, "{}", jwtproxy.log());
        sleep(Duration::from_millis(50)).await;
    }
    let log = jwtproxy.log();
    let written = lines(&log, "refused \"/private\"");
    assert!(
        (20..=20 + 10 * seconds).contains(&written),
        "{written} lines in {seconds} s"
    );
    assert!(!log.contains("secret"), "{log}");
}
