//! Keys that come in sets.

use super::*;
use jwt_core::config::filter::Jwks;

fn worker_with_sets(shared: &Rc<InMemory>) -> Gate {
    let jwks = Jwks {
        issuers: vec![("svc".into(), endpoint("/jwks.json"))],
        cache: cache(),
    };
    worker_of(Source::Sets(jwks), shared)
}

fn set_id() -> FetchId {
    FetchId::Set("svc".into())
}

/// The set has keys with these ids.
fn set(gate: &mut Gate, key_ids: &[&str], now: Timestamp) -> Vec<(StreamId, Decision)> {
    let key = TestSigner::service().public_key();
    let keys: Vec<_> = key_ids.iter().map(|key_id| key.to_jwk(key_id)).collect();
    let body = serde_json::json!({ "keys": keys }).to_string();
    answer(gate, &set_id(), 200, &body, now)
}

#[test]
fn a_set_has_all_keys_of_an_issuer() {
    let mut gate = worker_with_sets(&Rc::default());
    assert_waits(&request(&mut gate, 1, &with_kid("k1", "n1"), now()));
    assert_waits(&request(&mut gate, 2, &with_kid("gone", "n2"), now()));
    let fetches = gate.begin_fetches(now());
    assert_eq!(fetches.len(), 1);
    assert_eq!(fetches[0].endpoint.path, "/jwks.json");
    let decisions = set(&mut gate, &["k1", "k2"], now());
    assert_eq!(decisions.len(), 2);
    for (stream, decision) in decisions {
        match stream {
            1 => assert_accepted(&decision),
            _ => assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unknown)),
        }
    }
    assert_accepted(&request(&mut gate, 3, &with_kid("k2", "n3"), now()));
    let mut claims = TestSigner::claims("n4");
    claims["iss"] = "another".into();
    let decision = request(&mut gate, 4, &TestSigner::service().sign(&claims), now());
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Unknown));
}

#[test]
fn a_key_that_has_left_its_set_serves_no_more() {
    let shared = Rc::default();
    let (mut one, mut two) = (worker_with_sets(&shared), worker_with_sets(&shared));
    request(&mut one, 1, &with_kid("k1", "n1"), now());
    one.begin_fetches(now());
    set(&mut one, &["k1", "k2"], now());
    for (gate, id) in [(&mut one, "n2"), (&mut two, "n3")] {
        assert_accepted(&request(gate, 2, &with_kid("k2", id), now()));
    }
    // Nobody asks for the key that is no more: another one is fetched ahead.
    request(&mut one, 3, &with_kid("k1", "n4"), later(95));
    assert_eq!(one.begin_fetches(later(95)).len(), 1);
    set(&mut one, &["k1"], later(95));
    let unknown = Refusal::Key(KeyProblem::Unknown);
    for (gate, id) in [(&mut one, "n5"), (&mut two, "n6")] {
        let decision = request(gate, 4, &with_kid("k2", id), later(96));
        assert_eq!(refusal(decision), unknown);
    }
    assert_accepted(&request(&mut one, 5, &with_kid("k1", "n7"), later(96)));
}

#[test]
fn a_set_that_cannot_be_had_takes_no_key_away() {
    let mut gate = worker_with_sets(&Rc::default());
    request(&mut gate, 1, &with_kid("k1", "n1"), now());
    gate.begin_fetches(now());
    set(&mut gate, &["k1", "k2"], now());
    request(&mut gate, 2, &with_kid("k1", "n2"), later(95));
    gate.begin_fetches(later(95));
    answer(&mut gate, &set_id(), 500, "", later(95));
    for (kid, id) in [("k1", "n3"), ("k2", "n4")] {
        assert_accepted(&request(&mut gate, 3, &with_kid(kid, id), later(96)));
    }
}

#[test]
fn strangers_cannot_make_many_names_wait_for_one_set() {
    let mut gate = worker_with_sets(&Rc::default());
    let unavailable = Refusal::Key(KeyProblem::Unavailable);
    let mut limited = 0;
    for number in 0..100 {
        let decision = request(
            &mut gate,
            number,
            &with_kid(&format!("k-{number}"), "n"),
            now(),
        );
        if !matches!(decision, Decision::Wait) {
            assert_eq!(refusal(decision), unavailable);
            limited += 1;
        }
    }
    assert!(limited >= 50, "{limited}");
    // A name that waits already takes nothing.
    assert_waits(&request(&mut gate, 200, &with_kid("k-0", "n"), now()));
    assert_eq!(gate.begin_fetches(now()).len(), 1);
    assert_eq!(set(&mut gate, &["k1"], now()).len(), 101 - limited);
    // Nobody could ask for it, and yet it came.
    assert_accepted(&request(&mut gate, 201, &with_kid("k1", "n1"), now()));
}
