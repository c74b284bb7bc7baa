//! Tokens that may be used again.

use super::*;

/// The claims of an accepted token do not say it; the count does.
fn known(gate: &Gate) -> u64 {
    gate.parts.events.token_cache_hits.get()
}

#[test]
fn where_tokens_may_be_used_again_their_signatures_are_checked_once() {
    let mut gate = gate(rules(), preshared(), Box::new(VoidNonceStore));
    for stream in 1..=3 {
        assert_accepted(&request(&mut gate, stream, &token(1), now()));
    }
    assert_eq!(known(&gate), 2);
    assert_accepted(&request(&mut gate, 4, &token(2), now()));
    assert_eq!(known(&gate), 2);
    let expired = request(&mut gate, 5, &token(1), later(300));
    assert_eq!(refusal(expired), Refusal::Expired);
}

#[test]
fn where_a_token_is_good_once_it_is_not_remembered() {
    let mut gate = worker_with_key(&Rc::default());
    assert!(gate.token_cache.is_none());
    let replay = request(&mut gate, 2, &token(1), now());
    assert_eq!((refusal(replay), known(&gate)), (Refusal::Replayed, 0));
}

#[test]
fn another_configuration_knows_no_token() {
    let accepted = |rules: Rules| {
        let mut gate = gate(rules, preshared(), Box::new(VoidNonceStore));
        let decision = request(&mut gate, 1, &token(1), now());
        (matches!(decision, Decision::Accept(_)), known(&gate))
    };
    assert_eq!(accepted(rules()), (true, 0));
    let mut others = rules();
    others.policy.audience = Audience::new("https://other");
    assert_eq!(accepted(others), (false, 0));
    assert_eq!(accepted(rules()), (true, 0));
}

#[test]
fn a_known_token_asks_for_its_key_like_any_other() {
    let registry = Keyregistry {
        endpoint: endpoint("/"),
        cache: cache(),
    };
    let keys = RemoteKeys::new(
        Source::Registry(registry),
        Sealed::new(Rc::<InMemory>::default(), None),
        Box::new(Anonymous),
        Rc::default(),
        Chance::default(),
    );
    let keys = Keys::Remote(Box::new(keys));
    let mut gate = gate(rules(), keys, Box::new(VoidNonceStore));
    assert_waits(&request(&mut gate, 1, &token(1), now()));
    gate.begin_fetches(now());
    assert_accepted(&found(&mut gate, now())[0].1);
    // Near the end of its time the key is fetched ahead, and a token that is known triggers it.
    assert_accepted(&request(&mut gate, 2, &token(1), later(91)));
    assert_eq!((known(&gate), gate.begin_fetches(later(91)).len()), (1, 1));
    answer(&mut gate, &key_id(), 403, "", later(92));
    let decision = request(&mut gate, 3, &token(1), later(93));
    assert_eq!(refusal(decision), Refusal::Key(KeyProblem::Expired));
    // Past the time of that answer the key server is asked again, and the request waits.
    assert_waits(&request(&mut gate, 4, &token(1), later(150)));
}
