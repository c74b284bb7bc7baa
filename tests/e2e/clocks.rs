use jwtproxy_tests::client::get_through;
use jwtproxy_tests::keys::{KeyWorld, ask_until};
use jwtproxy_tests::upstream::Upstream;
use keyregistry_mock::Clock;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_by_less_than_max_skew_is_no_trouble() {
    // A few seconds are left for the test itself.
    for clock in [Clock::Ahead(seconds(55)), Clock::Behind(seconds(55))] {
        let (upstream, world) = (Upstream::start().await, KeyWorld::with_clock(clock).await);
        let signer = world.signer("1h").await;
        let url = format!("http://{}/", upstream.address());
        ask_until(&signer, &url, 200).await;
        assert!(
            !signer.log().contains("clock"),
            "{clock:?}: {}",
            signer.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_max_skew_the_error_says_whose_clock_and_by_how_much() {
    for (clock, direction, token) in [
        (
            Clock::Ahead(seconds(600)),
            "ahead of",
            "the token has expired",
        ),
        (Clock::Behind(seconds(600)), "behind", "not valid yet"),
    ] {
        let (upstream, world) = (Upstream::start().await, KeyWorld::with_clock(clock).await);
        let signer = world.signer("1h").await;
        signer.says("the registry answered 400: ").await;
        let log = signer.log();
        let words = format!("s {direction} this machine's, more than max_skew (60s)");
        let line = log
            .lines()
            .find(|line| line.contains("the registry answered 400") && line.contains(&words));
        let line = line.unwrap_or_else(|| panic!("{words:?} is not in\n{log}"));
        assert!(line.contains(token), "{line}");
        let by = line.split("clock is ").nth(1).unwrap();
        let by: u64 = by.split('s').next().unwrap().parse().unwrap();
        assert!((595..=605).contains(&by), "{line}");
        let url = format!("http://{}/", upstream.address());
        assert_eq!(get_through(signer.signer.unwrap(), &url).await.code(), 502);
    }
}
