//! Audiences against the parser of browsers: two URLs that it tells apart are never one audience.
//! The other way round is harmless: then a token is refused.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use jwt_core::audience::{self, Audience};
use url::Url;

const SCHEMES: [&str; 6] = [
    "http://", "https://", "HTTP://", "ws://", "wss://", "http:/",
];
const USERS: [&str; 6] = ["", "", "", "user@", "a:b@", "api.example@"];
const HOSTS: [&str; 34] = [
    "a",
    "A",
    "a.",
    "api.example",
    "API.example",
    "api.example.",
    "xn--bcher-kva.example",
    "XN--BCHER-KVA.example",
    "b\u{fc}cher.example",
    "a%2e",
    "a%62",
    "ab",
    "a_b",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "[::]",
    "[::0]",
    "[0:0:0:0:0:0:0:0]",
    "[0:0]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::127.0.0.1]",
    "[2001:DB8::1]",
    "[2001:db8:0::1]",
    "[127.0.0.1]",
    "[::1%25lo]",
    "",
    "a\\b",
];
const PORTS: [&str; 14] = [
    "", "", ":", ":80", ":443", ":080", ":00443", ":8080", ":+8080", ":0", ":65536", ":-1",
    ":80:80", ": 80",
];
const TAILS: [&str; 8] = ["", "/", "/path", "?q", "#f", "/@other", "\\@other", "/../"];

fn url(random: &mut fastrand::Rng) -> String {
    let parts: [&[&str]; 5] = [&SCHEMES, &USERS, &HOSTS, &PORTS, &TAILS];
    let mut text: String = parts
        .map(|part| random.choice(part).copied().unwrap())
        .concat();
    if random.u8(..4) == 0 {
        let places: Vec<_> = text.char_indices().map(|(place, _)| place).collect();
        let place = random.choice(places).unwrap_or(0);
        let odd = random.choice(*b"@:/[]%.\\+\t0aA").unwrap();
        text.insert(place, odd.into());
    }
    text
}

/// Scheme, host and port.
fn origin(text: &str) -> Option<(String, Option<String>, Option<u16>)> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().map(str::to_owned);
    Some((url.scheme().to_owned(), host, url.port_or_known_default()))
}

#[test]
fn urls_that_another_parser_tells_apart_are_no_audience_of_each_other() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut matched = 0;
    for _ in 0..200 {
        let audience = url(&mut random);
        let configured = Audience::new(&*audience);
        for _ in 0..1_000 {
            let candidate = url(&mut random);
            if candidate == audience || !configured.matches(&candidate) {
                continue;
            }
            matched += 1;
            assert_eq!(
                origin(&audience),
                origin(&candidate),
                "{audience} {candidate}"
            );
            let normalized = Audience::new(&*candidate);
            assert_eq!(configured.normalized(), normalized.normalized());
        }
    }
    assert!(
        matched > 100,
        "{matched} pairs matched: too few to say anything"
    );
}

#[test]
fn the_audience_of_a_request_is_its_origin_for_another_parser() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut named = 0;
    for _ in 0..50_000 {
        let parts: [&[&str]; 3] = [&USERS, &HOSTS, &PORTS];
        let authority = parts
            .map(|part| random.choice(part).copied().unwrap())
            .concat();
        for scheme in ["http", "https"] {
            let Some(audience) = audience::of_request(scheme, &authority) else {
                continue;
            };
            // Names that look like numbers are addresses for browsers, and no names at all here.
            named += 1;
            let requested = format!("{scheme}://{authority}/");
            assert_eq!(origin(&audience), origin(&requested), "{requested}");
            assert!(Audience::new(&*requested).matches(&audience), "{requested}");
        }
    }
    assert!(named > 1_000, "{named}");
}
